internal import Bytes
internal import CMicroHTTPD

/// One request on one connection, from its first line to the last byte of its answer.
///
/// Thread rule behind `@unchecked Sendable`: the plain variables belong to the server's thread, which is the only one that calls anything
/// but `cancel`; what `cancel` needs lies behind the mutex.
final class Exchange: @unchecked Sendable {
    private struct Waiting {
        var isCancelled = false
        var stream: HTTPBodyStream?
        var later: HTTPLaterReply?
    }

    let number: Int
    private let core: HTTPServerCore
    private let connection: OpaquePointer
    private let path: String
    private let query: String
    private var method = ""
    private var headers: [HTTPHeader] = []
    private var body: [UInt8] = []
    private var hasHead = false
    private var discarded = 0
    private var watched: Int32?
    private let waiting = Lock(Waiting())

    init(number: Int, core: HTTPServerCore, connection: OpaquePointer, uri: String) {
        self.number = number
        self.core = core
        self.connection = connection
        let parts = uri.split(separator: "?", maxSplits: 1, omittingEmptySubsequences: false)
        path = parts.first.map(String.init) ?? uri
        query = parts.count > 1 ? String(parts[1]) : ""
    }

    // MARK: On the server's thread

    /// libmicrohttpd calls this when the head is there, for every piece of the body, at its end, and after every resumption until an
    /// answer is queued.
    func proceed(method: UnsafePointer<CChar>, piece: UnsafeRawBufferPointer) -> MHD_Result {
        guard hasHead else {
            hasHead = true
            return readHead(method: method)
        }
        guard piece.isEmpty else { return append(piece) }
        if let later = waiting.withLock({ $0.later }) { return resume(later) }
        if discarded > 0 { return queue(.tooLarge) }
        let request = HTTPRequest(
            method: self.method,
            path: path,
            query: query,
            headers: headers,
            body: body,
            connectionID: Int(bitPattern: apus_http_socket_context(connection)),
            socket: apus_http_socket(connection)
        )
        body = []
        headers = []
        return start(core.handler(request))
    }

    /// The request has ended, in whatever way; the connection may serve the next one.
    func ended() {
        if let watched { DisconnectWatcher.shared.forget(self, descriptor: watched) }
        let waiting = waiting.withLock { $0 }
        waiting.stream?.ended()
        waiting.later?.ended()
    }

    private func readHead(method: UnsafePointer<CChar>) -> MHD_Result {
        self.method = String(cString: method)
        MHD_get_connection_values(
            connection,
            .HEADER_KIND,
            { context, _, name, value in
                guard let context, let name else { return .YES }
                let exchange = Unmanaged<Exchange>.fromOpaque(context).takeUnretainedValue()
                exchange.headers.append(HTTPHeader(String(cString: name), value.map { String(cString: $0) } ?? ""))
                return .YES
            },
            Unmanaged.passUnretained(self).toOpaque()
        )
        guard let length = headers.first(where: { $0.isNamed("content-length") }).flatMap({ Int($0.value) }) else {
            return .YES
        }
        // Refused before the body is sent.
        guard length <= core.maxRequestBodyBytes else { return queue(.tooLarge) }
        body.reserveCapacity(length)
        return .YES
    }

    private func append(_ piece: UnsafeRawBufferPointer) -> MHD_Result {
        if discarded == 0, body.count + piece.count <= core.maxRequestBodyBytes {
            body.append(contentsOf: piece)
            return .YES
        }
        // An answer can only be queued after the body: what a client keeps sending is thrown away, within bounds.
        body = []
        discarded += piece.count
        return discarded <= core.maxRequestBodyBytes + 65_536 ? .YES : .NO
    }

    private func start(_ reply: HTTPReply) -> MHD_Result {
        switch reply {
        case .response(let response): return queue(response)
        case .drop: return .NO
        case .stream(let head, let stream):
            let isCancelled = waiting.withLock { waiting in
                waiting.stream = stream
                return waiting.isCancelled
            }
            if isCancelled { stream.cancel() }
            watch()
            return queue(head, stream)
        case .later(let later):
            let isCancelled = waiting.withLock { waiting in
                waiting.later = later
                return waiting.isCancelled
            }
            if isCancelled { later.cancel() }
            watch()
            return resume(later)
        }
    }

    private func resume(_ later: HTTPLaterReply) -> MHD_Result {
        switch later.take(for: connection) {
        case nil: .YES
        case .response(let response): queue(response)
        default: .NO
        }
    }

    private func watch() {
        let descriptor = apus_http_socket(connection)
        guard descriptor >= 0 else { return }
        watched = descriptor
        DisconnectWatcher.shared.watch(self, descriptor: descriptor)
    }

    private func queue(_ response: HTTPResponse) -> MHD_Result {
        let answer = response.body.withUnsafeBytes { bytes in
            MHD_create_response_from_buffer(
                bytes.count,
                UnsafeMutableRawPointer(mutating: bytes.baseAddress),
                .RESPMEM_MUST_COPY
            )
        }
        return queue(answer, response.head)
    }

    private func queue(_ head: HTTPResponseHead, _ stream: HTTPBodyStream) -> MHD_Result {
        let context = Unmanaged.passRetained(StreamReader(stream: stream, connection: connection)).toOpaque()
        let answer = MHD_create_response_from_callback(
            UInt64.max,  // of unknown length: chunked
            16_384,
            { context, _, target, size in
                guard let context, let target else { return -2 }
                let reader = Unmanaged<StreamReader>.fromOpaque(context).takeUnretainedValue()
                let space = UnsafeMutableRawBufferPointer(start: target, count: size)
                return switch reader.stream.read(into: space, for: reader.connection) {
                case .bytes(let count): count
                case .nothingYet: 0
                case .end: -1
                case .broken: -2
                }
            },
            context,
            { context in
                guard let context else { return }
                Unmanaged<StreamReader>.fromOpaque(context).release()
            }
        )
        if answer == nil { Unmanaged<StreamReader>.fromOpaque(context).release() }
        return queue(answer, head)
    }

    private func queue(_ answer: OpaquePointer?, _ head: HTTPResponseHead) -> MHD_Result {
        guard let answer else { return .NO }
        defer { MHD_destroy_response(answer) }
        for header in head.headers {
            // A header that could split the answer is refused by the library and left out.
            MHD_add_response_header(answer, header.name, header.value)
        }
        return MHD_queue_response(connection, UInt32(clamping: head.status), answer)
    }

    // MARK: On any thread

    /// Ends the wait for an answer: the client has gone, or the server stops.
    func cancel() {
        let waiting = waiting.withLock { waiting in
            waiting.isCancelled = true
            return waiting
        }
        waiting.stream?.cancel()
        waiting.later?.cancel()
    }
}

/// What the callback of a streamed answer needs. Used on the server's thread only.
private final class StreamReader {
    let stream: HTTPBodyStream
    let connection: OpaquePointer

    init(stream: HTTPBodyStream, connection: OpaquePointer) {
        self.stream = stream
        self.connection = connection
    }
}

extension HTTPResponse {
    fileprivate static let tooLarge = HTTPResponse(
        status: 413,
        contentType: "text/plain",
        text: "The request's body is larger than this server takes.\n"
    )
}
