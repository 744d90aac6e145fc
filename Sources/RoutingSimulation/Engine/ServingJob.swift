/// One request, or one stage of it, at one server.
final class ServingJob {
    enum Stage {
        case whole
        /// Computes the prompt and one token, for another server.
        case prefill
        /// Its prompt's KV comes from another server.
        case decode
    }

    let request: SimulatedRequest
    let stage: Stage
    /// When it came to the server, in seconds.
    let submitted: Double
    /// Tokens of the answer that it makes in all, and those it has made until the step `countedAt`.
    let outputTokens: Int
    var generated = 0
    var countedAt = 0
    /// Prompt tokens that are still to be computed, and those that are there.
    var remaining = 0
    var computed = 0
    /// Prompt tokens that were in the cache when it began.
    var cached = 0
    /// Among those admitted.
    var order = 0
    /// What it was going to take when it came: tokens to compute, blocks.
    var expectedTokens = 0
    var expectedBlocks = 0

    init(_ request: SimulatedRequest, _ stage: Stage, submitted: Double) {
        self.request = request
        self.stage = stage
        self.submitted = submitted
        outputTokens = stage == .prefill ? 1 : request.outputTokens
    }

    /// The full blocks of its prompt.
    func promptBlocks(_ size: Int) -> ArraySlice<UInt64> {
        request.blocks.prefix(request.promptTokens / size)
    }

    /// Tokens of context at the step `step`.
    func generated(at step: Int) -> Int { generated + step - countedAt }
}

/// Jobs that decode, the first to end first.
struct DecodeHeap {
    private struct Entry {
        let end: Int
        let order: Int
        let job: ServingJob

        func isBefore(_ other: Entry) -> Bool { end != other.end ? end < other.end : order < other.order }
    }

    private var entries: [Entry] = []

    var count: Int { entries.count }
    var jobs: [ServingJob] { entries.map(\.job) }
    /// The step after which the first of them has all its tokens.
    var firstEnd: Int? { entries.first?.end }

    /// Steps and jobs, in the order in which they end.
    var byEnd: [(end: Int, job: ServingJob)] {
        entries.sorted { $0.isBefore($1) }.map { ($0.end, $0.job) }
    }

    mutating func insert(_ job: ServingJob, end: Int) {
        entries.append(Entry(end: end, order: job.order, job: job))
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child].isBefore(entries[parent]) else { return }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    mutating func removeFirst() -> ServingJob? {
        guard let last = entries.popLast() else { return nil }
        guard let first = entries.first else { return last.job }
        entries[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < entries.count else { return first.job }
            if child + 1 < entries.count, entries[child + 1].isBefore(entries[child]) { child += 1 }
            guard entries[child].isBefore(entries[parent]) else { return first.job }
            entries.swapAt(child, parent)
            parent = child
        }
    }

    /// Takes out the one that was admitted last.
    mutating func removeNewest() -> ServingJob? {
        guard let newest = entries.max(by: { $0.order < $1.order }) else { return nil }
        let rest = entries.filter { $0.job !== newest.job }
        entries = []
        for entry in rest { insert(entry.job, end: entry.end) }
        return newest.job
    }

    mutating func removeAll() { entries = [] }
}
