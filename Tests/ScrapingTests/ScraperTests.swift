import Bytes
import Certificates
import Glibc
import Pool
import Scraping
import SubRequests
import Synchronization
import TestSupport
import Testing

private func page(waiting: Int) -> String { "vllm:num_requests_waiting \(waiting)\n" }

/// What a scraper said, without the endpoint object.
private enum Seen: Sendable, Equatable {
    case succeeded(String, isTransition: Bool)
    case failed(String, message: String, isTransition: Bool)

    var name: String {
        switch self {
        case .succeeded(let name, _), .failed(let name, _, _): name
        }
    }

    var isFailure: Bool {
        if case .failed = self { true } else { false }
    }
}

/// A pool, a client and a scraper whose events are logged.
private final class Bench: Sendable {
    let pool = Pool(stalenessThreshold: .seconds(2))
    let client = HTTPClient()
    let log = EventLog<Seen>()
    let scraper: Scraper

    init(
        interval: Duration = .milliseconds(5),
        timeout: Duration = .seconds(60),
        maxPageBytes: Int = 4 << 20,
        trust: TLSTrust? = nil
    ) {
        var settings = ScrapeSettings()
        settings.interval = interval
        settings.timeout = timeout
        settings.maxPageBytes = maxPageBytes
        settings.seed = 1
        settings.trust = trust
        let log = log
        scraper = Scraper(pool: pool, clients: [client], settings: settings) { event in
            switch event {
            case .succeeded(let endpoint, _, let isTransition):
                log.append(.succeeded(endpoint.identity.name, isTransition: isTransition))
            case .failed(let endpoint, let message, _, let isTransition):
                log.append(.failed(endpoint.identity.name, message: message, isTransition: isTransition))
            }
        }
        scraper.start()
    }

    deinit {
        scraper.stop()
        client.shutdown()
    }

    func use(_ servers: (name: String, port: Int)...) {
        pool.replaceEndpoints(
            servers.map { EndpointDescription(name: $0.name, namespace: "n", address: "127.0.0.1", port: $0.port) }
        )
    }

    /// The snapshot, once it meets the condition.
    func snapshot(where isMet: @escaping @Sendable (Snapshot) -> Bool) async -> Snapshot {
        var count = 0
        while true {
            let snapshot = pool.snapshot
            if isMet(snapshot) { return snapshot }
            // Snapshots change after scrapes only.
            count = max(count, log.entries.count) + 1
            await log.wait(forCount: count)
        }
    }
}

@Suite("The scrape loop", .timeLimit(.minutes(2)))
struct ScraperTests {
    @Test("Values of a page reach the snapshot, over one connection, and with the time they were asked for")
    func values() async throws {
        let server = try FakeHTTPServer { request in
            request.path == "/metrics" && request.headers["accept"] == "text/plain"
                ? .text(page(waiting: 3)) : .text("", status: 400)
        }
        let bench = Bench()
        let before = MonotonicTime.now()
        bench.use(("a", server.port))
        let snapshot = await bench.snapshot { $0.metrics.first?.waitingQueueSize == 3 }
        #expect(snapshot.scrapes[0].failures == 0)
        let updatedAt = try #require(snapshot.scrapes[0].updatedAt)
        #expect(updatedAt >= before && updatedAt <= MonotonicTime.now())
        #expect(snapshot.isFresh(0, at: updatedAt, threshold: .milliseconds(1)))
        await bench.log.wait(forCount: 20)
        #expect(server.connectionCount == 1)
        #expect(!bench.log.entries.contains { $0 != .succeeded("a", isTransition: false) })
    }

    @Test("Pages are asked for over TLS, and an endpoint that is not trusted fails")
    func tls() async throws {
        let directory = try TemporaryDirectory()
        let pair = try KeyPair.selfSigned(names: [], addresses: ["127.0.0.1"])
        let file = try directory.write(pair.certificateChain, to: "tls.crt")
        let key = try directory.write(pair.privateKey, to: "tls.key")
        let server = try FakeHTTPServer(tls: ServerTLS(certificateFile: file, keyFile: key)) { _ in
            .text(page(waiting: 4))
        }
        for trust in [TLSTrust(caFile: file), TLSTrust(insecureSkipVerify: true)] {
            let bench = Bench(trust: trust)
            bench.use(("a", server.port))
            _ = await bench.snapshot { $0.metrics.first?.waitingQueueSize == 4 }
        }
        let bench = Bench(trust: .system)
        bench.use(("a", server.port))
        await bench.log.wait(forCount: 1)
        #expect(bench.log.entries.allSatisfy { $0.isFailure })
    }

    @Test("An endpoint that answers slowly is never asked twice at a time, and others are not held up")
    func noOverlap() async throws {
        let slow = try FakeHTTPServer { _ in .hang }
        let quick = try FakeHTTPServer { _ in .text(page(waiting: 1)) }
        let bench = Bench()
        bench.use(("slow", slow.port), ("quick", quick.port))
        await slow.events.wait(forCount: 2)
        let count = bench.log.entries.count
        await bench.log.wait(forCount: count + 20)
        #expect(slow.connectionCount == 1)
        #expect(slow.events.entries == [.accepted(connection: 1), .request(connection: 1, path: "/metrics")])
        #expect(!bench.log.entries.contains { $0.name == "slow" })
    }

    @Test("A scrape that takes too long fails, and the next one is tried")
    func timeout() async throws {
        let count = Atomic<Int>(0)
        let server = try FakeHTTPServer { _ in
            count.add(1, ordering: .relaxed).newValue == 1 ? .hang : .text(page(waiting: 1))
        }
        let bench = Bench(timeout: .milliseconds(30))
        bench.use(("a", server.port))
        await bench.log.wait { $0.contains(.succeeded("a", isTransition: true)) }
        let first = try #require(bench.log.entries.first)
        #expect(first.isFailure)
        #expect(bench.pool.snapshot.scrapes[0].reachable)
    }

    @Test("Failures and recoveries are transitions once each, and earlier values stay")
    func transitions() async throws {
        let isBroken = Atomic<Bool>(false)
        let server = try FakeHTTPServer { _ in
            isBroken.load(ordering: .relaxed) ? .text("no", status: 503) : .text(page(waiting: 4))
        }
        let bench = Bench()
        bench.use(("a", server.port))
        await bench.log.wait { $0.contains(.succeeded("a", isTransition: false)) }
        isBroken.store(true, ordering: .relaxed)
        await bench.log.wait { $0.filter(\.isFailure).count >= 3 }
        let failing = await bench.snapshot { $0.scrapes[0].failures >= 2 }
        #expect(failing.metrics[0].waitingQueueSize == 4)
        #expect(failing.scrapes[0].error == "HTTP status 503")
        #expect(failing.scrapes[0].reachable)
        isBroken.store(false, ordering: .relaxed)
        await bench.log.wait { $0.contains(.succeeded("a", isTransition: true)) }
        _ = await bench.snapshot { $0.scrapes[0].failures == 0 && $0.scrapes[0].error == nil }
        let transitions = bench.log.entries.filter { entry in
            switch entry {
            case .succeeded(_, let isTransition), .failed(_, _, let isTransition): isTransition
            }
        }
        #expect(transitions.map(\.isFailure) == [true, false])
    }

    @Test("An endpoint that refuses is unreachable until it serves a page")
    func unreachable() async throws {
        let server = try FakeHTTPServer(isListening: false) { _ in .text(page(waiting: 2)) }
        let bench = Bench()
        bench.use(("a", server.port))
        let down = await bench.snapshot { $0.scrapes.first?.reachable == false }
        #expect(down.scrapes[0].updatedAt == nil)
        #expect(down.scrapes[0].error?.contains("refused") == true)
        try server.listen()
        let up = await bench.snapshot { $0.scrapes[0].reachable }
        #expect(up.metrics[0].waitingQueueSize == 2)
        server.stop()
        _ = await bench.snapshot { !$0.scrapes[0].reachable }
    }

    @Test(
        "A page that is no page is a failure, not a value",
        arguments: [
            FakeHTTPServer.Reply.text(""), .text("<html>"), .text("vllm:num_requests_waiting NaN"), .close,
            .reset(after: []), .raw(Array("HTTP/1.1 200 OK\r\nContent-Length: 9\r\n\r\nabc".utf8), closes: true),
            .endless(
                head: Array("HTTP/1.1 200 OK\r\n\r\n".utf8),
                repeated: Array("vllm:num_requests_waiting 7\n".utf8)
            ),
        ]
    )
    func badPages(reply: FakeHTTPServer.Reply) async throws {
        let server = try FakeHTTPServer { _ in reply }
        let bench = Bench(maxPageBytes: 100_000)
        bench.use(("a", server.port))
        let snapshot = await bench.snapshot { ($0.scrapes.first?.failures ?? 0) >= 2 }
        #expect(snapshot.metrics[0] == EndpointMetrics())
        #expect(snapshot.scrapes[0].updatedAt == nil)
    }

    @Test("Endpoints that come are scraped, and those that go are left alone")
    func membership() async throws {
        let first = try FakeHTTPServer { _ in .text(page(waiting: 1)) }
        let second = try FakeHTTPServer { _ in .text(page(waiting: 2)) }
        let hanging = try FakeHTTPServer { _ in .hang }
        let bench = Bench()
        bench.use(("a", first.port), ("h", hanging.port))
        _ = await bench.snapshot { $0.metrics.first?.waitingQueueSize == 1 }
        await hanging.events.wait(forCount: 2)
        bench.use(("b", second.port))
        _ = await bench.snapshot { $0.count == 1 && $0.metrics[0].waitingQueueSize == 2 }
        // A scrape under way is ended with its endpoint.
        await hanging.events.wait { $0.contains(.disconnected(connection: 1)) }
        let count = bench.log.entries.count
        await bench.log.wait(forCount: count + 10)
        #expect(!bench.log.entries[count...].contains { $0.name != "b" })
    }

    @Test("A label that names another engine changes how the page is read")
    func engineChange() async throws {
        let server = try FakeHTTPServer { _ in .text("vllm:num_requests_waiting 1\nsglang:num_queue_reqs 2") }
        let bench = Bench()
        var endpoint = EndpointDescription(name: "a", namespace: "n", address: "127.0.0.1", port: server.port)
        bench.pool.replaceEndpoints([endpoint])
        _ = await bench.snapshot { $0.metrics.first?.waitingQueueSize == 1 }
        endpoint.labels = ["llm-d.ai/engine-type": "sglang"]
        bench.pool.replaceEndpoints([endpoint])
        _ = await bench.snapshot { $0.metrics[0].waitingQueueSize == 2 }
        #expect(server.connectionCount == 1)
    }

    @Test("After stop nothing is asked and nothing is said, and a new start goes on")
    func stop() async throws {
        let server = try FakeHTTPServer { _ in .text(page(waiting: 1)) }
        let bench = Bench()
        bench.use(("a", server.port))
        await bench.log.wait(forCount: 3)
        bench.scraper.stop()
        let count = bench.log.entries.count
        // The client's thread goes on; whatever a tick left behind would run by then.
        let later = EventLog<Void>()
        bench.client.schedule(at: .now() + .milliseconds(50)) { later.append(()) }
        await later.wait(forCount: 1)
        #expect(bench.log.entries.count == count)
        bench.scraper.start()
        await bench.log.wait(forCount: count + 3)
    }

    @Test("Many endpoints are scraped evenly")
    func manyEndpoints() async throws {
        let server = try FakeHTTPServer { _ in .text(page(waiting: 1)) }
        let bench = Bench(interval: .milliseconds(20))
        bench.pool.replaceEndpoints(
            (0..<60).map { EndpointDescription(name: "\($0)", namespace: "n", address: "127.0.0.1", port: server.port) }
        )
        await bench.log.wait { entries in Dictionary(grouping: entries, by: \.name).filter { $1.count >= 3 }.count == 60
        }
        _ = await bench.snapshot { $0.metrics.allSatisfy { $0.waitingQueueSize == 1 } }
    }

    @Test("Several threads share the endpoints of a large pool, and each of them is one thread's")
    func threads() async throws {
        let server = try FakeHTTPServer { _ in .text(page(waiting: 1)) }
        let pool = Pool(stalenessThreshold: .seconds(2))
        let clients = (0..<3).map { _ in HTTPClient(threadName: "apus-scrape") }
        var settings = ScrapeSettings()
        settings.interval = .milliseconds(500)
        settings.timeout = .seconds(60)
        let log = EventLog<(name: String, thread: UInt)>()
        let scraper = Scraper(pool: pool, clients: clients, settings: settings) { event in
            if case .succeeded(let endpoint, _, _) = event {
                log.append((endpoint.identity.name, pthread_self()))
            }
        }
        defer {
            scraper.stop()
            for client in clients { client.shutdown() }
        }
        pool.replaceEndpoints(
            (0..<600).map {
                EndpointDescription(name: "\($0)", namespace: "n", address: "127.0.0.1", port: server.port)
            }
        )
        scraper.start()
        await log.wait { entries in
            Dictionary(grouping: entries, by: \.name).filter { $1.count >= 2 }.count == 600
        }
        let threads = Dictionary(grouping: log.entries, by: \.name).mapValues { Set($0.map(\.thread)) }
        #expect(threads.values.allSatisfy { $0.count == 1 })
        #expect(Set(threads.values).count == 3)
        #expect(threads["0"] == threads["255"] && threads["0"] != threads["256"])
    }
}
