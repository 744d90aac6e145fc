import Bytes
import Pool
import Testing

func description(
    _ name: String,
    address: String? = nil,
    port: Int = 8000,
    labels: [String: String] = [:]
) -> EndpointDescription {
    EndpointDescription(name: name, namespace: "n", address: address ?? "10.0.0.\(name)", port: port, labels: labels)
}

func update(waiting: Int? = nil, running: Int? = nil, kvCache: Double? = nil) -> MetricsUpdate {
    var update = MetricsUpdate()
    update.waitingQueueSize = waiting
    update.runningRequests = running
    update.kvCacheUsage = kvCache
    return update
}

let start = MonotonicTime(nanoseconds: 1_000_000_000_000)

extension MonotonicTime {
    static func at(_ milliseconds: Int) -> MonotonicTime { start + .milliseconds(milliseconds) }
}

extension EndpointLoad.Reading {
    var isNothing: Bool { requests == 0 && tokens == 0 && unseenRequests == 0 && unseenTokens == 0 }
}

extension Pool {
    /// A whole scrape: asked for at `time`, answered and published at once.
    func scrape(_ index: Int, _ update: MetricsUpdate, at time: MonotonicTime) {
        let endpoint = snapshot.endpoints[index]
        scrapeSucceeded(endpoint, scrapeStarted(endpoint, at: time), update)
        publish()
    }
}

@Suite("The pool's members")
struct PoolMembershipTests {
    let pool = Pool(stalenessThreshold: .seconds(2))

    @Test("A pool is synced once its source has spoken, were it to say that there are none")
    func synced() {
        #expect(!pool.isSynced)
        #expect(pool.snapshot.count == 0)
        pool.replaceEndpoints([])
        #expect(pool.isSynced)
        #expect(pool.snapshot.membership == 0)
    }

    @Test("Whoever waits for the pool to be synced is called once, at once when it is")
    func whenSynced() {
        let calls = Lock<[String]>([])
        pool.whenSynced { calls.withLock { $0.append("early") } }
        #expect(calls.withLock { $0 } == [])
        pool.replaceEndpoints([])
        pool.replaceEndpoints([description("1")])
        #expect(calls.withLock { $0 } == ["early"])
        pool.whenSynced { calls.withLock { $0.append("late") } }
        #expect(calls.withLock { $0 } == ["early", "late"])
    }

    @Test("Endpoints stand in the order of their source, with unique numbers")
    func order() {
        pool.replaceEndpoints([description("2"), description("1"), description("3")])
        #expect(pool.snapshot.endpoints.map(\.identity.name) == ["2", "1", "3"])
        #expect(Set(pool.snapshot.endpoints.map(\.number)).count == 3)
        pool.replaceEndpoints([description("3"), description("2")])
        #expect(pool.snapshot.endpoints.map(\.identity.name) == ["3", "2"])
    }

    @Test("An endpoint described as before stays the same object, with its metrics and load")
    func same() {
        pool.replaceEndpoints([description("1"), description("2")])
        pool.scrape(0, update(waiting: 3), at: .at(0))
        let before = pool.snapshot
        let reservation = pool.reserve(before.endpoints[0], tokens: 5)
        pool.replaceEndpoints([description("1"), description("2")])
        #expect(pool.snapshot.membership == before.membership)
        pool.replaceEndpoints([description("0"), description("1")])
        let after = pool.snapshot
        #expect(after.membership != before.membership)
        #expect(after.endpoints[1] === before.endpoints[0])
        #expect(after.metrics[1].waitingQueueSize == 3)
        #expect(after.endpoints[1].load.reading.tokens == 5)
        reservation.release()
    }

    @Test("New labels make a new object with the same number, metrics and load")
    func labels() {
        pool.replaceEndpoints([description("1")])
        pool.scrape(0, update(waiting: 3), at: .at(0))
        let before = pool.snapshot
        let reservation = pool.reserve(before.endpoints[0], tokens: 5)
        pool.replaceEndpoints([description("1", labels: ["role": "decode"])])
        let after = pool.snapshot
        #expect(after.membership != before.membership)
        #expect(after.endpoints[0] !== before.endpoints[0])
        #expect(after.endpoints[0].labels == ["role": "decode"])
        #expect(after.endpoints[0].number == before.endpoints[0].number)
        #expect(after.metrics[0].waitingQueueSize == 3)
        #expect(after.scrapes[0] == before.scrapes[0])
        #expect(after.endpoints[0].load.reading.requests == 1)
        reservation.release()
        #expect(after.endpoints[0].load.reading.requests == 0)
    }

    @Test("Another address or port is another server: its state starts anew", arguments: [true, false])
    func moved(port: Bool) {
        pool.replaceEndpoints([description("1")])
        pool.scrape(0, update(waiting: 3), at: .at(0))
        let before = pool.snapshot.endpoints[0]
        let mark = pool.scrapeStarted(before, at: .at(1))
        let reservation = pool.reserve(before, tokens: 5)
        pool.replaceEndpoints([port ? description("1", port: 9) : description("1", address: "10.1.1.1")])
        let after = pool.snapshot
        #expect(after.endpoints[0].number != before.number)
        #expect(after.metrics[0] == EndpointMetrics())
        #expect(after.scrapes[0] == ScrapeStatus())
        #expect(after.endpoints[0].load.reading.isNothing)
        // A page of the old server says nothing about the new one.
        pool.scrapeSucceeded(before, mark, update(waiting: 9))
        pool.publish()
        #expect(pool.snapshot.metrics[0].waitingQueueSize == 0)
        reservation.release()
        #expect(before.load.reading.requests == 0)
    }

    @Test("Of two descriptions with one identity the last counts, in the place of the first")
    func duplicates() {
        pool.replaceEndpoints([description("1", port: 1), description("2"), description("1", port: 2)])
        #expect(pool.snapshot.endpoints.map(\.port) == [2, 8000])
    }

    @Test("The address of an endpoint is written as a gateway wants it")
    func hostPort() {
        #expect(Endpoint.hostPort(address: "10.0.0.1", port: 80) == "10.0.0.1:80")
        #expect(Endpoint.hostPort(address: "::1", port: 80) == "[::1]:80")
    }

    @Test("An endpoint that leaves with requests in flight and comes back still has them")
    func flapping() {
        let pool = Pool(stalenessThreshold: .seconds(2))
        let description = EndpointDescription(name: "a", namespace: "n", address: "10.0.0.1", port: 8000)
        pool.replaceEndpoints([description])
        let reservation = pool.reserve(pool.snapshot.endpoints[0], tokens: 7)
        pool.replaceEndpoints([])
        pool.replaceEndpoints([description])
        #expect(pool.snapshot.endpoints.map(\.load.reading.requests) == [1])
        reservation.release()
        #expect(pool.snapshot.endpoints.map(\.load.reading.requests) == [0])
    }
}

@Suite("Scraping's part of the pool")
struct PoolScrapeTests {
    let pool = Pool(stalenessThreshold: .seconds(2))
    var endpoint: Endpoint { pool.snapshot.endpoints[0] }

    init() {
        pool.replaceEndpoints([description("1"), description("2")])
    }

    @Test("What is recorded is seen after publish, and a published snapshot does not change")
    func publish() {
        let before = pool.snapshot
        pool.scrapeSucceeded(endpoint, pool.scrapeStarted(endpoint, at: .at(0)), update(waiting: 3))
        #expect(pool.snapshot === before)
        pool.publish()
        let after = pool.snapshot
        #expect(after !== before)
        #expect(before.metrics[0].waitingQueueSize == 0)
        #expect(after.metrics[0].waitingQueueSize == 3)
        #expect(after.metrics[1].waitingQueueSize == 0)
        pool.publish()
        #expect(pool.snapshot === after)
    }

    @Test("What a page does not say stays as it was")
    func partial() {
        var full = update(waiting: 1, running: 2, kvCache: 0.5)
        full.adapters = .init(active: ["a"], waiting: ["b"], maximum: 4)
        full.cacheBlockSize = 16
        full.cacheBlockCount = 100
        pool.scrape(0, full, at: .at(0))
        pool.scrape(0, update(running: 7), at: .at(1))
        let metrics = pool.snapshot.metrics[0]
        #expect(metrics.waitingQueueSize == 1)
        #expect(metrics.runningRequests == 7)
        #expect(metrics.kvCacheUsage == 0.5)
        #expect(metrics.activeModels == ["a"])
        #expect(metrics.waitingModels == ["b"])
        #expect(metrics.maxActiveModels == 4)
        #expect(metrics.cacheBlockSize == 16)
        #expect(metrics.cacheBlockCount == 100)
    }

    @Test("A page that says nothing is a failure and does not make an endpoint fresh")
    func emptyPage() {
        pool.scrape(0, MetricsUpdate(), at: .at(0))
        #expect(pool.snapshot.scrapes[0].updatedAt == nil)
        #expect(pool.snapshot.scrapes[0].failures == 1)
        #expect(pool.snapshot.scrapes[0].error == "no known metric on the page")
    }

    @Test("Failures are counted until a good page, whose age counts from when it was asked for")
    func failures() {
        pool.scrapeFailed(endpoint, .other("a"))
        pool.scrapeFailed(endpoint, .unreachable("b"))
        pool.publish()
        #expect(pool.snapshot.scrapes[0].failures == 2)
        #expect(pool.snapshot.scrapes[0].error == "b")
        #expect(!pool.snapshot.scrapes[0].reachable)
        pool.scrapeFailed(endpoint, .other("c"))
        pool.publish()
        #expect(!pool.snapshot.scrapes[0].reachable)
        pool.scrape(0, update(waiting: 1), at: .at(40))
        #expect(pool.snapshot.scrapes[0].failures == 0)
        #expect(pool.snapshot.scrapes[0].error == nil)
        #expect(pool.snapshot.scrapes[0].reachable)
        #expect(pool.snapshot.scrapes[0].updatedAt == .at(40))
    }

    @Test("An endpoint is fresh while its page is younger than the threshold")
    func freshness() {
        pool.scrape(0, update(waiting: 1), at: .at(0))
        let snapshot = pool.snapshot
        #expect(snapshot.isFresh(0, at: .at(1999), threshold: .seconds(2)))
        #expect(!snapshot.isFresh(0, at: .at(2000), threshold: .seconds(2)))
        #expect(!snapshot.isFresh(1, at: .at(0), threshold: .seconds(2)))
    }

    // MARK: Tiers

    private func names(_ subset: SubsetHint? = nil, at milliseconds: Int) -> [String] {
        let candidates = pool.candidates(in: subset, at: .at(milliseconds)).preferred
        return (0..<candidates.count).map { candidates.endpoint($0).identity.name }
    }

    @Test("Fresh and reachable endpoints are the candidates; when there is none, all are")
    func tiers() {
        #expect(names(at: 0) == ["1", "2"])
        pool.scrape(0, update(waiting: 9), at: .at(0))
        #expect(names(at: 10) == ["1"])
        pool.scrape(1, update(waiting: 1), at: .at(1000))
        #expect(names(at: 1500) == ["1", "2"])
        #expect(names(at: 2500) == ["2"])
        #expect(names(at: 9000) == ["1", "2"])
    }

    @Test("A suspected endpoint loses to others at once, until a page asked for later")
    func suspect() {
        pool.scrape(0, update(waiting: 1), at: .at(0))
        pool.scrape(1, update(waiting: 1), at: .at(0))
        let early = pool.scrapeStarted(endpoint, at: .at(5))
        pool.suspect(endpoint, at: .at(10))
        #expect(names(at: 11) == ["2"])
        pool.scrapeSucceeded(endpoint, early, update(waiting: 0))
        pool.publish()
        #expect(names(at: 12) == ["2"])
        pool.suspect(pool.snapshot.endpoints[1], at: .at(13))
        #expect(names(at: 14) == ["1", "2"])
        pool.scrape(0, update(waiting: 1), at: .at(15))
        #expect(names(at: 16) == ["1"])
    }

    @Test("A refused scrape takes an endpoint out while others are fresh")
    func refused() {
        pool.scrape(0, update(waiting: 1), at: .at(0))
        pool.scrape(1, update(waiting: 1), at: .at(0))
        pool.scrapeFailed(endpoint, .unreachable("refused"))
        pool.publish()
        #expect(names(at: 1) == ["2"])
        pool.scrapeFailed(pool.snapshot.endpoints[1], .other("timeout"))
        pool.publish()
        #expect(names(at: 2) == ["2"])
    }

    // MARK: Subsets

    @Test(
        "A subset hint names addresses with or without ports",
        arguments: [
            (["10.0.0.1:8000"], ["1"]), (["10.0.0.1"], ["1", "3"]),
            ([" 10.0.0.1:8000 ", "10.0.0.1:9000"], ["1", "3"]),
            (["10.0.0.1:1"], []), ([], []), ([""], []), (["::1"], ["6"]), (["[::1]"], ["6"]), (["[::1]:8000"], ["6"]),
            (["::1:8000"], []), (["10.0.0"], []),
        ]
    )
    func subset(entries: [String], expected: [String]) {
        pool.replaceEndpoints([
            description("1"), description("2"), description("3", address: "10.0.0.1", port: 9000),
            description("6", address: "::1"),
        ])
        #expect(names(SubsetHint(entries), at: 0) == expected)
    }

    @Test("The tiers apply within the subset")
    func subsetTiers() {
        pool.scrape(1, update(waiting: 1), at: .at(0))
        #expect(names(SubsetHint(["10.0.0.1"]), at: 1) == ["1"])
        #expect(names(SubsetHint(["10.0.0.1", "10.0.0.2"]), at: 1) == ["2"])
    }
}
