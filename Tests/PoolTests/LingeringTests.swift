import Bytes
import Pool
import Testing

@Suite("Reservations left to the next page")
struct LingeringTests {
    let pool = Pool(stalenessThreshold: .seconds(2))
    let endpoint: Endpoint

    init() {
        pool.replaceEndpoints([description("1"), description("2")])
        endpoint = pool.snapshot.endpoints[0]
    }

    private var requests: Int { endpoint.load.reading.requests }

    @Test("The load stays until a good page that was asked for after the reservation was left")
    func untilNextPage() {
        pool.scrape(0, update(waiting: 0), at: .at(0))
        let underway = pool.scrapeStarted(endpoint, at: .at(1))
        pool.linger(pool.reserve(endpoint, tokens: 5), at: .at(2))
        #expect(requests == 1)
        pool.scrapeSucceeded(endpoint, underway, update(waiting: 0))
        pool.publish()
        #expect(requests == 1)
        pool.scrapeFailed(endpoint, .other("no answer"))
        pool.publish()
        #expect(requests == 1)
        pool.scrape(1, update(waiting: 0), at: .at(3))
        #expect(requests == 1)
        pool.scrape(0, update(waiting: 1), at: .at(4))
        #expect(requests == 0 && endpoint.load.reading.tokens == 0)
    }

    @Test("Only what was left before the page is given back")
    func onlyOlder() {
        pool.scrape(0, update(waiting: 0), at: .at(0))
        pool.linger(pool.reserve(endpoint, tokens: 5), at: .at(1))
        let mark = pool.scrapeStarted(endpoint, at: .at(2))
        pool.linger(pool.reserve(endpoint, tokens: 5), at: .at(3))
        pool.scrapeSucceeded(endpoint, mark, update(waiting: 0))
        pool.publish()
        #expect(requests == 1)
        pool.scrape(0, update(waiting: 0), at: .at(4))
        #expect(requests == 0)
    }

    @Test("An endpoint that was never scraped, or has left the pool, gives the load back at once")
    func nothingToWaitFor() {
        pool.linger(pool.reserve(endpoint, tokens: 5), at: .at(1))
        #expect(requests == 0)
        pool.scrape(0, update(waiting: 0), at: .at(2))
        pool.linger(pool.reserve(endpoint, tokens: 5), at: .at(3))
        #expect(requests == 1)
        pool.replaceEndpoints([description("2")])
        #expect(requests == 0)
        pool.linger(pool.reserve(endpoint, tokens: 5), at: .at(4))
        #expect(requests == 0)
    }

    @Test("However many are left, a bounded number stays")
    func bounded() {
        pool.scrape(0, update(waiting: 0), at: .at(0))
        for _ in 0..<70_000 { pool.linger(pool.reserve(endpoint, tokens: 1), at: .at(1)) }
        #expect(requests == 1 << 16)
        pool.scrape(0, update(waiting: 0), at: .at(2))
        #expect(requests == 0)
    }

    @Test("An endpoint is found by its address and port")
    func byHostPort() {
        let snapshot = pool.snapshot
        #expect(snapshot.index(at: snapshot.endpoints[1].hostPort) == 1)
        #expect(snapshot.index(at: "nobody:1") == nil)
    }
}
