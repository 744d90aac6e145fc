import Bytes
import Pool
import Scheduling

/// What a test says of an endpoint's page.
struct Page {
    var waiting = 0
    var running = 0
    var usage = 0.0
    var active: [String] = []
    var waitingModels: [String] = []
    var maxActive = 0
    var blockSize = 0
    var blockCount = 0
}

/// A pool whose endpoints `e0`, `e1`… show these pages.
func makePool(_ pages: [Page]) -> Pool {
    let pool = Pool(stalenessThreshold: .seconds(2))
    pool.replaceEndpoints(descriptions(pages.count))
    publish(pages, to: pool)
    return pool
}

func makePool(count: Int) -> Pool {
    makePool(Array(repeating: Page(), count: count))
}

func descriptions(_ count: Int) -> [EndpointDescription] {
    (0..<count).map { EndpointDescription(name: "e\($0)", namespace: "n", address: "10.0.0.\($0)", port: 8000) }
}

func publish(_ pages: [Page], to pool: Pool) {
    for (endpoint, page) in zip(pool.snapshot.endpoints, pages) {
        let mark = pool.scrapeStarted(endpoint, at: MonotonicTime(nanoseconds: 1))
        var update = MetricsUpdate()
        update.waitingQueueSize = page.waiting
        update.runningRequests = page.running
        update.kvCacheUsage = page.usage
        update.adapters = MetricsUpdate.Adapters(
            active: page.active,
            waiting: page.waitingModels,
            maximum: page.maxActive
        )
        update.cacheBlockSize = page.blockSize
        update.cacheBlockCount = page.blockCount
        pool.scrapeSucceeded(endpoint, mark, update)
    }
    pool.publish()
}

extension Pool {
    /// All endpoints, in the snapshot's order.
    var everyone: Candidates {
        let snapshot = snapshot
        return Candidates(snapshot: snapshot, indexes: 0..<snapshot.count)
    }
}

/// The scores a scorer writes.
func scores(
    _ scorer: any Scorer,
    _ candidates: Candidates,
    _ request: SchedulingRequest = request()
) -> [Float] {
    var scores = [Float](repeating: 0, count: candidates.count)
    var span = scores.mutableSpan
    scorer.score(request, candidates, into: &span)
    return scores
}

func scores(_ scorer: any Scorer, _ pages: [Page], _ request: SchedulingRequest = request()) -> [Float] {
    scores(scorer, makePool(pages).everyone, request)
}

func request(model: String = "m", hashes: [UInt64] = [], blockTokens: Int = 16) -> SchedulingRequest {
    SchedulingRequest(
        model: model,
        targetModel: model,
        prefix: PromptBlocks(hashes: hashes, blockTokens: blockTokens)
    )
}

func isClose(_ left: [Float], _ right: [Float]) -> Bool {
    left.count == right.count && zip(left, right).allSatisfy { abs($0 - $1) < 1e-6 }
}

/// Hashes of a prompt of `count` blocks; other seeds make other prompts.
func prompt(_ count: Int, seed: UInt64) -> [UInt64] {
    var generator = SeededGenerator(seed: seed)
    return (0..<count).map { _ in generator.next() }
}

/// A pool whose endpoints have these labels, and blank pages.
func makePool(labels: [[String: String]]) -> Pool {
    let pool = Pool(stalenessThreshold: .seconds(2))
    pool.replaceEndpoints(
        labels.enumerated().map { index, labels in
            EndpointDescription(
                name: "e\(index)",
                namespace: "n",
                address: "10.0.0.\(index)",
                port: 8000,
                labels: labels
            )
        }
    )
    publish(Array(repeating: Page(), count: labels.count), to: pool)
    return pool
}

/// The indexes of the endpoints that a filter leaves.
func kept(
    _ filter: any Filter,
    _ candidates: Candidates,
    _ request: SchedulingRequest = request(),
    seed: UInt64 = 1
) -> [Int] {
    var generator = SeededGenerator(seed: seed)
    return filter.filter(request, candidates, using: &generator).list.map(\.index)
}

/// A request with these headers, their names in lower case.
func request(headers: [String: String], model: String = "m") -> SchedulingRequest {
    SchedulingRequest(model: model, targetModel: model, header: { headers[$0] })
}

/// Runs a whole decision with one profile of these filters and scorers, and remembers it.
@discardableResult
func decide(
    _ scheduler: Scheduler,
    _ candidates: Candidates,
    _ request: SchedulingRequest,
    seed: UInt64 = 1
) throws(SchedulingError) -> SchedulingResult {
    var generator = SeededGenerator(seed: seed)
    let result = try scheduler.schedule(request, candidates, using: &generator)
    scheduler.record(request, result)
    return result
}
