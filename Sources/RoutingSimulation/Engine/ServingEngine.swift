/// A model of one server with continuous batching, as vLLM schedules: every step gives each decoding sequence one token and spends what is left
/// of its token budget on prompts, first come first served and in chunks; a request is admitted when its prompt's blocks fit; when the answers
/// have filled the memory, the one admitted last gives way and is computed again.
///
/// Time is the caller's, in seconds. Steps in which sequences only decode are taken together, so that an hour costs as much as it has requests.
/// `EngineSimulation.Engine` times each request alone, which serves a server that answers real clients; here requests slow each other down.
final class ServingEngine {
    enum Event {
        case firstToken(ServingJob)
        case finished(ServingJob)
    }

    /// What a metrics page tells: the state after the latest step that had ended when it was asked for.
    struct Page: Equatable {
        var running = 0
        var waiting = 0
        var usage = 0.0
        var adapters: [String] = []
        var waitingAdapters: [String] = []
    }

    private struct Run {
        let start: Double
        var end: Double
        var steps: Int
        let isDecodeOnly: Bool
    }

    let costs: ServingCosts
    /// Requests that have not been admitted; those before `waitingHead` are gone.
    private var waiting: [ServingJob] = []
    private(set) var prefilling: [ServingJob] = []
    private(set) var decoding = DecodeHeap()
    private(set) var memory = BlockMemory()
    /// Adapters in slots, the least recently used first, and how many jobs use each.
    private var adapters: [String] = []
    private var adapterUsers: [String: Int] = [:]
    private var run: Run?
    private(set) var stepsDone = 0
    /// Of the decoding sequences: tokens of context, and tokens of answers among them.
    private(set) var context = 0
    private var answers = 0
    private var nextOrder = 0
    /// Waiting when the present run was planned.
    private var waitingAtPlan = 0
    private var lastPage = Page()
    /// Prompt tokens that are to be computed for those who have been submitted, as expected when they came.
    private(set) var pendingTokens = 0

    // Totals
    private(set) var promptTokens = 0
    private(set) var cachedTokens = 0
    private(set) var computedTokens = 0
    private(set) var generatedTokens = 0
    private(set) var preemptions = 0
    private(set) var busy = 0.0
    /// Times between tokens, from `measuresFrom` on.
    private(set) var gaps = DurationHistogram()
    var measuresFrom = 0.0

    init(_ costs: ServingCosts) {
        self.costs = costs
    }

    var waitingCount: Int { waiting.count }

    func forEachWaiting(_ body: (ServingJob) -> Void) {
        for job in waiting { body(job) }
    }

    var activeCount: Int { prefilling.count + decoding.count }
    var isIdle: Bool { run == nil }
    var nextEvent: Double? { run?.end }

    // MARK: Requests

    func submit(_ job: ServingJob, at time: Double) {
        let blocks = job.promptBlocks(costs.blockTokens)
        job.expectedTokens = uncached(job.request, blocks, job.stage)
        job.expectedBlocks = memory.cost(of: blocks) + 1
        pendingTokens += job.expectedTokens
        waiting.append(job)
        guard var current = run else { return plan(at: time) }
        guard current.isDecodeOnly, current.steps > 1 else { return }
        // The step that is under way ends; the next one sees the new request.
        current.steps = max(1, steps(of: current, until: time, roundedUp: true))
        current.end = current.start + costs.decode(steps: current.steps, sequences: decoding.count, context: context)
        run = current
    }

    /// The server is gone with all that it had; returns whom it leaves without an answer.
    func fail() -> [ServingJob] {
        let jobs = waiting + prefilling + decoding.jobs
        waiting = []
        prefilling = []
        decoding.removeAll()
        memory = BlockMemory()
        adapters = []
        adapterUsers = [:]
        (context, answers, pendingTokens, waitingAtPlan) = (0, 0, 0, 0)
        lastPage = Page()
        run = nil
        return jobs
    }

    // MARK: Time

    /// Ends the present run, whose time has come, and begins the next.
    func advance() -> [Event] {
        guard let ended = run else { return [] }
        run = nil
        busy += ended.end - ended.start
        let events = finish(ended)
        lastPage = page(running: activeCount, waiting: waitingAtPlan, answers: answers)
        plan(at: ended.end)
        return events
    }

    private func finish(_ run: Run) -> [Event] {
        let sequences = decoding.count
        if sequences > 0, run.start >= measuresFrom {
            gaps.add((run.end - run.start) / Double(run.steps), count: sequences * run.steps)
        }
        stepsDone += run.steps
        context += sequences * run.steps
        answers += sequences * run.steps
        generatedTokens += sequences * run.steps
        var events: [Event] = []
        while let end = decoding.firstEnd, end <= stepsDone, let job = decoding.removeFirst() {
            leave(job)
            events.append(.finished(job))
        }
        guard !run.isDecodeOnly else { return events }
        for job in prefilling where job.remaining == 0 {
            let isFirst = job.generated == 0
            job.generated += 1
            job.countedAt = stepsDone
            generatedTokens += 1
            answers += 1
            context += job.computed + 1
            if isFirst { events.append(.firstToken(job)) }
            if job.generated >= job.outputTokens {
                leave(job)
                events.append(.finished(job))
            } else {
                decoding.insert(job, end: stepsDone + job.outputTokens - job.generated)
            }
        }
        prefilling.removeAll { $0.remaining == 0 }
        return events
    }

    /// A job that decodes, or has just made its only token, is over.
    private func leave(_ job: ServingJob) {
        let generated = job.generated(at: stepsDone)
        job.generated = generated
        context -= job.request.promptTokens + generated
        answers -= generated
        releaseAdapter(job)
        let size = costs.blockTokens
        // What comes later in a prompt is given up first.
        let full = (job.request.promptTokens + generated) / size
        let prompt = job.promptBlocks(size)
        for index in (prompt.count..<max(full, prompt.count)).reversed() { memory.keep(job.request.block(index)) }
        for hash in prompt.reversed() { memory.release(hash) }
        memory.shrink(to: costs.blocks - growing)
    }

    // MARK: Planning

    /// Blocks that are not full prompts': answers, and one that is not full for each sequence.
    private var growing: Int { (answers + costs.blockTokens - 1) / costs.blockTokens + activeCount }

    /// Blocks that could be had.
    var available: Int { costs.blocks - memory.pinned - growing }

    private func plan(at time: Double) {
        makeRoomForAnswers()
        var budget = costs.tokenBudget - decoding.count
        var duration = 0.0
        for job in prefilling { duration += computeChunk(of: job, &budget) }
        var index = 0
        while index < waiting.count, budget > 0, activeCount < costs.maximumSequences {
            let job = waiting[index]
            guard let load = takeAdapter(job, isTrial: true) else {
                index += 1
                continue
            }
            guard admit(job) else { break }
            _ = takeAdapter(job, isTrial: false)
            duration += load
            waiting.remove(at: index)
            prefilling.append(job)
            duration += computeChunk(of: job, &budget)
        }
        waitingAtPlan = waiting.count
        memory.shrink(to: costs.blocks - growing)
        if !prefilling.isEmpty {
            duration += costs.decode(steps: 1, sequences: decoding.count, context: context)
            run = Run(start: time, end: time + duration, steps: 1, isDecodeOnly: false)
        } else if let end = decoding.firstEnd {
            let room = max(1, available * costs.blockTokens / decoding.count)
            let steps = max(1, min(end - stepsDone, room))
            let duration = costs.decode(steps: steps, sequences: decoding.count, context: context)
            run = Run(start: time, end: time + duration, steps: steps, isDecodeOnly: true)
        }
    }

    private func computeChunk(of job: ServingJob, _ budget: inout Int) -> Double {
        let chunk = min(job.remaining, budget)
        guard chunk > 0 else { return 0 }
        let duration = costs.prefill(tokens: chunk, before: job.computed)
        budget -= chunk
        job.remaining -= chunk
        job.computed += chunk
        computedTokens += chunk
        if job.remaining == 0 { pendingTokens -= job.expectedTokens }
        return duration
    }

    /// Takes the blocks of a prompt; false when there is no room.
    private func admit(_ job: ServingJob) -> Bool {
        let blocks = job.promptBlocks(costs.blockTokens)
        let extra = job.generated / costs.blockTokens + 1
        guard memory.cost(of: blocks) + extra <= available else { return false }
        let length = job.request.promptTokens + job.generated
        let uncached = uncached(job.request, blocks, job.stage) + job.generated
        for hash in blocks { memory.use(hash) }
        if job.generated == 0, job.stage != .decode {
            job.cached = job.request.promptTokens - uncached
            promptTokens += job.request.promptTokens
            cachedTokens += job.cached
        }
        job.remaining = uncached
        job.computed = length - uncached
        answers += job.generated
        job.order = nextOrder
        nextOrder += 1
        return true
    }

    /// Prompt tokens to compute. The last one always is: its result is what the first new token comes from.
    private func uncached(_ request: SimulatedRequest, _ blocks: ArraySlice<UInt64>, _ stage: ServingJob.Stage) -> Int {
        if stage == .decode { return 1 }
        let cached = memory.countOfPrefix(blocks) * costs.blockTokens
        return max(1, request.promptTokens - cached)
    }

    /// Lets those give way that were admitted last, until every sequence can get its next token.
    private func makeRoomForAnswers() {
        while decoding.count > 1, available < decoding.count / costs.blockTokens + 1, let job = decoding.removeNewest()
        {
            preemptions += 1
            let generated = job.generated(at: stepsDone)
            context -= job.request.promptTokens + generated
            answers -= generated
            job.generated = generated
            job.countedAt = stepsDone
            releaseAdapter(job)
            for hash in job.promptBlocks(costs.blockTokens).reversed() { memory.release(hash) }
            job.expectedTokens = generated
            pendingTokens += generated
            waiting.insert(job, at: 0)
        }
    }

    // MARK: Adapters

    /// Seconds until the job's adapter is in a slot; nil when none can be had.
    private func takeAdapter(_ job: ServingJob, isTrial: Bool) -> Double? {
        guard let adapter = job.request.adapter else { return 0 }
        var time = 0.0
        if !adapters.contains(adapter) {
            if adapters.count >= costs.adapterSlots {
                guard let unused = adapters.firstIndex(where: { adapterUsers[$0, default: 0] == 0 }) else { return nil }
                if !isTrial { adapters.remove(at: unused) }
            }
            time = costs.adapterLoad * costs.slowness
        }
        guard !isTrial else { return time }
        adapters.removeAll { $0 == adapter }
        adapters.append(adapter)
        adapterUsers[adapter, default: 0] += 1
        return time
    }

    private func releaseAdapter(_ job: ServingJob) {
        guard let adapter = job.request.adapter, let users = adapterUsers[adapter] else { return }
        adapterUsers[adapter] = users > 1 ? users - 1 : nil
    }

    /// Whether the adapter is in a slot, or could be at once.
    func canRun(_ adapter: String?) -> (isLoaded: Bool, hasSlot: Bool) {
        guard let adapter else { return (true, true) }
        if adapters.contains(adapter) { return (true, true) }
        let hasSlot =
            adapters.count < costs.adapterSlots || adapters.contains { adapterUsers[$0, default: 0] == 0 }
        return (false, hasSlot)
    }

    /// Seconds until the step that is under way ends.
    func restOfStep(at time: Double) -> Double {
        guard let run else { return 0 }
        guard run.isDecodeOnly else { return run.end - time }
        let steps = max(1, steps(of: run, until: time, roundedUp: true))
        return max(0, run.start + costs.decode(steps: steps, sequences: decoding.count, context: context) - time)
    }

    // MARK: Pages

    func page(at time: Double) -> Page {
        guard let run, run.isDecodeOnly else { return lastPage }
        let steps = steps(of: run, until: time, roundedUp: false)
        guard steps > 0 else { return lastPage }
        return page(
            running: activeCount,
            waiting: waitingAtPlan,
            answers: answers + steps * decoding.count
        )
    }

    private func page(running: Int, waiting count: Int, answers: Int) -> Page {
        let used = memory.pinned + (answers + costs.blockTokens - 1) / costs.blockTokens + activeCount
        var page = Page(running: running, waiting: count, usage: min(1, Double(used) / Double(costs.blocks)))
        guard !adapters.isEmpty else { return page }
        page.adapters = adapterUsers.keys.sorted()
        page.waitingAdapters = Set(waiting.prefix(count).compactMap(\.request.adapter)).sorted()
        return page
    }

    /// Steps of a run that have ended at `time`, or will have when the one under way has.
    private func steps(of run: Run, until time: Double, roundedUp: Bool) -> Int {
        var low = 0
        var high = run.steps
        // The least number of steps that ends at `time` or later.
        while low < high {
            let middle = (low + high) / 2
            let end = run.start + costs.decode(steps: middle, sequences: decoding.count, context: context)
            if end < time { low = middle + 1 } else { high = middle }
        }
        return roundedUp ? low : max(0, low - 1)
    }
}
