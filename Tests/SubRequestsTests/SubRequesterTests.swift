import Bytes
import SubRequests
import TestSupport
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite("A sub-request", .timeLimit(.minutes(2)))
struct SubRequesterTests {
    let client = HTTPClient()

    private func request(
        _ port: Int,
        deadline: Duration = .seconds(60),
        timeout: Duration = .seconds(30),
        forwarded: ForwardedHeaders = ForwardedHeaders()
    ) -> SubRequest {
        SubRequest(
            to: SubRequestTarget(address: "127.0.0.1", port: port),
            path: "/v1/completions?a=b",
            forwarded: forwarded,
            body: HTTPBody(bytes("{}")),
            requestID: "id-1",
            deadline: .now() + deadline,
            timeout: timeout
        )
    }

    private func failure(
        _ reply: FakeHTTPServer.Reply,
        _ given: SubRequesterSettings = SubRequesterSettings(),
        timeout: Duration = .seconds(30)
    ) async throws -> SubRequestFailure? {
        let server = try FakeHTTPServer { _ in reply }
        var settings = given
        settings.connectTimeout = .seconds(30)
        let requester = SubRequester(client: client, settings: settings)
        defer { #expect(requester.limits.inUse == 0) }
        guard case .failed(let failure) = await requester.send(request(server.port, timeout: timeout)) else {
            return nil
        }
        // The same by the other door.
        if case .failed(let opening) = await requester.open(request(server.port, timeout: timeout)) {
            if failure.code != .reset { #expect(opening.code == failure.code) }
            #expect(opening.response?.body.bytes.copied() == failure.response?.body.bytes.copied())
            #expect(opening.response?.isCut == failure.response?.isCut)
        }
        return failure
    }

    // MARK: What is sent

    @Test("It has the one request id, its attempt and depth, the client's fields, and goes to its target alone")
    func fields() async throws {
        let seen = EventLog<FakeHTTPServer.Request>()
        let server = try FakeHTTPServer { request in
            seen.append(request)
            return .text("ok")
        }
        let requester = SubRequester(client: client)
        let trace = "00-0af7651916cd43dd8448eb211c80319c-b7ad6b7169203331-01"
        let client = [
            HTTPField("x-request-id", "spoofed"), HTTPField("X-Request-Id", "twice"),
            HTTPField("authorization", "Bearer x"),
            HTTPField("traceparent", trace), HTTPField("tracestate", "v=1"), HTTPField("x-processor-attempt", "9"),
        ]
        var request = request(server.port, forwarded: ForwardedHeaders(client))
        request.path = "//evil.example/@x?y"
        request.attempt = 2
        request.extraHeaders = [HTTPField("content-type", "application/json")]
        _ = await requester.send(request)
        request.traceparent = "00-0af7651916cd43dd8448eb211c80319c-aaaaaaaaaaaaaaaa-01"
        _ = await requester.send(request)
        request.traceparent = "00-11111111111111111111111111111111-aaaaaaaaaaaaaaaa-01"
        _ = await requester.send(request)
        await seen.wait(forCount: 3)
        for request in seen.entries {
            #expect(request.path == "//evil.example/@x?y")
            #expect(request.headers["host"] == "127.0.0.1:\(server.port)")
            let names = request.lines.map {
                ASCII.lowercased(String(decoding: $0.prefix { $0 != 0x3A }, as: UTF8.self))
            }
            #expect(names.count == Set(names).count)
            #expect(request.headers["x-request-id"] == "id-1")
            #expect(request.headers["x-processor-attempt"] == "2")
            #expect(request.headers["x-apus-depth"] == "1")
            #expect(request.headers["authorization"] == "Bearer x")
        }
        #expect(
            seen.entries.map { $0.headers["traceparent"]?.dropFirst(36).prefix(4) } == ["b7ad", "aaaa", "aaaa"]
        )
        #expect(seen.entries.map { $0.headers["tracestate"] } == ["v=1", "v=1", nil])
    }

    @Test("One that no server should get is not sent")
    func refused() async throws {
        let server = try FakeHTTPServer { _ in .text("ok") }
        var settings = SubRequesterSettings()
        settings.maxHeaderBytes = 4000
        let requester = SubRequester(client: client, settings: settings)
        var long = request(server.port)
        long.forwarded = ForwardedHeaders((0..<100).map { HTTPField("x-\($0)", String(repeating: "a", count: 50)) })
        var deep = request(server.port)
        deep.forwarded = ForwardedHeaders([HTTPField("x-apus-depth", "1")])
        var path = request(server.port)
        path.path = "@elsewhere/"
        var line = request(server.port)
        line.path = "/a b"
        var name = request(server.port)
        name.target = SubRequestTarget(address: "a@b", port: server.port)
        for request in [long, deep, path, line, name] {
            guard case .failed(let failure) = await requester.send(request) else {
                Issue.record("\(request.path) was sent")
                continue
            }
            #expect(failure.code == .refused)
            #expect(!failure.countsForBreaker)
        }
        #expect(requester.isTooDeep(deep.forwarded) && !requester.isTooDeep(long.forwarded))
        #expect(server.connectionCount == 0)
        #expect(requester.limits.inUse == 0)
    }

    @Test("Addresses of both families are taken, with brackets or without")
    func targets() {
        #expect(SubRequestTarget(address: "::1", port: 80).authority == "[::1]:80")
        #expect(SubRequestTarget(address: "[fd00::7]", port: 8000).authority == "[fd00::7]:8000")
        #expect(SubRequestTarget(address: "10.0.0.1", port: 1).authority == "10.0.0.1:1")
    }

    // MARK: How it ends

    @Test("A success has the whole body, a long one without a copy")
    func success() async throws {
        let body = [UInt8](repeating: 66, count: 700_000)
        let server = try FakeHTTPServer { _ in .response(status: 201, headers: ["x-a: b"], body: body) }
        guard case .ok(let response) = await SubRequester(client: client).send(request(server.port)) else {
            Issue.record("failed")
            return
        }
        #expect(response.status == 201)
        #expect(response.head["X-A"] == "b")
        #expect(response.body.bytes.copied() == body)
    }

    @Test("A plain port is asked without TLS, though endpoints have it")
    func isPlain() async throws {
        let server = try FakeHTTPServer { _ in .response(status: 200, headers: [], body: bytes("plain")) }
        var settings = SubRequesterSettings()
        settings.trust = .system
        let requester = SubRequester(client: client, settings: settings)
        var plain = request(server.port)
        guard case .failed(let failure) = await requester.send(plain) else {
            Issue.record("a server without TLS was spoken to over https")
            return
        }
        #expect(failure.label == "connect_failed")
        plain.isPlain = true
        guard case .ok = await requester.send(plain) else {
            Issue.record("the plain port was not asked")
            return
        }
    }

    @Test("A client's fault comes back whole, the server's cut")
    func statuses() async throws {
        let long = [UInt8](repeating: 65, count: 20_000)
        let fault = try await failure(.response(status: 400, headers: ["content-type: a/b"], body: long))
        #expect(fault?.code == .http(400))
        #expect(fault?.label == "http_400")
        #expect(fault?.response?.head["content-type"] == "a/b")
        #expect(fault?.response?.body.count == 20_000)
        #expect(fault?.response?.isCut == false)
        let busy = try await failure(.response(status: 429, headers: ["Retry-After: 7"], body: []))
        #expect(busy?.code == .http(429))
        #expect(busy?.retryAfter == "7")
        let broken = try await failure(.response(status: 503, body: long))
        #expect(broken?.code == .http(503))
        #expect(broken?.response?.body.count == 8192)
        #expect(broken?.response?.isCut == true)
        for failure in [fault, busy, broken] { #expect(failure?.countsForBreaker == false) }
    }

    @Test("What goes wrong on the way has its code, and counts for the breaker where it should")
    func codes() async throws {
        let absent = try FakeHTTPServer(isListening: false) { _ in .hang }
        let requester = SubRequester(client: client)
        guard case .failed(let refused) = await requester.send(request(absent.port)) else { return }
        #expect(refused.code == .connectFailed && refused.isConnectFailure && refused.countsForBreaker)
        let closed = try await failure(.close)
        #expect(closed?.code == .reset && closed?.countsForBreaker == true)
        let early = try await failure(.raw(bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), closes: true))
        #expect(early?.code == .reset && early?.responseStarted == true && early?.countsForBreaker == false)
        let silent = try await failure(.hang, timeout: .seconds(3))
        #expect(silent?.code == .timeout && silent?.countsForBreaker == true && silent?.isDeadline == false)
        let bad = try await failure(.raw(bytes("SSH-2.0\r\n"), closes: true))
        #expect(bad?.code == .badResponse && bad?.label == "bad_response")
        var settings = SubRequesterSettings()
        settings.maxResponseBytes = 100
        let large = try await failure(.response(body: [UInt8](repeating: 65, count: 101)), settings)
        #expect(large?.code == .tooLarge)
    }

    @Test("The time of all sub-requests together ends one before its own")
    func deadline() async throws {
        let server = try FakeHTTPServer { _ in .hang }
        let requester = SubRequester(client: client)
        for deadline in [Duration.seconds(3), .zero] {
            let outcome = await requester.send(request(server.port, deadline: deadline))
            guard case .failed(let failure) = outcome else { return }
            #expect(failure.code == .timeout)
            #expect(failure.isDeadline)
            #expect(!failure.countsForBreaker)
        }
        guard case .failed(let opening) = await requester.open(request(server.port, deadline: .seconds(3)))
        else {
            return
        }
        #expect(opening.code == .timeout && opening.isDeadline)
    }

    @Test("A cancelled task ends its sub-request, closes the connection and gives the permit back")
    func cancelled() async throws {
        let server = try FakeHTTPServer { _ in .hang }
        let requester = SubRequester(client: client)
        let request = request(server.port)
        let task = Task { await requester.send(request) }
        await server.events.wait(forCount: 2)
        #expect(requester.limits.inUse(request.target.authority) == 1)
        task.cancel()
        guard case .failed(let failure) = await task.value else { return }
        #expect(failure.code == .cancelled && failure.label == "cancelled")
        await server.events.wait { $0.contains(.disconnected(connection: 1)) }
        #expect(requester.limits.inUse == 0)
    }

    @Test("Over the limit nothing is sent")
    func noPermit() async throws {
        let server = try FakeHTTPServer { _ in .text("ok") }
        var settings = SubRequesterSettings()
        settings.maxConcurrent = 1
        let requester = SubRequester(client: client, settings: settings)
        do {
            let permit = try requester.limits.acquire("elsewhere")
            guard case .failed(let failure) = await requester.send(request(server.port)) else {
                Issue.record("was sent")
                return
            }
            #expect(failure.code == .noPermit)
            #expect(failure.missingPermit == .overall)
            _ = consume permit
        }
        let permit = try requester.limits.acquire("127.0.0.1:\(server.port)")
        guard case .ok = await requester.send(request(server.port), holding: permit) else {
            Issue.record("failed")
            return
        }
        #expect(requester.limits.inUse == 0)
    }

    @Test("What is urgent is sent over the limit")
    func urgent() async throws {
        let server = try FakeHTTPServer { _ in .text("ok") }
        var settings = SubRequesterSettings()
        settings.maxConcurrent = 1
        let requester = SubRequester(client: client, settings: settings)
        let permit = try requester.limits.acquire("127.0.0.1:\(server.port)")
        var request = request(server.port)
        request.isUrgent = true
        guard case .ok = await requester.send(request) else {
            Issue.record("failed")
            return
        }
        _ = consume permit
        #expect(requester.limits.inUse == 0)
    }

    // MARK: Streams

    @Test("A stream holds its permit to the end of the answer, or until it is let go")
    func streamPermit() async throws {
        let server = try FakeHTTPServer { _ in .slow(body: bytes("slow"), milliseconds: 5) }
        let requester = SubRequester(client: client)
        do {
            guard case .open(let stream) = await requester.open(request(server.port)) else { return }
            #expect(requester.limits.inUse == 1)
            var body: [UInt8] = []
            while let piece = try await stream.next() { body += piece }
            #expect(body == bytes("slow"))
            #expect(requester.limits.inUse == 0)
        }
        do {
            guard case .open(let stream) = await requester.open(request(server.port)) else { return }
            #expect(stream.head.status == 200)
        }
        #expect(requester.limits.inUse == 0)
        guard case .open(let stream) = await requester.open(request(server.port)) else { return }
        stream.cancel()
        #expect(requester.limits.inUse == 0)
        await #expect(throws: SubRequestFailure.self) { try await stream.next() }
    }

    @Test("A stream that breaks says so after what came, and gives its permit back")
    func brokenStream() async throws {
        let server = try FakeHTTPServer { _ in
            .raw(bytes("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc"), closes: true)
        }
        let requester = SubRequester(client: client)
        guard case .open(let stream) = await requester.open(request(server.port)) else { return }
        #expect(try await stream.next() == bytes("abc"))
        do {
            _ = try await stream.next()
            Issue.record("a clean end")
        } catch {
            #expect(error.code == .reset && error.responseStarted)
        }
        #expect(requester.limits.inUse == 0)
    }

    @Test("An error that drips is held to the attempt's time")
    func drippingError() async throws {
        let server = try RawServer { connection in
            _ = try await connection.request()
            try await connection.write("HTTP/1.1 500 Oops\r\nContent-Length: 100000\r\n\r\n")
            while true {
                try await connection.write("x")
                try await Task.sleep(for: .milliseconds(20))
            }
        }
        let requester = SubRequester(client: client)
        for isStream in [false, true] {
            let request = request(server.port, timeout: .seconds(3))
            let failure: SubRequestFailure? =
                if isStream {
                    if case .failed(let failure) = await requester.open(request) { failure } else { nil }
                } else {
                    if case .failed(let failure) = await requester.send(request) { failure } else { nil }
                }
            #expect(failure?.code == .timeout)
        }
        #expect(requester.limits.inUse == 0)
    }
}
