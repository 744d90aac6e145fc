import Bytes
import Dispatch
import Glibc
import SubRequests
import TestSupport
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func option(_ socket: Int32, _ level: Int32, _ name: Int32) -> Int32? {
    var value: Int32 = 0
    var size = socklen_t(MemoryLayout<Int32>.size)
    return getsockopt(socket, level, name, &value, &size) == 0 ? value : nil
}

/// The port that a socket is connected to; nil for what is no such socket.
private func peerPort(_ socket: Int32) -> Int? {
    var address = sockaddr_in()
    var size = socklen_t(MemoryLayout<sockaddr_in>.size)
    let result = withUnsafeMutablePointer(to: &address) {
        $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { getpeername(socket, $0, &size) }
    }
    guard result == 0, address.sin_family == sa_family_t(AF_INET) else { return nil }
    return Int(UInt16(bigEndian: address.sin_port))
}

/// How a stream ended, and what came before.
private struct Reading {
    var body: [UInt8] = []
    var longestPiece = 0
    var error: HTTPClientError?

    init(_ stream: HTTPStream, each: () async -> Void = {}) async {
        do throws(HTTPClientError) {
            while let piece = try await stream.next() {
                body += piece
                longestPiece = max(longestPiece, piece.count)
                await each()
            }
        } catch {
            self.error = error
        }
    }
}

@Suite("A streamed response", .timeLimit(.minutes(2)))
struct HTTPStreamTests {
    let client = HTTPClient()

    private func open(
        _ server: FakeHTTPServer,
        _ limits: HTTPStreamLimits = HTTPStreamLimits()
    ) async throws(HTTPClientError) -> HTTPStream {
        try await client.open(HTTPRequest(url: server.url(), connectTimeout: .seconds(30)), limits: limits)
    }

    private func openingError(
        _ reply: FakeHTTPServer.Reply,
        _ limits: HTTPStreamLimits = HTTPStreamLimits()
    ) async throws -> HTTPClientError? {
        let server = try FakeHTTPServer { _ in reply }
        do throws(HTTPClientError) {
            _ = try await open(server, limits)
            return nil
        } catch {
            return error
        }
    }

    // MARK: The connection

    @Test("The kernel asks a silent host whether it is still there, and gives up one that does not acknowledge")
    func keepAlive() async throws {
        let server = try RawServer { connection in
            _ = try await connection.request()
            try await connection.write("HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\n")
            _ = try? await connection.request()
        }
        let request = HTTPRequest(url: "http://127.0.0.1:\(server.port)/", connectTimeout: .seconds(30))
        let stream = try await client.open(request, limits: HTTPStreamLimits())
        let socket = try #require((0..<4096).first { peerPort($0) == server.port })
        #expect(option(socket, SOL_SOCKET, SO_KEEPALIVE) == 1)
        #expect(option(socket, Int32(IPPROTO_TCP), TCP_KEEPIDLE) == 30)
        #expect(option(socket, Int32(IPPROTO_TCP), TCP_KEEPINTVL) == 10)
        #expect(option(socket, Int32(IPPROTO_TCP), TCP_KEEPCNT) == 3)
        #expect(option(socket, Int32(IPPROTO_TCP), TCP_USER_TIMEOUT) == 60_000)
        stream.cancel()
    }

    // MARK: What is read

    @Test("A field's value that is no UTF-8 loses nothing")
    func latin() async throws {
        let server = try RawServer { connection in
            _ = try await connection.request()
            let head = "HTTP/1.1 200 OK\r\nX-Latin: caf\u{e9}\r\n\r\n".unicodeScalars.map { UInt8($0.value) }
            try await connection.socket.write(head)
        }
        let request = HTTPRequest(url: "http://127.0.0.1:\(server.port)/", connectTimeout: .seconds(30))
        let stream = try await client.open(request, limits: HTTPStreamLimits())
        #expect(stream.head["x-latin"] == "caf\u{e9}")
    }

    @Test("The head is there before the body, and each piece before the next is sent")
    func piecewise() async throws {
        let read = EventLog<Void>()
        let server = try RawServer { connection in
            _ = try await connection.request()
            try await connection.write("HTTP/1.1 103 Early\r\nLink: a\r\n\r\n")
            try await connection.write("HTTP/1.1 201 Created\r\nTransfer-Encoding: chunked\r\nX-One: 1\r\n\r\n")
            for count in 1...3 {
                await read.wait(forCount: count)
                try await connection.write("4\r\ndata\r\n")
            }
            await read.wait(forCount: 4)
            try await connection.write("0\r\nX-Trailer: late\r\n\r\n")
            await connection.waitForEnd()
        }
        let stream = try await client.open(HTTPRequest(url: "http://127.0.0.1:\(server.port)/"))
        #expect(stream.head.status == 201)
        #expect(stream.head["x-one"] == "1")
        #expect(stream.head["link"] == nil)
        for _ in 1...3 {
            read.append(())
            #expect(try await stream.next() == bytes("data"))
        }
        read.append(())
        #expect(try await stream.next() == nil)
        #expect(try await stream.next() == nil)
        #expect(stream.trailers == [HTTPField("X-Trailer", "late")])
    }

    @Test("A response without a body ends at once, and its connection is kept", arguments: ["GET", "HEAD"])
    func empty(method: String) async throws {
        let server = try FakeHTTPServer { _ in .response(status: 204, body: []) }
        for _ in 0..<3 {
            let stream = try await client.open(HTTPRequest(method: method, url: server.url()))
            #expect(try await stream.next() == nil)
        }
        #expect(server.connectionCount == 1)
    }

    @Test("A status of any kind opens, and its body is read")
    func status() async throws {
        let server = try FakeHTTPServer { _ in .text("no such model", status: 404) }
        let stream = try await open(server)
        #expect(stream.head.status == 404)
        let (body, isCut) = try await stream.collect(upTo: 13)
        #expect(body == bytes("no such model") && !isCut)
        let again = try await open(server)
        let cut = try await again.collect(upTo: 12)
        #expect(cut.bytes == bytes("no such mode") && cut.isCut)
    }

    @Test("A task's continuations run on its own executor")
    func executor() async throws {
        let server = try FakeHTTPServer { _ in .slow(body: bytes("slow"), milliseconds: 1) }
        let queue = QueueExecutor()
        let client = client
        let task = Task(executorPreference: queue) { () throws -> Bool in
            let stream = try await client.open(HTTPRequest(url: server.url()))
            var isHome = queue.isCurrent
            while try await stream.next() != nil { isHome = isHome && queue.isCurrent }
            return isHome && queue.isCurrent
        }
        #expect(try await task.value)
    }

    // MARK: Backpressure

    @Test("A reader that is behind makes the server wait, and misses nothing", arguments: [false, true])
    func backpressure(overTLS: Bool) async throws {
        // Put together from long pieces: byte by byte, a debug build takes seconds for it.
        var body = (0..<251).map { UInt8($0) }
        while body.count < 24_000_000 { body += body }
        let sent = body
        let fixture = try TLSFixture()
        let pair = try fixture.pair("server")
        let tls = overTLS ? try ServerTLS(certificateFile: pair.certificate, keyFile: pair.key) : nil
        let server = try FakeHTTPServer(tls: tls) { _ in .response(body: sent) }
        let other = try FakeHTTPServer { _ in .text("quick") }
        var request = HTTPRequest(url: server.url(), connectTimeout: .seconds(30))
        request.trust = TLSTrust(caFile: pair.certificate)
        let client = client
        let stream = try await client.open(request, limits: HTTPStreamLimits(window: 100_000))
        let reading = await Reading(stream) {
            // In the meantime others are served.
            _ = try? await client.send(HTTPRequest(url: other.url()))
        }
        #expect(reading.error == nil)
        #expect(reading.body == sent)
        #expect(reading.longestPiece <= 100_000)
    }

    @Test("Chunks and interim reads go through a small window unharmed")
    func chunks() async throws {
        var text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
        var expected: [UInt8] = []
        for number in 0..<3000 {
            let piece = String(repeating: "\(number) ", count: number % 40 + 1)
            expected += piece.utf8
            text += "\(String(piece.utf8.count, radix: 16))\r\n\(piece)\r\n"
        }
        text += "0\r\n\r\n"
        let reply = bytes(text)
        let server = try FakeHTTPServer { _ in .raw(reply, closes: false) }
        let stream = try await open(server, HTTPStreamLimits(window: 1000))
        let reading = await Reading(stream) { await Task.yield() }
        #expect(reading.error == nil)
        #expect(reading.body == expected)
        #expect(reading.longestPiece <= 16384)
    }

    @Test("Readers that never come hold up nobody else, and their servers notice when they are gone")
    func deadReaders() async throws {
        let server = try FakeHTTPServer { request in
            request.path == "/quick"
                ? .text("quick")
                : .endless(head: bytes("HTTP/1.1 200 OK\r\n\r\n"), repeated: [UInt8](repeating: 7, count: 9999))
        }
        var streams: [HTTPStream] = []
        for _ in 0..<10 { streams.append(try await open(server, HTTPStreamLimits(idleTimeout: nil))) }
        for _ in 0..<50 {
            #expect(try await client.send(HTTPRequest(url: server.url("/quick"))).body == bytes("quick"))
        }
        streams.removeAll()
        await server.events.wait { entries in
            (1...10).allSatisfy { entries.contains(.disconnected(connection: $0)) }
        }
    }

    @Test("A body that has been sent goes when the answer begins, though that lasts")
    func bodyGoes() async throws {
        let server = try FakeHTTPServer { _ in
            .endless(head: bytes("HTTP/1.1 200 OK\r\n\r\n"), repeated: [UInt8](repeating: 7, count: 9999))
        }
        weak var body: SharedBytes?
        let stream = try await {
            let sent = SharedBytes(ByteBuffer(copying: [UInt8](repeating: 66, count: 300_000)))
            body = sent
            let request = HTTPRequest(
                method: "POST",
                url: server.url(),
                body: HTTPBody(PiecedBytes(sent)),
                connectTimeout: .seconds(30)
            )
            return try await client.open(request)
        }()
        _ = try await stream.next()
        #expect(body == nil)
        stream.cancel()
    }

    @Test("Time in which the reader is behind is not the server's")
    func pausedIdle() async throws {
        let server = try FakeHTTPServer { _ in .response(body: [UInt8](repeating: 7, count: 1_000_000)) }
        let limits = HTTPStreamLimits(idleTimeout: .milliseconds(100), window: 1000)
        let stream = try await open(server, limits)
        let waited = EventLog<Void>()
        client.schedule(at: .now() + .milliseconds(300)) { waited.append(()) }
        await waited.wait(forCount: 1)
        let reading = await Reading(stream)
        #expect(reading.body.count == 1_000_000)
        #expect(reading.error == nil)
    }

    // MARK: Ends

    @Test(
        "An end within the body is an error, after all that came",
        arguments: [
            (FakeHTTPServer.Reply.raw(bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), closes: true), true),
            (.raw(bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n"), closes: true), true),
            (.raw(bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n9\r\nabc"), closes: true), true),
            (.raw(bytes("HTTP/1.1 200 OK\r\n\r\nabc"), closes: true), false),
        ]
    )
    func truncated(reply: FakeHTTPServer.Reply, isTruncated: Bool) async throws {
        let server = try FakeHTTPServer { _ in reply }
        let reading = await Reading(try await open(server))
        #expect(reading.body == bytes("abc"))
        #expect(reading.error?.code == (isTruncated ? .truncated : nil))
    }

    @Test("A malformed chunk is an error")
    func badChunk() async throws {
        let reply = bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\nzz\r\n")
        let server = try FakeHTTPServer { _ in .raw(reply, closes: false) }
        let reading = await Reading(try await open(server))
        #expect(reading.body == bytes("abc"))
        #expect(reading.error != nil)
    }

    @Test("A server that sends no head in time is given up, one that drips it, too")
    func headTimeout() async throws {
        let limits = HTTPStreamLimits(headTimeout: .seconds(10))
        let silent = try await openingError(.hang, limits)
        #expect(silent?.code == .timeout)
        #expect(silent?.responseStarted == false)
        let dripping = try RawServer { connection in
            _ = try await connection.request()
            try await connection.write("HTTP/1.1 200 OK\r\n")
            while true { try await connection.write("A: b\r\n"); try await Task.sleep(for: .milliseconds(20)) }
        }
        await #expect {
            _ = try await client.open(
                HTTPRequest(url: "http://127.0.0.1:\(dripping.port)/", connectTimeout: .seconds(30)),
                limits: limits
            )
        } throws: { error in
            let error = error as? HTTPClientError
            return error?.code == .timeout && error?.responseStarted == true
        }
    }

    @Test("A body without progress ends with a timeout, after all that came")
    func idleTimeout() async throws {
        let server = try RawServer { connection in
            _ = try await connection.request()
            try await connection.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
            await connection.waitForEnd()
        }
        let request = HTTPRequest(url: "http://127.0.0.1:\(server.port)/")
        let limits = HTTPStreamLimits(headTimeout: .seconds(60), idleTimeout: .milliseconds(150))
        let reading = await Reading(try await client.open(request, limits: limits))
        #expect(reading.body == bytes("abc"))
        #expect(reading.error?.code == .timeout)
    }

    @Test("A body that makes progress all the time ends with its time, set before or later", arguments: [false, true])
    func wholeTimeout(isLater: Bool) async throws {
        let server = try FakeHTTPServer { _ in .slow(body: [UInt8](repeating: 65, count: 50_000), milliseconds: 2) }
        let stream = try await open(server, HTTPStreamLimits(timeout: isLater ? nil : .seconds(2)))
        if isLater { stream.end(at: .now() + .milliseconds(200)) }
        let reading = await Reading(stream)
        #expect(!reading.body.isEmpty)
        #expect(reading.error?.code == .timeout)
        await server.events.wait { $0.contains(.disconnected(connection: 1)) }
    }

    @Test("A body over the limit ends, however fast it is read")
    func tooLarge() async throws {
        let server = try FakeHTTPServer { _ in
            .endless(head: bytes("HTTP/1.1 200 OK\r\n\r\n"), repeated: [UInt8](repeating: 7, count: 1000))
        }
        let reading = await Reading(try await open(server, HTTPStreamLimits(maxResponseBytes: 123_456)))
        #expect(reading.body.count <= 123_456)
        #expect(reading.error?.code == .tooLarge)
    }

    @Test("No response at all is what it is for a whole one")
    func noResponse() async throws {
        #expect(try await openingError(.close)?.code == .reset)
        #expect(try await openingError(.raw(bytes("SSH-2.0-OpenSSH\r\n"), closes: true))?.code == .badResponse)
        let endless = FakeHTTPServer.Reply.endless(head: bytes("HTTP/1.1 200 OK\r\n"), repeated: bytes("A: b\r\n"))
        #expect(try await openingError(endless)?.code == .badResponse)
        let interim = FakeHTTPServer.Reply.endless(head: [], repeated: bytes("HTTP/1.1 100 Continue\r\n\r\n"))
        #expect(try await openingError(interim)?.code == .badResponse)
        let absent = try FakeHTTPServer(isListening: false) { _ in .hang }
        await #expect { _ = try await client.open(HTTPRequest(url: absent.url())) } throws: { error in
            (error as? HTTPClientError)?.code == .refused
        }
    }

    // MARK: Cancelling

    @Test("Cancelling a task that waits for the head closes the connection")
    func cancelledOpening() async throws {
        let server = try FakeHTTPServer { _ in .hang }
        let client = client
        let task = Task { () -> HTTPClientError? in
            do throws(HTTPClientError) {
                _ = try await client.open(HTTPRequest(url: server.url()))
                return nil
            } catch {
                return error
            }
        }
        await server.events.wait(forCount: 2)
        task.cancel()
        #expect(await task.value?.code == .cancelled)
        await server.events.wait { $0.contains(.disconnected(connection: 1)) }
    }

    @Test("Cancelling a task that waits for more of the body closes the connection")
    func cancelledReading() async throws {
        let server = try RawServer { connection in
            _ = try await connection.request()
            try await connection.write("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc")
            await connection.waitForEnd()
        }
        let stream = try await client.open(HTTPRequest(url: "http://127.0.0.1:\(server.port)/"))
        let got = EventLog<Void>()
        let task = Task { await Reading(stream) { got.append(()) } }
        await got.wait(forCount: 1)
        task.cancel()
        let reading = await task.value
        #expect(reading.body == bytes("abc"))
        #expect(reading.error?.code == .cancelled)
    }

    @Test("A stream that is cancelled with bytes unread has no clean end")
    func cancelledUnread() async throws {
        let server = try FakeHTTPServer { _ in .text("all of it") }
        let stream = try await open(server)
        await server.events.wait { $0.contains(.replied(connection: 1)) }
        // The client's thread has passed it on once it has done another request.
        _ = try await client.send(HTTPRequest(url: server.url()))
        stream.cancel()
        await #expect(throws: HTTPClientError.self) { try await stream.next() }
    }

    @Test("Streams under way end with the client")
    func shutdown() async throws {
        let server = try FakeHTTPServer { _ in
            .endless(head: bytes("HTTP/1.1 200 OK\r\n\r\n"), repeated: [UInt8](repeating: 7, count: 9999))
        }
        let client = HTTPClient()
        let stream = try await client.open(HTTPRequest(url: server.url()), limits: HTTPStreamLimits(window: 50_000))
        client.shutdown()
        let reading = await Reading(stream)
        #expect(reading.error?.code == .shutDown)
        #expect(reading.body.count <= 50_000)
    }

    @Test("Two readers at a time end the stream instead of sharing it")
    func twoReaders() async throws {
        let server = try FakeHTTPServer { _ in .slow(body: bytes("x"), milliseconds: 60_000) }
        let stream = try await open(server)
        let readers = (0..<2).map { _ in Task { await Reading(stream).error?.code } }
        for reader in readers { #expect(await reader.value == .failed) }
    }
}

/// One thread at a time, and known to be it.
private final class QueueExecutor: TaskExecutor {
    private let key = DispatchSpecificKey<Bool>()
    private let queue = DispatchQueue(label: "reader")

    init() { queue.setSpecific(key: key, value: true) }

    var isCurrent: Bool { DispatchQueue.getSpecific(key: key) == true }

    func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        queue.async { job.runSynchronously(on: self.asUnownedTaskExecutor()) }
    }
}
