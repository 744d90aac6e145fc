import Bytes
import Dispatch
import HTTPServer
import Testing

/// An event that a test waits for.
final class Signal: Sendable {
    private let stream: AsyncStream<Void>
    private let continuation: AsyncStream<Void>.Continuation

    init() {
        (stream, continuation) = AsyncStream.makeStream()
    }

    func give() {
        continuation.yield()
    }

    func wait() async {
        for await _ in stream { return }
    }
}

private func serve(
    maxRequestBodyBytes: Int = 4 << 20,
    _ handler: @escaping @Sendable (HTTPRequest) -> HTTPReply
) throws -> HTTPServer {
    try HTTPServer(bindAddress: "127.0.0.1", port: 0, maxRequestBodyBytes: maxRequestBodyBytes, handler: handler)
}

private func text(_ text: String) -> HTTPReply {
    .response(HTTPResponse(contentType: "text/plain", text: text))
}

@Suite("Requests and whole answers")
struct HTTPRequestTests {
    @Test("Requests of one connection share its number, and another connection has its own")
    func keepsConnectionsAlive() throws {
        let server = try serve { text("\($0.connectionID)") }
        let first = try RawClient(port: server.port)
        first.send("GET /a HTTP/1.1\r\nHost: x\r\n\r\n")
        let one = try first.answer().body
        first.send("GET /b HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try first.answer().body == one)
        let second = try RawClient(port: server.port)
        second.send("GET /c HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try second.answer().body != one)
        server.stop()
    }

    @Test("Requests that are sent before the first answer are answered in order")
    func pipelines() throws {
        let server = try serve { text($0.path) }
        let client = try RawClient(port: server.port)
        client.send((0..<5).map { "GET /\($0) HTTP/1.1\r\nHost: x\r\n\r\n" }.joined())
        for number in 0..<5 { #expect(try client.answer().body == "/\(number)") }
        server.stop()
    }

    @Test("The handler sees method, raw path, raw query, and headers whatever their case")
    func passesTheHead() throws {
        let server = try serve { request in
            text("\(request.method) \(request.path) \(request.query) \(request.header("X-THING") ?? "-")")
        }
        let client = try RawClient(port: server.port)
        client.send("PATCH /a%20b/c?x=1&y=%3F?z HTTP/1.1\r\nHost: x\r\nx-Thing: some value\r\n\r\n")
        #expect(try client.answer().body == "PATCH /a%20b/c x=1&y=%3F?z some value")
        server.stop()
    }

    @Test("A body comes whole, whether by length or in chunks, and status and headers go out as given")
    func echoesBodies() throws {
        let server = try serve { request in
            .response(HTTPResponse(status: 201, headers: [HTTPHeader("x-echo", "yes")], body: request.body))
        }
        let client = try RawClient(port: server.port)
        let body = String(repeating: "0123456789abcdef", count: 200_000)
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: \(body.utf8.count)\r\n\r\n" + body)
        let answer = try client.answer()
        #expect(answer.status == "201")
        #expect(answer.head.contains("x-echo: yes\r\n"))
        #expect(answer.body == body)
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n")
        #expect(try client.answer().body == "abcde")
        server.stop()
    }

    @Test("A body over the limit is answered 413 before the handler sees it", arguments: [true, false])
    func limitsBodies(announced: Bool) throws {
        let server = try serve(maxRequestBodyBytes: 1000) { text("took \($0.body.count)") }
        let client = try RawClient(port: server.port)
        let body = String(repeating: "x", count: 1001)
        if announced {
            client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1001\r\n\r\n")
        } else {
            client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n3e9\r\n\(body)\r\n0\r\n\r\n")
        }
        #expect(try client.answer().status == "413")
        let other = try RawClient(port: server.port)
        other.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 1000\r\n\r\n" + body.dropLast())
        #expect(try other.answer().body == "took 1000")
        server.stop()
    }

    @Test("A body that never ends is cut off")
    func cutsEndlessBodies() throws {
        let server = try serve(maxRequestBodyBytes: 1000) { _ in text("") }
        let client = try RawClient(port: server.port)
        client.send("POST / HTTP/1.1\r\nHost: x\r\nTransfer-Encoding: chunked\r\n\r\n")
        let piece = "1000\r\n" + String(repeating: "x", count: 4096) + "\r\n"
        for _ in 0..<1000 { client.send(piece) }
        #expect(client.readToEnd().isEmpty)
        server.stop()
    }

    @Test("What is no HTTP does not keep the server from the next request")
    func survivesNonsense() throws {
        let server = try serve { _ in text("fine") }
        let nonsense = try RawClient(port: server.port)
        nonsense.send([0, 255, 13, 10, 13, 10, 1, 2, 3] + [UInt8](repeating: 65, count: 200_000))
        _ = nonsense.readToEnd()
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.answer().body == "fine")
        server.stop()
    }
}

@Suite("Answers that take their time")
struct HTTPLaterTests {
    @Test("Each piece of a stream arrives before the next is written")
    func streams() throws {
        let stream = HTTPBodyStream()
        let server = try serve { _ in
            .stream(HTTPResponseHead(status: 200, headers: [HTTPHeader("content-type", "text/event-stream")]), stream)
        }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.read(through: "\r\n\r\n").contains("Transfer-Encoding: chunked"))
        for piece in ["one", "two", String(repeating: "three", count: 3000)] {
            #expect(stream.write(piece.utf8))
            var arrived = ""
            while arrived.utf8.count < piece.utf8.count { arrived += try client.chunk() }
            #expect(arrived == piece)
        }
        stream.finish()
        #expect(try client.chunk() == "")
        #expect(!stream.write("late".utf8))
        server.stop()
    }

    @Test("A stream that is aborted ends the connection without the last chunk")
    func aborts() throws {
        let stream = HTTPBodyStream()
        let server = try serve { _ in .stream(HTTPResponseHead(), stream) }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = try client.read(through: "\r\n\r\n")
        stream.write("part".utf8)
        #expect(try client.chunk() == "part")
        stream.abort()
        #expect(client.readToEnd() == "")
        server.stop()
    }

    @Test("A stream that is cut sends what was written before")
    func cuts() throws {
        let stream = HTTPBodyStream()
        stream.write("part".utf8)
        stream.cut()
        #expect(!stream.write("more".utf8))
        let server = try serve { _ in .stream(HTTPResponseHead(), stream) }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = try client.read(through: "\r\n\r\n")
        #expect(try client.chunk() == "part")
        #expect(client.readToEnd() == "")
        server.stop()
    }

    @Test("A later answer goes to its own connection while others are served")
    func answersLater() throws {
        let later = HTTPLaterReply()
        let server = try serve { $0.path == "/slow" ? .later(later) : text("quick") }
        let slow = try RawClient(port: server.port)
        slow.send("GET /slow HTTP/1.1\r\nHost: x\r\n\r\n")
        let quick = try RawClient(port: server.port)
        quick.send("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try quick.answer().body == "quick")
        later.complete(HTTPResponse(status: 202, contentType: "text/plain", text: "done"))
        later.complete(HTTPResponse(status: 500))
        let answer = try slow.answer()
        #expect(answer.status == "202")
        #expect(answer.body == "done")
        slow.send("GET /quick HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try slow.answer().body == "quick")
        server.stop()
    }

    @Test("A later answer may be there before the server asks for it")
    func answersBeforeItIsAsked() throws {
        let server = try serve { _ in
            let later = HTTPLaterReply()
            later.complete(HTTPResponse(contentType: "text/plain", text: "at once"))
            return .later(later)
        }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try client.answer().body == "at once")
        server.stop()
    }

    @Test("A dropped request gets no answer, at once or later", arguments: [false, true])
    func drops(later: Bool) throws {
        let reply = HTTPLaterReply()
        let server = try serve { _ in later ? .later(reply) : .drop }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        if later { reply.drop() }
        #expect(client.readToEnd() == "")
        server.stop()
    }

    @Test("A client that hangs up while it waits for more of a stream is noticed", .timeLimit(.minutes(1)))
    func noticesHangUpInStream() async throws {
        let gone = Signal()
        let stream = HTTPBodyStream()
        stream.onDisconnect { gone.give() }
        let server = try serve { _ in .stream(HTTPResponseHead(), stream) }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = try client.read(through: "\r\n\r\n")
        stream.write("part".utf8)
        #expect(try client.chunk() == "part")
        client.hangUp()
        await gone.wait()
        #expect(!stream.write("more".utf8))
        server.stop()
    }

    @Test("A client that hangs up before a later answer is noticed", .timeLimit(.minutes(1)))
    func noticesHangUpBeforeAnswer() async throws {
        let arrived = Signal()
        let gone = Signal()
        let later = HTTPLaterReply()
        later.onDisconnect { gone.give() }
        let server = try serve { _ in
            arrived.give()
            return .later(later)
        }
        let client = try RawClient(port: server.port)
        client.send("POST / HTTP/1.1\r\nHost: x\r\nContent-Length: 2\r\n\r\nhi")
        await arrived.wait()
        client.hangUp()
        await gone.wait()
        later.complete(HTTPResponse())
        server.stop()
    }

    @Test("Nobody is told of a disconnect after a stream has ended well", .timeLimit(.minutes(1)))
    func doesNotReportAnEnd() throws {
        let count = Lock(0)
        let stream = HTTPBodyStream()
        stream.onDisconnect { count.withLock { $0 += 1 } }
        stream.write("all".utf8)
        stream.finish()
        let server = try serve { _ in .stream(HTTPResponseHead(), stream) }
        let client = try RawClient(port: server.port)
        client.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = try client.read(through: "\r\n\r\n")
        #expect(try client.chunk() == "all")
        #expect(try client.chunk() == "")
        client.hangUp()
        server.stop()
        #expect(count.withLock { $0 } == 0)
    }
}

@Suite("Starting and stopping")
struct HTTPServerLifeTests {
    @Test("Stopping closes idle, streaming and waiting connections, tells their owners, and frees the port")
    func stops() throws {
        let told = Lock(0)
        let server = try serve { request in
            switch request.path {
            case "/stream":
                let stream = HTTPBodyStream()
                stream.onDisconnect { told.withLock { $0 += 1 } }
                stream.write("begun".utf8)
                return .stream(HTTPResponseHead(), stream)
            case "/later":
                let later = HTTPLaterReply()
                later.onDisconnect { told.withLock { $0 += 1 } }
                return .later(later)
            default: return text("idle")
            }
        }
        let streaming = try RawClient(port: server.port)
        streaming.send("GET /stream HTTP/1.1\r\nHost: x\r\n\r\n")
        _ = try streaming.read(through: "begun\r\n")
        let waiting = try RawClient(port: server.port)
        waiting.send("GET /later HTTP/1.1\r\nHost: x\r\n\r\n")
        let idle = try RawClient(port: server.port)
        idle.send("GET / HTTP/1.1\r\nHost: x\r\n\r\n")
        #expect(try idle.answer().body == "idle")
        server.stop()
        server.stop()
        #expect(streaming.readToEnd() == "")
        #expect(waiting.readToEnd() == "")
        #expect(idle.readToEnd() == "")
        #expect(told.withLock { $0 } == 2)
        #expect(throws: RawClient.ClientError.self) { try RawClient(port: server.port) }
        let next = try HTTPServer(bindAddress: "127.0.0.1", port: server.port, maxRequestBodyBytes: 0) { _ in .drop }
        #expect(next.port == server.port)
        next.stop()
    }

    @Test("A server that nobody holds any more has stopped")
    func stopsWhenForgotten() throws {
        var server: HTTPServer? = try serve { _ in text("") }
        let port = try #require(server?.port)
        server = nil
        #expect(throws: RawClient.ClientError.self) { try RawClient(port: port) }
    }

    @Test("A port in use is an error that names address and port")
    func reportsPortInUse() throws {
        let server = try serve { _ in text("") }
        let error = #expect(throws: HTTPServerError.self) {
            try HTTPServer(bindAddress: "127.0.0.1", port: server.port, maxRequestBodyBytes: 0) { _ in .drop }
        }
        #expect(error?.description == "cannot listen on 127.0.0.1:\(server.port): Address already in use")
        server.stop()
    }

    @Test("What is no address or port is an error", arguments: [("localhost", 0), ("", 0), ("127.0.0.1", 65_536)])
    func refusesAddresses(address: String, port: Int) {
        #expect(throws: HTTPServerError.self) {
            try HTTPServer(bindAddress: address, port: port, maxRequestBodyBytes: 0) { _ in .drop }
        }
    }

    @Test("Many clients at once are all answered, also those whose answers other threads give")
    func servesManyAtOnce() throws {
        let answering = DispatchQueue(label: "answers", attributes: .concurrent)
        let server = try serve { request in
            let later = HTTPLaterReply()
            answering.async { later.complete(HTTPResponse(contentType: "text/plain", text: request.path)) }
            return .later(later)
        }
        let wrong = Lock(0)
        DispatchQueue.concurrentPerform(iterations: 32) { client in
            do {
                let connection = try RawClient(port: server.port)
                for number in 0..<50 {
                    connection.send("GET /\(client)/\(number) HTTP/1.1\r\nHost: x\r\n\r\n")
                    if try connection.answer().body != "/\(client)/\(number)" { wrong.withLock { $0 += 1 } }
                }
            } catch {
                wrong.withLock { $0 += 1 }
            }
        }
        #expect(wrong.withLock { $0 } == 0)
        server.stop()
    }

    @Test("Hang-ups and stops at any moment end nobody's wait", .timeLimit(.minutes(1)))
    func endsInAnyOrder() throws {
        let answering = DispatchQueue(label: "answers", attributes: .concurrent)
        for round in 0..<30 {
            let server = try serve { request in
                if request.path == "/stream" {
                    let stream = HTTPBodyStream()
                    answering.async {
                        for _ in 0..<20 { stream.write("piece".utf8) }
                        stream.finish()
                    }
                    return .stream(HTTPResponseHead(), stream)
                }
                let later = HTTPLaterReply()
                answering.async { later.complete(HTTPResponse(body: Array("answer".utf8))) }
                return .later(later)
            }
            DispatchQueue.concurrentPerform(iterations: 8) { client in
                if client == 7, round % 2 == 0 { server.stop() }
                guard let connection = try? RawClient(port: server.port) else { return }
                for _ in 0..<10 {
                    connection.send("GET /\(client % 2 == 0 ? "stream" : "later") HTTP/1.1\r\nHost: x\r\n\r\n")
                }
                if client % 4 < 2 { _ = try? connection.read(through: "\r\n\r\n") }
                connection.hangUp()
            }
            server.stop()
        }
    }
}
