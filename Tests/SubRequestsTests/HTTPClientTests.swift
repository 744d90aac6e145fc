import Bytes
import SubRequests
import Synchronization
import TestSupport
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

private func error(of work: () async throws(HTTPClientError) -> Void) async -> HTTPClientError? {
    do {
        try await work()
        return nil
    } catch {
        return error
    }
}

@Suite("The HTTP client", .timeLimit(.minutes(2)))
struct HTTPClientTests {
    let client = HTTPClient()

    /// The code with which a request ends that gets this reply.
    private func failure(
        of reply: FakeHTTPServer.Reply,
        maxResponseBytes: Int = 1 << 20,
        timeout: Duration = .seconds(20)
    ) async throws -> HTTPClientError? {
        let server = try FakeHTTPServer { _ in reply }
        let request = HTTPRequest(url: server.url(), timeout: timeout, maxResponseBytes: maxResponseBytes)
        do {
            _ = try await client.send(request)
            return nil
        } catch {
            return error
        }
    }

    // MARK: Exchanges

    @Test("A GET returns status, header fields and body")
    func get() async throws {
        let server = try FakeHTTPServer { request in
            .response(status: 404, headers: ["X-Path: \(request.path)", "Empty:"], body: bytes(request.method))
        }
        let response = try await client.send(HTTPRequest(url: server.url("/a/../b?c=%20")))
        #expect(response.status == 404)
        #expect(response.body == bytes("GET"))
        #expect(response.head["x-path"] == "/a/../b?c=%20")
        #expect(response.head["EMPTY"] == "")
        #expect(response.head.seconds > 0)
    }

    @Test(
        "A POST sends its body of any size, byte for byte, and no header but ours",
        arguments: [0, 1, 70_000, 3_000_000]
    )
    func post(count: Int) async throws {
        // Put together from long pieces: byte by byte, a sanitizer's build takes a minute for it.
        let piece = (0..<251).map { UInt8($0) }
        var body: [UInt8] = []
        while body.count + piece.count <= count { body += piece }
        body += piece.prefix(count - body.count)
        let seen = Lock<FakeHTTPServer.Request?>(nil)
        let server = try FakeHTTPServer { request in
            seen.withLock { $0 = request }
            return .text("ok")
        }
        let fields = [HTTPField("content-type", "application/json"), HTTPField("x-empty", "")]
        let request = HTTPRequest(method: "POST", url: server.url(), headers: fields, body: HTTPBody(body))
        #expect(try await client.send(request).status == 200)
        let received = try #require(seen.withLock { $0 })
        #expect(received.method == "POST")
        #expect(received.body == body)
        let names = Set(received.headers.keys)
        #expect(names == ["host", "accept", "content-length", "content-type", "x-empty"])
    }

    @Test("A body without a content type gets none")
    func noContentType() async throws {
        let seen = Lock<FakeHTTPServer.Request?>(nil)
        let server = try FakeHTTPServer { request in
            seen.withLock { $0 = request }
            return .text("ok")
        }
        _ = try await client.send(HTTPRequest(method: "PUT", url: server.url(), body: HTTPBody(bytes("{}"))))
        let received = try #require(seen.withLock { $0 })
        #expect(received.method == "PUT")
        #expect(received.headers["content-type"] == nil)
        #expect(received.headers["expect"] == nil)
    }

    @Test("A chunked body is put together, and interim responses and their fields are dropped")
    func chunked() async throws {
        let text =
            "HTTP/1.1 103 Early Hints\r\nLink: a\r\n\r\nHTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n"
            + "3\r\nabc\r\n2;x=y\r\nde\r\n0\r\nTrailer: t\r\n\r\n"
        let server = try FakeHTTPServer { _ in .raw(bytes(text), closes: false) }
        let response = try await client.send(HTTPRequest(url: server.url()))
        #expect(response.body == bytes("abcde"))
        #expect(response.head["link"] == nil)
    }

    @Test("A redirect is an answer, not an order")
    func redirect() async throws {
        let server = try FakeHTTPServer { _ in .response(status: 302, headers: ["Location: /other"], body: []) }
        #expect(try await client.send(HTTPRequest(url: server.url())).status == 302)
        #expect(server.events.entries.filter { $0 == .request(connection: 1, path: "/other") }.isEmpty)
    }

    // MARK: Connections

    @Test("One request after the other uses one connection")
    func keepAlive() async throws {
        let server = try FakeHTTPServer { _ in .text("ok") }
        for _ in 0..<20 { _ = try await client.send(HTTPRequest(url: server.url())) }
        #expect(server.connectionCount == 1)
    }

    @Test("A kept connection that the server has closed is replaced")
    func staleConnection() async throws {
        let server = try FakeHTTPServer { request in
            request.connection == 1
                ? .raw(bytes("HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"), closes: true) : .text("ok")
        }
        _ = try await client.send(HTTPRequest(url: server.url()))
        await server.events.wait { $0.contains(.disconnected(connection: 1)) }
        #expect(try await client.send(HTTPRequest(url: server.url())).status == 200)
        #expect(server.connectionCount == 2)
    }

    @Test("Many requests run at the same time")
    func parallel() async throws {
        let server = try FakeHTTPServer { request in .text(request.path) }
        let client = client
        let matching = await withTaskGroup(of: Bool.self) { group in
            for number in 0..<300 {
                group.addTask {
                    let request = HTTPRequest(method: "POST", url: server.url("/\(number)"), body: HTTPBody(bytes("x")))
                    return (try? await client.send(request))?.body == bytes("/\(number)")
                }
            }
            return await group.reduce(into: 0) { $0 += $1 ? 1 : 0 }
        }
        #expect(matching == 300)
    }

    @Test("A cancelled task ends its request and closes the connection")
    func cancellation() async throws {
        let server = try FakeHTTPServer { _ in .hang }
        let client = client
        let task = Task { () -> HTTPClientError? in
            await error { () throws(HTTPClientError) in _ = try await client.send(HTTPRequest(url: server.url())) }
        }
        await server.events.wait { $0.contains(.request(connection: 1, path: "/")) }
        task.cancel()
        #expect(await task.value?.code == .cancelled)
        await server.events.wait { $0.contains(.disconnected(connection: 1)) }
    }

    @Test("A task that was cancelled before sends nothing")
    func cancelledBefore() async throws {
        let server = try FakeHTTPServer { _ in .text("ok") }
        let client = client
        let gate = EventLog<Void>()
        let task = Task { () -> HTTPClientError? in
            await gate.wait(forCount: 1)
            return await error { () throws(HTTPClientError) in _ = try await client.send(HTTPRequest(url: server.url()))
            }
        }
        task.cancel()
        gate.append(())
        #expect(await task.value?.code == .cancelled)
        #expect(server.connectionCount == 0)
    }

    @Test("Requests in flight end with the client, and later ones are refused")
    func shutdownInFlight() async throws {
        let server = try FakeHTTPServer { _ in .hang }
        let client = HTTPClient()
        let outcomes = EventLog<HTTPClientError.Code?>()
        for _ in 0..<10 {
            client.start(HTTPRequest(url: server.url())) { result, _ in
                if case .failure(let error) = result { outcomes.append(error.code) } else { outcomes.append(nil) }
            }
        }
        await server.events.wait { $0.filter { $0 == .request(connection: 1, path: "/") }.count == 1 }
        client.shutdown()
        #expect(outcomes.entries == Array(repeating: .shutDown, count: 10))
        client.shutdown()
        await #expect(throws: HTTPClientError.self) { try await client.send(HTTPRequest(url: server.url())) }
        #expect(!client.performAndWait {})
    }

    // MARK: Failures

    @Test("A refused connection is told apart")
    func refused() async throws {
        let server = try FakeHTTPServer(isListening: false) { _ in .hang }
        let error = await #expect(throws: HTTPClientError.self) {
            try await client.send(HTTPRequest(url: server.url()))
        }
        #expect(error?.code == .refused)
        #expect(error?.isConnectFailure == true)
        #expect(error?.responseStarted == false)
    }

    @Test("A server that does not answer in time is given up and its connection closed")
    func timeout() async throws {
        let server = try FakeHTTPServer { _ in .hang }
        let error = await #expect(throws: HTTPClientError.self) {
            try await client.send(HTTPRequest(url: server.url(), timeout: .seconds(5)))
        }
        #expect(error?.code == .timeout)
        await server.events.wait { $0.contains(.disconnected(connection: 1)) }
    }

    @Test("A response that trickles is held to the timeout of the whole")
    func slow() async throws {
        let error = try await failure(
            of: .slow(body: Array(repeating: 65, count: 10_000), milliseconds: 5),
            timeout: .seconds(5)
        )
        #expect(error?.code == .timeout)
        #expect(error?.responseStarted == true)
    }

    @Test("A connection that ends before a response is a reset", arguments: [true, false])
    func noResponse(hard: Bool) async throws {
        let error = try await failure(of: hard ? .reset(after: []) : .close)
        #expect(error?.code == .reset)
        #expect(error?.responseStarted == false)
    }

    @Test("A connection that ends within a response is a truncated one", arguments: [true, false])
    func truncated(hard: Bool) async throws {
        let part = bytes("HTTP/1.1 200 OK\r\nContent-Length: 100\r\n\r\nabc")
        let error = try await failure(of: hard ? .reset(after: part) : .raw(part, closes: true))
        #expect(error?.code == .truncated || (hard && error?.code == .reset))
        let chunk = try await failure(
            of: .raw(bytes("HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n5\r\nabc"), closes: true)
        )
        #expect(chunk?.code == .truncated)
    }

    @Test("A body over the limit ends the request", arguments: [true, false])
    func oversized(announced: Bool) async throws {
        let body = [UInt8](repeating: 65, count: 5000)
        let head = bytes("HTTP/1.1 200 OK\r\n" + (announced ? "Content-Length: 100000000\r\n\r\n" : "\r\n"))
        let error = try await failure(of: .endless(head: head, repeated: body), maxResponseBytes: 100_000)
        #expect(error?.code == .tooLarge)
        let exact = try await failure(of: .response(body: body), maxResponseBytes: 5000)
        #expect(exact == nil)
        let over = try await failure(of: .response(body: body), maxResponseBytes: 4999)
        #expect(over?.code == .tooLarge)
    }

    @Test("Endless header fields end the request")
    func endlessHeaders() async throws {
        let error = try await failure(of: .endless(head: bytes("HTTP/1.1 200 OK\r\n"), repeated: bytes("A: b\r\n")))
        #expect(error?.code == .badResponse)
        let line = try await failure(of: .endless(head: bytes("HTTP/1.1 200 OK\r\nA: "), repeated: bytes("bbbbbbbbbb")))
        #expect(line != nil)
        let interim = try await failure(of: .endless(head: [], repeated: bytes("HTTP/1.1 100 Continue\r\n\r\n")))
        #expect(interim?.code == .badResponse)
    }

    @Test("Bytes that are no HTTP are a bad response")
    func noHTTP() async throws {
        let error = try await failure(of: .raw(bytes("SSH-2.0-OpenSSH_9.2\r\n"), closes: true))
        #expect(error?.code == .badResponse)
    }

    @Test(
        "A request that could break out of its line is not sent",
        arguments: [
            HTTPRequest(url: "file:///etc/passwd"),
            HTTPRequest(url: "https://127.0.0.1/"),
            HTTPRequest(url: "http://127.0.0.1/\r\nX: y"),
            HTTPRequest(url: "http://user:password@127.0.0.1/"),
            HTTPRequest(method: "GET /\r\n", url: "http://127.0.0.1/"),
            HTTPRequest(url: "http://127.0.0.1/", headers: [HTTPField("a", "b\r\nc: d")]),
            HTTPRequest(url: "http://127.0.0.1/", headers: [HTTPField("a b", "c")]),
            HTTPRequest(url: "http://127.0.0.1/", headers: [HTTPField("Content-Length", "3")]),
        ]
    )
    func badRequest(request: HTTPRequest) async throws {
        let error = await #expect(throws: HTTPClientError.self) { try await client.send(request) }
        #expect(error?.code == .badRequest)
    }

    @Test("After a failure the next request is served")
    func afterFailure() async throws {
        let count = Atomic<Int>(0)
        let server = try FakeHTTPServer { _ in
            switch count.add(1, ordering: .relaxed).newValue {
            case 1: .endless(head: bytes("HTTP/1.1 200 OK\r\n\r\n"), repeated: bytes("aaaaaaaaaa"))
            case 2: .close
            default: .text("fine")
            }
        }
        for _ in 0..<2 { _ = try? await client.send(HTTPRequest(url: server.url(), maxResponseBytes: 1000)) }
        #expect(try await client.send(HTTPRequest(url: server.url())).body == bytes("fine"))
    }

    // MARK: The client's thread

    @Test("Timers run in the order of their deadlines, and work runs on one thread")
    func timers() async throws {
        let log = EventLog<Int>()
        let now = MonotonicTime.now()
        client.schedule(at: now + .milliseconds(30)) { log.append(3) }
        client.schedule(at: now + .milliseconds(1)) { log.append(1) }
        client.schedule(at: now + .milliseconds(15)) { log.append(2) }
        await log.wait(forCount: 3)
        #expect(log.entries == [1, 2, 3])
        #expect(client.performAndWait { log.append(4) })
        #expect(log.entries == [1, 2, 3, 4])
    }
}
