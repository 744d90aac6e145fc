import Bytes
import Dispatch
import SubRequests
import Synchronization
import TestSupport
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite("Servers that answer early, late, again or not at all", .timeLimit(.minutes(2)))
struct HostileServerTests {
    let client = HTTPClient()
    var longBody: HTTPBody { HTTPBody([UInt8](repeating: 65, count: 64 << 20)) }

    private func error(_ request: HTTPRequest) async -> HTTPClientError? {
        do throws(HTTPClientError) {
            _ = try await client.fetch(request)
            return nil
        } catch {
            return error
        }
    }

    @Test("A refusal that comes before the whole body was sent is the response", arguments: [false, true])
    func early(closes: Bool) async throws {
        let server = try RawServer { connection in
            _ = try await connection.socket.read()
            try await connection.write("HTTP/1.1 413 Too Large\r\nContent-Length: 4\r\nConnection: close\r\n\r\nlong")
            if closes { connection.socket.finishWriting() } else { await connection.waitForEnd() }
            // Held until the client ends it: what is unread would make the kernel reset the connection.
            await connection.waitForEnd()
        }
        let request = HTTPRequest(method: "POST", url: "http://127.0.0.1:\(server.port)/", body: longBody)
        let (head, body) = try await client.fetch(request)
        #expect(head.status == 413)
        #expect(body.bytes.copied() == bytes("long"))
    }

    @Test("A server that takes nothing of a body is given up in time")
    func neverReads() async throws {
        let server = try RawServer { connection in
            _ = try await connection.socket.read()
            try await Task.sleep(for: .seconds(60))
        }
        let url = "http://127.0.0.1:\(server.port)/"
        let error = await error(
            HTTPRequest(
                method: "POST",
                url: url,
                body: longBody,
                connectTimeout: .seconds(3),
                timeout: .seconds(3)
            )
        )
        #expect(error?.code == .timeout)
        #expect(error?.responseStarted == false)
    }

    @Test("A gigabyte is not taken, announced or not", arguments: ["Content-Length: 1073741824\r\n", ""])
    func gigabyte(field: String) async throws {
        let piece = [UInt8](repeating: 65, count: 1 << 16)
        let server = try FakeHTTPServer { _ in
            .endless(head: bytes("HTTP/1.1 200 OK\r\n\(field)\r\n"), repeated: piece)
        }
        #expect(await error(HTTPRequest(url: server.url(), maxResponseBytes: 1 << 20))?.code == .tooLarge)
        await server.events.wait { $0.contains(.disconnected(connection: 1)) }
    }

    @Test(
        "What is no response is a bad one, at once",
        arguments: [
            "\r\n\r\n\r\n", "HTTP/1.1 OK\r\n\r\n", "HTTP/9.9 200 OK\r\n\r\n", "HTTP/1.1 99999 X\r\n\r\n",
            "\u{0}\u{1}\u{2}\u{3}\u{4}\r\n",
        ]
    )
    func garbage(text: String) async throws {
        let server = try FakeHTTPServer { _ in .raw(bytes(text), closes: true) }
        #expect(await error(HTTPRequest(url: server.url()))?.code == .badResponse)
    }

    @Test("A response that is reset within its body is no success")
    func resetWithin() async throws {
        let server = try FakeHTTPServer { _ in
            .reset(after: bytes("HTTP/1.1 200 OK\r\nContent-Length: 100000\r\n\r\nabc"))
        }
        let error = await error(HTTPRequest(url: server.url()))
        #expect(error?.code == .truncated || error?.code == .reset)
    }

    @Test("Errors are cut where the request says so, successes and the client's faults are not")
    func cutErrors() async throws {
        let body = [UInt8](repeating: 65, count: 50_000)
        for (status, expected) in [(200, 50_000), (404, 50_000), (500, 1000), (302, 1000)] {
            let server = try FakeHTTPServer { _ in .response(status: status, body: body) }
            var request = HTTPRequest(url: server.url())
            request.maxErrorBytes = 1000
            let (head, taken) = try await client.fetch(request)
            #expect(head.status == status)
            #expect(taken.count == expected)
            #expect(head.isCut == (expected < 50_000))
            request.maxResponseBytes = 2000
            if status == 200 {
                #expect(await error(request)?.code == .tooLarge)
            } else {
                let (head, taken) = try await client.fetch(request)
                #expect(head.isCut && taken.count == min(expected, 2000))
            }
        }
    }

    // MARK: Kept connections that end

    /// Ends every connection at its second request, without a byte of a response or after some.
    private func fickle(_ second: FakeHTTPServer.Reply = .close) throws -> FakeHTTPServer {
        let seen = Lock<Set<Int>>([])
        return try FakeHTTPServer { request in
            seen.withLock { $0.insert(request.connection).inserted } ? .text("ok") : second
        }
    }

    private func count(_ server: FakeHTTPServer) -> Int {
        server.events.entries.count { if case .request = $0 { true } else { false } }
    }

    @Test("A kept connection that its server ends is not used again")
    func endedWhileKept() async throws {
        let ends = EventLog<Void>()
        let server = try RawServer { connection in
            guard try await connection.request() != nil else { return }
            try await connection.respond(body: "ok")
            connection.socket.finishWriting()
            await connection.waitForEnd()
            ends.append(())
        }
        var request = HTTPRequest(method: "POST", url: "http://127.0.0.1:\(server.port)/", body: HTTPBody(bytes("{}")))
        request.maySendAgain = false
        for number in 1...3 {
            #expect(try await client.fetch(request).0.status == 200)
            // The client has seen the end, though it had nothing to send.
            await ends.wait { $0.count == number }
        }
    }

    @Test(
        "A request on a kept connection that ends without a byte is sent once more, and whole, unless it must not be",
        arguments: [2, 100_000]
    )
    func sentAgain(length: Int) async throws {
        let sent = (0..<length).map { UInt8(truncatingIfNeeded: $0 % 251) }
        for maySendAgain in [true, false] {
            let bodies = Lock<[[UInt8]]>([])
            let seen = Lock<Set<Int>>([])
            let server = try FakeHTTPServer { request in
                bodies.withLock { $0.append(request.body) }
                return seen.withLock { $0.insert(request.connection).inserted } ? .text("ok") : .close
            }
            var request = HTTPRequest(method: "POST", url: server.url(), body: HTTPBody(sent))
            request.maySendAgain = maySendAgain
            _ = try await client.fetch(request)
            let second = await error(request)
            #expect(second?.code == (maySendAgain ? nil : .reset))
            #expect(second?.responseStarted != true)
            #expect(count(server) == (maySendAgain ? 3 : 2))
            #expect(bodies.withLock { $0 }.allSatisfy { $0 == sent })
        }
    }

    @Test("However many kept connections end, every request of one client after the other is sent once more")
    func sentAgainOften() async throws {
        // The connection's second request ends it, and the next connection takes that request as its first.
        let server = try fickle()
        let request = HTTPRequest(method: "POST", url: server.url(), body: HTTPBody(bytes("{}")))
        for _ in 1...12 { #expect(try await client.fetch(request).head.status == 200) }
        #expect(server.connectionCount == 12)
    }

    @Test("A server that dies of a request on a kept connection has had it")
    func diesOfIt() async throws {
        let listener = try Socket.listen()
        let server = Task {
            let connection = RawConnection(try await listener.accept())
            _ = try await connection.request()
            try await connection.respond(body: "ok")
            _ = try await connection.request()
            listener.hangUp()
        }
        let url = "http://127.0.0.1:\(listener.port)/"
        var request = HTTPRequest(method: "POST", url: url, body: HTTPBody(bytes("{}")))
        request.maySendAgain = false
        _ = try await client.fetch(request)
        let second = await error(request)
        #expect(second?.code == .reset)
        #expect(second?.isConnectFailure == false)
        try await server.value
        // libcurl's handle, which was about to send again, is not taken for the next.
        let other = try FakeHTTPServer { _ in .text("ok") }
        request.url = other.url()
        #expect(await error(request) == nil)
    }

    @Test("A request of whose response a line has come is not sent again")
    func notSentAgain() async throws {
        let server = try fickle(.raw(bytes("HTTP/1.1 200 OK\r\n"), closes: true))
        let request = HTTPRequest(method: "POST", url: server.url(), body: HTTPBody(bytes("{}")))
        _ = try await client.fetch(request)
        #expect(await error(request) != nil)
        #expect(count(server) == 2)
    }

    @Test("A request is sent again once, however many kept connections end")
    func sentAgainOnce() async throws {
        let seen = Lock<Set<Int>>([])
        let all = DispatchSemaphore(value: 0)
        let server = try FakeHTTPServer { request in
            guard seen.withLock({ $0.insert(request.connection).inserted }) else { return .close }
            // The first four at the same time, so that there are as many connections.
            if request.connection == 4 { for _ in 1...3 { all.signal() } } else if request.connection < 4 { all.wait() }
            return .text("ok")
        }
        let client = client
        let request = HTTPRequest(method: "POST", url: server.url(), body: HTTPBody(bytes("{}")))
        await withTaskGroup { group in
            for _ in 1...4 { group.addTask { _ = try? await client.fetch(request) } }
        }
        #expect(server.connectionCount == 4)
        #expect(await error(request)?.code == .reset)
        #expect(count(server) == 6)
    }
}
