import Bytes
import Pool
import Testing

@Suite("Reservations")
struct ReservationTests {
    let pool = Pool(stalenessThreshold: .seconds(2))
    let endpoint: Endpoint

    init() {
        pool.replaceEndpoints([description("1"), description("2")])
        endpoint = pool.snapshot.endpoints[0]
    }

    private var load: EndpointLoad.Reading { endpoint.load.reading }
    private var candidate: Candidates.Candidate { pool.candidates(at: .at(0)).list[0] }

    private func hold(_ candidates: Candidates, _ position: Int) -> Held? {
        guard let reservation = pool.reserve(candidates, position, tokens: 1) else { return nil }
        return Held(reservation)
    }

    /// Reserves and drops within its scope, as a thrown error or a cancelled task does.
    private func reserveAndDrop() {
        let reservation = pool.reserve(endpoint, tokens: 7)
        #expect(reservation.tokens == 7)
        #expect(load.requests == 1)
    }

    @Test("Tokens may be given back before the request; what no page has shown yet stays until its end")
    func tokensFirst() {
        var reservation = pool.reserve(endpoint, tokens: 7)
        let other = pool.reserve(endpoint, tokens: 5)
        for _ in 0..<2 {
            reservation.releaseTokens()
            #expect(load.tokens == 5 && load.requests == 2)
            #expect(load.unseenTokens == 12 && load.unseenRequests == 2)
        }
        reservation.release()
        #expect(load.tokens == 5 && load.requests == 1 && load.unseenTokens == 5)
        other.release()
        #expect(load.tokens == 0 && load.requests == 0 && load.unseenTokens == 0)
    }

    @Test("A reservation is given back exactly once, by release or by being dropped")
    func release() {
        reserveAndDrop()
        #expect(load.requests == 0)
        let first = pool.reserve(endpoint, tokens: 3)
        let second = pool.reserve(endpoint, tokens: 4)
        #expect(load.requests == 2 && load.tokens == 7)
        first.release()
        #expect(load.requests == 1 && load.tokens == 4)
        second.release()
        #expect(load.isNothing && load.latest == 3)
        #expect(pool.snapshot.endpoints[1].load.reading.isNothing)
    }

    @Test("The effective load is the scraped value plus what was sent since, and the scraped value when nothing was")
    func effectiveLoad() {
        var page = update(waiting: 3, running: 4, kvCache: 0.5)
        page.cacheBlockSize = 16
        page.cacheBlockCount = 100
        pool.scrape(0, page, at: .at(0))
        #expect(candidate.waiting == 3 && candidate.running == 4 && candidate.kvCacheUsage == 0.5)
        let reservation = pool.reserve(endpoint, tokens: 160)
        #expect(candidate.waiting == 4 && candidate.running == 5)
        #expect(abs(candidate.kvCacheUsage - 0.6) < 1e-6)
        #expect(candidate.inFlightRequests == 1 && candidate.inFlightTokens == 160)
        let large = pool.reserve(endpoint, tokens: 1_000_000)
        #expect(candidate.kvCacheUsage == 1)
        reservation.release()
        large.release()
        #expect(candidate.waiting == 3 && candidate.running == 4 && candidate.kvCacheUsage == 0.5)
    }

    @Test("Without a known cache size tokens do not change the cache's use")
    func unknownCache() {
        pool.scrape(0, update(kvCache: 0.25), at: .at(0))
        let reservation = pool.reserve(endpoint, tokens: 1 << 30)
        #expect(candidate.kvCacheUsage == 0.25)
        reservation.release()
    }

    @Test("Tokens beyond reason are cut off, so that no sum of them overflows", arguments: [Int.max, Int.min, -1])
    func hugeTokens(tokens: Int) {
        let first = pool.reserve(endpoint, tokens: tokens)
        let second = pool.reserve(endpoint, tokens: tokens)
        #expect(load.tokens == first.tokens + second.tokens)
        #expect(load.tokens >= 0)
        _ = candidate
        first.release()
        second.release()
        #expect(load.tokens == 0)
    }

    // MARK: Marks

    @Test("A page knows what was reserved before it was asked for, and nothing later")
    func marks() {
        let early = pool.reserve(endpoint, tokens: 10)
        let mark = pool.scrapeStarted(endpoint, at: .at(0))
        let late = pool.reserve(endpoint, tokens: 20)
        #expect(load.unseenRequests == 2 && load.unseenTokens == 30)
        pool.scrapeSucceeded(endpoint, mark, update(waiting: 1))
        #expect(load.unseenRequests == 2)
        pool.publish()
        #expect(load.unseenRequests == 1 && load.unseenTokens == 20)
        #expect(load.requests == 2 && load.tokens == 30)
        #expect(candidate.waiting == 2)
        early.release()
        #expect(load.unseenRequests == 1)
        late.release()
        #expect(load.unseenRequests == 0 && load.unseenTokens == 0)
        #expect(candidate.waiting == 1)
    }

    @Test("A failed scrape knows nothing")
    func failedScrape() {
        let reservation = pool.reserve(endpoint, tokens: 10)
        _ = pool.scrapeStarted(endpoint, at: .at(0))
        pool.scrapeFailed(endpoint, .other("timeout"))
        pool.publish()
        #expect(load.unseenRequests == 1)
        reservation.release()
    }

    @Test("A page that is older than the last one does not make known requests unknown again")
    func oldPage() {
        let first = pool.scrapeStarted(endpoint, at: .at(0))
        let reservation = pool.reserve(endpoint, tokens: 10)
        pool.scrape(0, update(waiting: 1), at: .at(1))
        #expect(load.unseenRequests == 0)
        pool.scrapeSucceeded(endpoint, first, update(waiting: 0))
        pool.publish()
        #expect(load.unseenRequests == 0)
        reservation.release()
    }

    @Test("Who holds the snapshot before a page still counts what only the page made known")
    func snapshotBefore() {
        pool.scrape(0, update(waiting: 0), at: .at(0))
        let reservation = pool.reserve(endpoint, tokens: 10)
        let before = pool.snapshot
        pool.scrape(0, update(waiting: 1), at: .at(1))
        #expect(Candidates(snapshot: before, indexes: [0]).list[0].waiting == 1)
        #expect(candidate.waiting == 1)
        reservation.release()
        #expect(Candidates(snapshot: before, indexes: [0]).list[0].waiting == 0)
        #expect(candidate.waiting == 1)
    }

    // MARK: Decisions

    @Test("A decision on a load that has changed since is refused")
    func stale() {
        let candidates = pool.candidates(at: .at(0))
        let held = hold(candidates, 0)
        #expect(held != nil)
        #expect(hold(candidates, 0) == nil)
        // The other endpoint's load is as it was read.
        #expect(hold(candidates, 1) != nil)
        #expect(hold(pool.candidates(at: .at(0)), 0) != nil)
    }

    @Test("A request that ended does not make a reading stale")
    func endedSince() {
        let earlier = pool.reserve(endpoint, tokens: 1)
        let candidates = pool.candidates(at: .at(0))
        earlier.release()
        #expect(hold(candidates, 0) != nil)
    }

    @Test("Filtering keeps positions and readings together")
    func filtered() {
        let candidates = pool.candidates(at: .at(0)).filtered { $0 == 1 }
        #expect(candidates.count == 1)
        #expect(candidates.endpoint(0).identity.name == "2")
        #expect(hold(candidates, 0)?.endpoint.identity.name == "2")
        let none = candidates.filtered { _ in false }
        #expect(none.isEmpty)
    }

    /// Sends so many requests, one after the other, each to the less loaded of two endpoints; some of them together with a page.
    private static func send(_ count: Int, tokens: Int, _ pool: Pool) {
        for round in 0..<count {
            while true {
                let candidates = pool.candidates(at: .at(0))
                let least = candidates.list[0].waiting <= candidates.list[1].waiting ? 0 : 1
                guard let reservation = pool.reserve(candidates, least, tokens: tokens) else { continue }
                if round % 3 == 0 {
                    let endpoint = reservation.endpoint
                    let mark = pool.scrapeStarted(endpoint, at: .at(round))
                    pool.scrapeSucceeded(endpoint, mark, update(waiting: 0))
                    pool.publish()
                }
                reservation.release()
                break
            }
        }
    }

    @Test("Decisions on many threads never share a reading, and all load comes back")
    func concurrent() async {
        let pool = pool
        pool.scrape(0, update(waiting: 0), at: .at(0))
        pool.scrape(1, update(waiting: 0), at: .at(0))
        await withTaskGroup(of: Void.self) { group in
            for task in 1...4 {
                group.addTask { Self.send(2000, tokens: task, pool) }
            }
        }
        let readings = pool.snapshot.endpoints.map(\.load.reading)
        #expect(readings.map(\.latest).reduce(0, +) == 8000)
        for reading in readings { #expect(reading.isNothing) }
    }

    @Test("A burst between two scrapes spreads over equal endpoints")
    func burst() {
        pool.scrape(0, update(waiting: 0), at: .at(0))
        pool.scrape(1, update(waiting: 0), at: .at(0))
        var held: [Held] = []
        for _ in 0..<100 {
            let candidates = pool.candidates(at: .at(1))
            let least = candidates.list[0].waiting <= candidates.list[1].waiting ? 0 : 1
            if let reservation = hold(candidates, least) { held.append(reservation) }
        }
        #expect(pool.snapshot.endpoints.map(\.load.reading.requests) == [50, 50])
        held.removeAll()
        #expect(pool.snapshot.endpoints.map(\.load.reading.requests) == [0, 0])
    }
}

/// Holds a reservation where only copyable values can stand.
private final class Held {
    private let reservation: Reservation

    init(_ reservation: consuming Reservation) {
        self.reservation = reservation
    }

    var endpoint: Endpoint { reservation.endpoint }
}
