import Configuration
import Discovery
import Pool
import TestSupport
import Testing

@Suite("Endpoints from the DNS", .timeLimit(.minutes(2)))
struct DNSDiscoveryTests {
    private let events = EventLog<DNSDiscovery.Event>()

    private func resolver(_ dns: FakeDNS, _ timeout: Duration) -> DNSResolver {
        var resolver = DNSResolver(servers: [.init(address: "127.0.0.1", port: dns.port)])
        resolver.timeout = timeout
        resolver.attempts = 1
        return resolver
    }

    private func settings(_ type: DNSDiscoverySettings.RecordType = .a) -> DNSDiscoverySettings {
        var settings = DNSDiscoverySettings(name: "vllm.example", port: 8000)
        settings.type = type
        settings.interval = .milliseconds(20)
        return settings
    }

    private func run(
        _ dns: FakeDNS,
        _ type: DNSDiscoverySettings.RecordType = .a,
        search: [String] = [],
        dots: Int = 1,
        timeout: Duration = .seconds(30),
        _ body: () async throws -> Void
    ) async rethrows {
        var resolver = resolver(dns, timeout)
        resolver.search = search
        resolver.dots = dots
        let asked = resolver
        let discovery = DNSDiscovery(settings(type), namespace: "prod", resolver: { asked }) { [events] in
            events.append($0)
        }
        defer { discovery.stop() }
        try await body()
    }

    private func expect(_ places: [String]) async {
        await events.wait { events in
            if case .endpoints(let endpoints)? = events.last { endpoints.map(\.name) == places } else { false }
        }
    }

    @Test("Addresses of both families are endpoints on one port, and changes are seen")
    func addresses() async throws {
        let dns = try FakeDNS { question in
            question.type == 1
                ? .records([.cname("x.example"), .a([10, 0, 0, 2]), .a([10, 0, 0, 1]), .a([10, 0, 0, 1])])
                : .records([.aaaa([0xFD] + [UInt8](repeating: 0, count: 14) + [7])])
        }
        try await run(dns) {
            await expect(["10.0.0.1:8000", "10.0.0.2:8000", "[fd00::7]:8000"])
            let described = try #require(events.entries.first)
            guard case .endpoints(let endpoints) = described else { throw TestFailure("\(described)") }
            #expect(endpoints.last?.address == "fd00::7")
            #expect(endpoints.allSatisfy { $0.port == 8000 && $0.namespace == "prod" })
            dns.set { question in question.type == 1 ? .records([.a([10, 0, 0, 9])]) : .code(3) }
            await expect(["10.0.0.9:8000"])
            dns.set { _ in .code(3) }
            await expect([])
            // The families are asked for one after the other, so a look-up may have met one as it was before and one as it was after.
            let seen = events.entries
            #expect(zip(seen, seen.dropFirst()).allSatisfy { $0 != $1 })
            await dns.questions.wait(forCount: dns.questions.entries.count + 6)
            #expect(events.entries == seen)
        }
    }

    @Test(
        "Services bring their ports; only those of the best priority count; hosts are looked up when they did not come along"
    )
    func services() async throws {
        let dns = try FakeDNS { question in
            switch (question.name, question.type) {
            case ("vllm.example", 33):
                .records(
                    [
                        .srv(priority: 1, port: 8001, target: "A.example"),
                        .srv(priority: 1, port: 8002, target: "b.example"),
                        .srv(priority: 5, port: 8003, target: "c.example"),
                        .srv(priority: 1, port: 0, target: "a.example"),
                    ],
                    additional: [("a.example", .a([10, 0, 0, 1]))]
                )
            case ("b.example", 1): .records([.a([10, 0, 0, 2])])
            default: .records([])
            }
        }
        await run(dns, .srv) {
            await expect(["10.0.0.1:8001", "10.0.0.2:8002"])
        }
    }

    @Test("While no server can say, the endpoints stay; that is said once", arguments: [true, false])
    func failure(isSilent: Bool) async throws {
        let dns = try FakeDNS { $0.type == 1 ? .records([.a([10, 0, 0, 1])]) : .records([]) }
        await run(dns, timeout: .seconds(2)) {
            await expect(["10.0.0.1:8000"])
            dns.set { _ in isSilent ? .silence : .code(2) }
            await events.wait(forCount: 2)
            let asked = dns.questions.entries.count
            await dns.questions.wait(forCount: asked + 3)
            #expect(events.entries.count == 2)
            dns.set { $0.type == 1 ? .records([.a([10, 0, 0, 2])]) : .records([]) }
            await expect(["10.0.0.2:8000"])
            #expect(events.entries.contains(.recovered))
        }
    }

    @Test("A family that the server cannot tell does not take the other one away")
    func oneFamily() async throws {
        let dns = try FakeDNS { $0.type == 1 ? .records([.a([10, 0, 0, 1])]) : .code(2) }
        await run(dns) { await expect(["10.0.0.1:8000"]) }
    }

    @Test("A family of which addresses were told keeps them while the server cannot tell it", arguments: [1, 28])
    func familyInTrouble(type: UInt16) async throws {
        let dns = try FakeDNS { question in
            .records([question.type == 1 ? .a([10, 0, 0, 1]) : .aaaa([0xFD] + [UInt8](repeating: 0, count: 15))])
        }
        let both = ["10.0.0.1:8000", "[fd00::]:8000"]
        await run(dns) {
            await expect(both)
            dns.set { question in
                if question.type == type { return .code(2) }
                return .records([
                    question.type == 1 ? .a([10, 0, 0, 1]) : .aaaa([0xFD] + [UInt8](repeating: 0, count: 15))
                ])
            }
            _ = await events.first { if case .failing = $0 { true } else { false } }
            await dns.questions.wait(forCount: dns.questions.entries.count + 6)
            #expect(events.entries.count == 2)
            dns.set { question in question.type == type ? .records([]) : .code(3) }
            await expect([])
        }
    }

    @Test("An answer that does not fit is asked for again over TCP")
    func overTCP() async throws {
        let dns = try FakeDNS(isCut: true) { question in
            guard question.isTCP, question.type == 1 else { return .records([]) }
            return .records((0..<200).map { .a([10, 0, 1, $0]) })
        }
        await run(dns) {
            await events.wait { events in
                if case .endpoints(let endpoints)? = events.first { endpoints.count == 200 } else { false }
            }
        }
    }

    @Test("Short names are tried with the system's endings")
    func search() async throws {
        let dns = try FakeDNS { question in
            question.name == "vllm.example.svc.cluster.local" && question.type == 1
                ? .records([.a([10, 0, 0, 1])]) : .code(3)
        }
        await run(dns, search: ["local", "svc.cluster.local"]) { await expect(["10.0.0.1:8000"]) }
        #expect(dns.questions.entries.first?.name == "vllm.example")
    }

    @Test("A server that refuses a name with one ending is asked for the next; only when none is known it has failed")
    func refusedEnding() async throws {
        let dns = try FakeDNS { question in
            guard question.name == "vllm.example" else { return .code(5) }
            return question.type == 1 ? .records([.a([10, 0, 0, 1])]) : .records([])
        }
        await run(dns, search: ["local"], dots: 5) {
            await expect(["10.0.0.1:8000"])
            dns.set { $0.name == "vllm.example" ? .code(3) : .code(5) }
            let failure = await events.first { if case .failing = $0 { true } else { false } }
            guard case .failing(let problem)? = failure else { return }
            #expect(problem.contains("vllm.example.local"))
        }
        #expect(events.entries.count == 2)
    }

    @Test(
        "Malformed answers are as good as none",
        arguments: [
            [], [0xC0], [0xC0, 40, 0, 1, 0, 1, 0, 0, 0, 0, 0, 4, 1, 2, 3, 4],
            [0xC0, 12, 0, 1, 0, 1, 0, 0, 0, 0, 0, 40, 1],
            [63, 1, 2], [0xC0, 12, 0, 1], [1, 97, 0xC0, 30, 0, 1, 0, 1],
        ] as [[UInt8]]
    )
    func malformed(bytes: [UInt8]) async throws {
        let dns = try FakeDNS { _ in .raw(bytes) }
        await run(dns, timeout: .milliseconds(300)) {
            _ = await events.first { if case .failing = $0 { true } else { false } }
        }
        #expect(events.entries.count == 1)
    }

    @Test("The system's settings are read from resolv.conf")
    func systemSettings() throws {
        let folder = try TemporaryDirectory()
        let text =
            "# c\nnameserver 10.0.0.10\nnameserver x\nnameserver fd00::1\nsearch a.b c.d\noptions ndots:5 edns0\n"
        let resolver = DNSResolver.system(try folder.write(text, to: "resolv.conf"))
        #expect(resolver.servers == [.init(address: "10.0.0.10"), .init(address: "fd00::1")])
        #expect(resolver.search == ["a.b", "c.d"])
        #expect(resolver.dots == 5)
        #expect(DNSResolver.system("/nowhere").servers == [.init(address: "127.0.0.1")])
    }
}
