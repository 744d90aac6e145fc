import TestSupport
import Testing

/// Decodes that Apus relays, at servers that answer as no engine should: two of them, so that one may do what the other spoiled.
@Suite("Hostile answers of relayed decodes", .serialized, .showsLogs)
struct OrchestrationHostileTests {
    /// What a server says to a decode. The bytes go out as they are; then the connection ends, or stays.
    struct Answer: Sendable {
        let name: String
        let bytes: [UInt8]
        /// Sent over and over, until the peer ends the connection.
        var endless: [UInt8] = []
        var staysOpen = false

        init(_ name: String, _ text: String, endless: String = "", staysOpen: Bool = false) {
            self.name = name
            bytes = Array(text.utf8)
            self.endless = Array(endless.utf8)
            self.staysOpen = staysOpen
        }

        static func whole(_ name: String, type: String, _ body: String) -> Answer {
            Answer(
                name,
                "HTTP/1.1 200 OK\r\ncontent-type: \(type)\r\ncontent-length: \(body.utf8.count)\r\n\r\n\(body)",
                staysOpen: true
            )
        }
    }

    private static let good = #"{"choices":[{"index":0,"text":"well","finish_reason":"stop"}]}"#

    /// Tells of a client that left an endless answer.
    private enum Event: Sendable, Equatable { case decode, clientLeft }

    /// What a decode tells of itself: its attempt, 1 for the first, and the number that its client gave it.
    private struct Asked: Sendable {
        let attempt: Int
        let number: Int

        init(_ head: String) {
            let lines = head.lowercased().split(separator: "\r\n")
            func value(_ name: String) -> Int? {
                lines.first { $0.hasPrefix(name + ": ") }.flatMap { Int($0.dropFirst(name.count + 2)) }
            }
            attempt = value("x-processor-attempt") ?? 1
            number = value("x-number") ?? 0
        }
    }

    private static func server(
        _ events: EventLog<Event>,
        _ answer: @escaping @Sendable (Asked) -> Answer
    ) throws -> RawServer {
        try RawServer { connection in
            while let request = try await connection.request() {
                guard request.head.hasPrefix("POST") else {
                    try await connection.respond("404 Not Found", body: "")
                    continue
                }
                events.append(.decode)
                let answer = answer(Asked(request.head))
                do {
                    try await connection.socket.write(answer.bytes)
                    if !answer.endless.isEmpty {
                        while true { try await connection.socket.write(answer.endless) }
                    }
                } catch {
                    events.append(.clientLeft)
                    return
                }
                if !answer.staysOpen { return }
            }
        }
    }

    private static func withServers(
        _ mode: Disaggregated.Mode = .relay,
        _ answer: @escaping @Sendable (Asked) -> Answer,
        body: (Disaggregated, EventLog<Event>) async throws -> Void
    ) async throws {
        let events = EventLog<Event>()
        let servers = [try server(events, answer), try server(events, answer)]
        var plan = Disaggregated.Plan(.nixlv2, mode).withoutBreakers()
        plan.decodes = 0
        plan.others = servers.map { ("127.0.0.1:\($0.port)", "decode") }
        try await withDisaggregated(plan) { deployment in
            try await body(deployment, events)
            try await deployment.waitUntilIdle()
        }
    }

    private static func request(stream: Bool, number: Int = 0) -> TestRequest {
        var request = stream ? Ask.chat("Tell me more", stream: true) : Ask.completion("Tell me more")
        request.headers.append(("x-number", "\(number)"))
        return request
    }

    // MARK: Before the first byte

    private static let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n"
    private static let spoiled = [
        Answer(
            "endless headers",
            "HTTP/1.1 200 OK\r\n",
            endless: String(repeating: "x-more: yyyyyyyyyyyy\r\n", count: 500)
        ),
        Answer("one endless header", "HTTP/1.1 200 OK\r\nx-more: ", endless: String(repeating: "y", count: 10_000)),
        Answer(
            "endless interim responses",
            "",
            endless: String(repeating: "HTTP/1.1 102 Processing\r\n\r\n", count: 500)
        ),
        Answer("no HTTP", "\u{1}\u{2}{}\r\n\r\n"),
        Answer("a head that ends too early", head),
        Answer("a body that never begins", head + "content-length: 100\r\n\r\n"),
        Answer("a chunk without a size", head + "transfer-encoding: chunked\r\n\r\nzz\r\n{}\r\n"),
        Answer(
            "an event that tells of an error",
            head + "content-length: 40\r\n\r\ndata: {\"error\": {\"message\": \"no cache\"}}\n"
        ),
    ]

    @Test("What is no answer ends that attempt only, and the client notices nothing", arguments: [false, true])
    func early(stream: Bool) async throws {
        let good = Answer.whole("good", type: "application/json", Self.good)
        try await Self.withServers { asked in
            asked.attempt == 1 ? Self.spoiled[asked.number] : good
        } body: { deployment, events in
            for (number, answer) in Self.spoiled.enumerated() {
                let (id, response) = try await deployment.send(Self.request(stream: stream, number: number))
                let line = try await deployment.apus.accessLine(id)
                let seen = Comment(rawValue: "\(answer.name): \(response.text.prefix(200)) \(line)")
                #expect(response.status == 200, seen)
                #expect(response.text == Self.good, seen)
                #expect(response["x-apus-attempts"] == "2", seen)
                let outcomes = line["legs"].array.map { $0["outcome"].string ?? "" }
                #expect(outcomes.count == 4 && outcomes.last == "ok", seen)
                #expect(outcomes.filter { $0 == "ok" }.count == 3, seen)
                #expect(events.entries.count { $0 == .decode } == 2 * (number + 1), seen)
            }
            let endless = Self.spoiled.count { !$0.endless.isEmpty }
            await events.wait { $0.count { $0 == .clientLeft } == endless }
        }
    }

    // MARK: After it

    private static let deep = String(repeating: "[", count: 10_000) + String(repeating: "]", count: 10_000)
    private static let oddities = [
        #"{"deep":\#(deep),"choices":[]}"#,
        #"{"deep":\#(String(repeating: #"{"usage":"#, count: 10_000))1\#(String(repeating: "}", count: 10_000))}"#,
        #"{"choices":[],"choices":[{"text":"a"}],"id":"1","id":"2"}"#,
        #"{"id":9007199254740993123,"choices":[{"index":-9223372036854775808,"text":""}],"created":1e400}"#,
        #"{"choices":[{"text":"well","fin"#,
        "no JSON at all", "\u{FEFF}{}", "{}{}{}", "\"usage\":", "[" + String(repeating: "\"usage\",", count: 5000),
    ]
    /// Usages, and what they may have become: a usage is given the count of tokens that the prefill had cached.
    private static let usages = [
        (
            #"{"prompt_tokens":9007199254740993123,"total_tokens":1e30}"#,
            #"{\#(details),"prompt_tokens":9007199254740993123,"total_tokens":1e30}"#
        ),
        (#"{"prompt_tokens":-1,"prompt_tokens":3}"#, #"{\#(details),"prompt_tokens":-1,"prompt_tokens":3}"#),
        (#"{"prompt_tokens":{"a":[]},"prompt_tokens_details":7}"#, #"{"prompt_tokens":{"a":[]},\#(details)}"#),
        (#"{"prompt_tokens":1,"usage":\#(deep)}"#, #"{"prompt_tokens":1,"usage":\#(deep)}"#),
        (#"{"prompt_tokens":1,"#, #"{"prompt_tokens":1,"#),
        ("[]", "[]"), ("null", "null"), ("7", "7"),
    ]
    private static let details = #""prompt_tokens_details":{"cached_tokens":0}"#

    @Test("A whole answer reaches the client byte for byte, whatever it says", arguments: [false, true])
    func odd(stream: Bool) async throws {
        let type = stream ? "text/event-stream" : "application/json"
        func text(_ body: String) -> String { stream ? "data: \(body)\n\ndata: [DONE]\n\n" : body }
        func used(_ usage: String) -> String { #"{"choices":[{"index":0,"text":"well"}],"usage":\#(usage)}"# }
        let sent = (Self.oddities + Self.usages.map { used($0.0) }).map(text)
        let expected = (Self.oddities + Self.usages.map { used($0.1) }).map(text)
        try await Self.withServers { asked in
            .whole("odd", type: type, sent[asked.number])
        } body: { deployment, events in
            for number in sent.indices {
                let (id, response) = try await deployment.send(Self.request(stream: stream, number: number))
                #expect(response.status == 200)
                #expect(response.text == expected[number], "\(sent[number].prefix(200)): \(response.text.prefix(300))")
                let line = try await deployment.apus.accessLine(id)
                #expect(line["legs"].array.map { $0["outcome"].string } == ["ok", "ok"], "\(line)")
            }
            #expect(events.entries.count == sent.count)
        }
    }

    private static func breaks(stream: Bool) -> [Answer] {
        let head = "HTTP/1.1 200 OK\r\ncontent-type: \(stream ? "text/event-stream" : "application/json")\r\n"
        let piece = stream ? "data: {\"choices\":[{\"index\":0}]}\n\n" : "{\"choices\":[{\"index\":0,"
        let size = String(piece.utf8.count, radix: 16)
        return [
            Answer("cut before its length", head + "content-length: 1000\r\n\r\n\(piece)"),
            Answer("cut behind a chunk", head + "transfer-encoding: chunked\r\n\r\n\(size)\r\n\(piece)\r\n"),
            Answer("cut within a chunk", head + "transfer-encoding: chunked\r\n\r\n1000\r\n\(piece)"),
            Answer("a chunk without a size", head + "transfer-encoding: chunked\r\n\r\n\(size)\r\n\(piece)\r\n-5\r\n"),
            Answer(
                "endless trailers",
                head + "transfer-encoding: chunked\r\n\r\n\(size)\r\n\(piece)\r\n0\r\n",
                endless: String(repeating: "x-more: yyyyyyyyyyyy\r\n", count: 500)
            ),
        ]
    }

    @Test("An answer that breaks off reaches its client broken, and no other decode is sent", arguments: [false, true])
    func late(stream: Bool) async throws {
        let answers = Self.breaks(stream: stream)
        try await Self.withServers { asked in
            answers[asked.number]
        } body: { deployment, events in
            for (number, answer) in answers.enumerated() {
                let named = Disaggregated.named(Self.request(stream: stream, number: number))
                do {
                    let response = try await deployment.client.send(named.request)
                    // Envoy answers itself when it has not passed anything on.
                    #expect(response.status >= 500, "\(answer.name): \(response.text.prefix(500))")
                } catch is TestFailure {}
                let line = try await deployment.apus.accessLine(named.id)
                let outcomes = line["legs"].array.map { $0["outcome"].string ?? "" }
                #expect(outcomes.count == 2 && outcomes.last != "ok", "\(answer.name): \(outcomes)")
                #expect(events.entries.count { $0 == .decode } == number + 1)
            }
            await events.wait { $0.contains(.clientLeft) }
        }
    }

    @Test("An answer without an end goes on as long as its client takes it, and no longer", arguments: [false, true])
    func endless(stream: Bool) async throws {
        let type = stream ? "text/event-stream" : "application/json"
        let piece = String(repeating: stream ? "data: {\"choices\":[]}\n\n" : "[\"usage\",", count: 3000)
        let answer = Answer("endless", "HTTP/1.1 200 OK\r\ncontent-type: \(type)\r\n\r\n", endless: piece)
        try await Self.withServers { _ in
            answer
        } body: { deployment, events in
            let (_, exchange) = try await deployment.open(Self.request(stream: stream))
            #expect(exchange.status == 200)
            var count = 0
            while count < 8 << 20 {
                guard let bytes = try await exchange.next() else { break }
                count += bytes.count
            }
            #expect(count >= 8 << 20)
            exchange.hangUp()
            await events.wait { $0.contains(.clientLeft) }
        }
    }

    @Test("A decode that is run again in place of a handed-off one is given up when its answer does not end")
    func rescue() async throws {
        let endless = Answer(
            "endless",
            "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\n\r\n",
            endless: String(repeating: "y", count: 1 << 20)
        )
        let busy = Answer("busy", "HTTP/1.1 503 Service Unavailable\r\ncontent-length: 0\r\n\r\n", staysOpen: true)
        let decodes = EventLog<Void>()
        try await Self.withServers(.handoff) { _ in
            decodes.append(())
            return decodes.entries.count == 1 ? busy : endless
        } body: { deployment, events in
            let (id, response) = try await deployment.send(Ask.completion("Tell me more"))
            #expect(response.status == 502, "\(response.text.prefix(200))")
            #expect(response.text.contains("too_large"), "\(response.text.prefix(200))")
            await events.wait { $0.contains(.clientLeft) }
            let outcomes = try await deployment.apus.accessLine(id)["legs"].array.map { $0["outcome"].string ?? "" }
            #expect(outcomes == ["ok", "http_503", "ok", "too_large"])
        }
    }
}
