internal import Bytes
private import CMicroHTTPD
private import Glibc
private import Synchronization

/// A small HTTP/1.1 server: metrics and debug pages, simulated model servers, fake servers in tests.
///
/// One thread serves all connections of a server and calls the handler, which must not block: what takes time answers with `.later` or
/// `.stream`. Keep-alive, chunked bodies and `Expect: 100-continue` are the library's.
package final class HTTPServer: Sendable {
    /// The port it listens on; the one that the system chose when it was started with 0.
    package let port: Int
    private let core: HTTPServerCore
    private let daemon: Lock<Daemon>

    /// Listens and serves.
    ///
    /// - Parameters:
    ///   - bindAddress: an IPv4 or IPv6 address; `::` takes both families.
    ///   - port: 0 for one of the system's choice.
    ///   - maxRequestBodyBytes: larger bodies are answered 413 and never reach the handler.
    ///   - idleTimeoutSeconds: a connection on which nothing happens for so long is closed; 0 keeps it. Waiting for the handler's answer
    ///     does not count.
    ///   - handler: called on the server's thread, one request after the other.
    package init(
        bindAddress: String,
        port: Int,
        maxRequestBodyBytes: Int,
        idleTimeoutSeconds: Int = 120,
        handler: @escaping @Sendable (HTTPRequest) -> HTTPReply
    ) throws(HTTPServerError) {
        let socket = try ListeningSocket.open(address: bindAddress, port: port)
        let core = HTTPServerCore(maxRequestBodyBytes: maxRequestBodyBytes, handler: handler)
        self.port = socket.port
        self.core = core
        let pointer = apus_http_start(
            socket.descriptor,
            16_384,
            65_536,
            UInt32(clamping: idleTimeoutSeconds),
            Unmanaged.passUnretained(core).toOpaque(),
            proceed,
            began,
            completed,
            connectionChanged
        )
        daemon = Lock(Daemon(pointer: pointer))
        guard pointer != nil else {
            close(socket.descriptor)
            throw .cannotStartThread
        }
    }

    deinit {
        stop()
    }

    /// Closes the port and all connections, whatever they wait for, and ends the server's thread. May be called again; not from the handler
    /// or a callback of this server.
    package func stop() {
        // The lock is held to the end, so that whoever calls second also returns after the thread has ended. No callback takes it.
        daemon.withLock { daemon in
            guard let pointer = daemon.pointer else { return }
            daemon.pointer = nil
            let listening = MHD_quiesce_daemon(pointer)
            if listening >= 0 { close(listening) }
            // The library cannot stop while a connection is suspended.
            core.cancelAll()
            MHD_stop_daemon(pointer)
        }
    }
}

private struct Daemon: @unchecked Sendable {
    // Only touched under the mutex that holds it.
    var pointer: OpaquePointer?
}

/// What the library's callbacks reach: the handler and the exchanges that are under way. Outlives the server's thread.
final class HTTPServerCore: Sendable {
    private struct Exchanges {
        var open: [Int: Exchange] = [:]
        var isStopping = false
    }

    let maxRequestBodyBytes: Int
    let handler: @Sendable (HTTPRequest) -> HTTPReply
    private let exchanges = Lock(Exchanges())

    init(maxRequestBodyBytes: Int, handler: @escaping @Sendable (HTTPRequest) -> HTTPReply) {
        self.maxRequestBodyBytes = maxRequestBodyBytes
        self.handler = handler
    }

    func begin(_ exchange: Exchange) {
        let isStopping = exchanges.withLock { exchanges in
            exchanges.open[exchange.number] = exchange
            return exchanges.isStopping
        }
        if isStopping { exchange.cancel() }
    }

    func end(_ exchange: Exchange) {
        exchanges.withLock { _ = $0.open.removeValue(forKey: exchange.number) }
        exchange.ended()
    }

    func cancelAll() {
        let open = exchanges.withLock { exchanges in
            exchanges.isStopping = true
            return Array(exchanges.open.values)
        }
        for exchange in open { exchange.cancel() }
    }
}

// MARK: The library's callbacks

private let exchangeNumbers = Atomic<Int>(1)
private let connectionNumbers = Atomic<Int>(1)

/// The first line of a request is there. What is returned becomes the request's context.
private func began(
    context: UnsafeMutableRawPointer?,
    uri: UnsafePointer<CChar>?,
    connection: OpaquePointer?
) -> UnsafeMutableRawPointer? {
    guard let context, let uri, let connection else { return nil }
    let core = Unmanaged<HTTPServerCore>.fromOpaque(context).takeUnretainedValue()
    let number = exchangeNumbers.add(1, ordering: .relaxed).oldValue
    let exchange = Exchange(number: number, core: core, connection: connection, uri: String(cString: uri))
    core.begin(exchange)
    return Unmanaged.passRetained(exchange).toOpaque()
}

private func proceed(
    context: UnsafeMutableRawPointer?,
    connection: OpaquePointer?,
    url: UnsafePointer<CChar>?,
    method: UnsafePointer<CChar>?,
    version: UnsafePointer<CChar>?,
    piece: UnsafePointer<CChar>?,
    pieceSize: UnsafeMutablePointer<Int>?,
    request: UnsafeMutablePointer<UnsafeMutableRawPointer?>?
) -> MHD_Result {
    guard let method, let pieceSize, let exchange = request?.pointee else { return .NO }
    let bytes = UnsafeRawBufferPointer(start: piece, count: piece == nil ? 0 : pieceSize.pointee)
    // All of the piece is taken.
    pieceSize.pointee = 0
    return Unmanaged<Exchange>.fromOpaque(exchange).takeUnretainedValue().proceed(method: method, piece: bytes)
}

private func completed(
    context: UnsafeMutableRawPointer?,
    connection: OpaquePointer?,
    request: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    reason: MHD_RequestTerminationCode
) {
    guard let context, let pointer = request?.pointee else { return }
    request?.pointee = nil
    let exchange = Unmanaged<Exchange>.fromOpaque(pointer).takeRetainedValue()
    Unmanaged<HTTPServerCore>.fromOpaque(context).takeUnretainedValue().end(exchange)
}

private func connectionChanged(
    context: UnsafeMutableRawPointer?,
    connection: OpaquePointer?,
    socketContext: UnsafeMutablePointer<UnsafeMutableRawPointer?>?,
    code: MHD_ConnectionNotificationCode
) {
    guard code == .CONNECTION_NOTIFY_STARTED else { return }
    let number = connectionNumbers.add(1, ordering: .relaxed).oldValue
    socketContext?.pointee = UnsafeMutableRawPointer(bitPattern: number)
}
