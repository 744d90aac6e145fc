package import Bytes

/// A model of an inference engine with continuous batching: a batch of bounded size, a first-come-first-served waiting queue, prefill by
/// uncached tokens, decoding that slows as the batch fills, and paged KV memory with a prefix cache.
///
/// Pure: time is what the caller passes in, and never goes back. The same requests at the same times with the same seed give the same
/// events. Use: `advance(to:)` the present, `submit` or `abort`, then `advance(to: nextEventTime)` when that has come.
package struct Engine: Sendable {
    package internal(set) var configuration: EngineConfiguration
    private var random: SeededGenerator
    private var now = MonotonicTime(nanoseconds: 0)
    var sequences: [Int: EngineSequence] = [:]
    private var waiting: [Int] = []
    private var runningAdapters: [String: Int] = [:]
    private var running = 0
    private var timers = TimerHeap()
    var cache: BlockCache
    /// Blocks of requests that have ended, by request, until they are released.
    var kept: [Int: EngineSequence] = [:]
    private var unreported: [EngineEvent] = []
    private var nextNumber = 1
    private var nextOrder = 1
    private var counters = EngineStatistics()

    package init(_ configuration: EngineConfiguration) {
        self.configuration = configuration
        random = SeededGenerator(seed: configuration.seed)
        cache = BlockCache(capacity: max(configuration.kvCacheSize, 1))
    }

    /// Changes the times that later steps take.
    package mutating func setLatency(_ latency: LatencyModel) {
        configuration.latency = latency
    }

    // MARK: Requests

    /// Takes a request into the batch when there is room, else into the queue. Call `advance(to: time)` before.
    package mutating func submit(
        _ request: EngineRequest,
        at time: MonotonicTime
    ) throws(EngineRejection) -> EngineRequestID {
        now = max(now, time)
        let length = request.promptTokens.count + request.outputTokens.count
        let limit = min(configuration.maxModelLen, cache.capacity * configuration.blockSize)
        guard length <= limit else {
            counters.rejected += 1
            throw .contextTooLong(tokens: length, limit: limit)
        }
        let number = nextNumber
        nextNumber += 1
        let record = EngineRequestRecord(
            arrived: now,
            ended: now,
            promptTokens: request.promptTokens.count,
            cachedTokens: 0,
            generatedTokens: 0,
            preemptions: 0
        )
        sequences[number] = EngineSequence(request: request, record: record)
        waiting.append(number)
        admit()
        if waiting.count > configuration.maxWaitingQueueLength, waiting.last == number {
            waiting.removeLast()
            sequences[number] = nil
            counters.rejected += 1
            throw .queueFull
        }
        return EngineRequestID(number: number)
    }

    /// Forgets a request, wherever it is; no event of it follows.
    ///
    /// - Returns: what it got until now; nil when it has finished already.
    @discardableResult
    package mutating func abort(_ id: EngineRequestID, at time: MonotonicTime) -> EngineRequestRecord? {
        guard var sequence = sequences.removeValue(forKey: id.number) else { return nil }
        now = max(now, time)
        unreported.removeAll { $0.id == id }
        counters.aborted += 1
        if let index = waiting.firstIndex(of: id.number) {
            waiting.remove(at: index)
        } else {
            leaveBatch(&sequence)
        }
        sequence.record.ended = now
        admit()
        return sequence.record
    }

    /// Unpins the blocks of a request with `keepsBlocks` that has ended; what nobody else uses stays in the prefix cache.
    package mutating func release(_ id: EngineRequestID, at time: MonotonicTime) {
        now = max(now, time)
        releaseKept(id.number)
        admit()
    }

    /// How many blocks such a request has pinned; 0 when it has none.
    package func keptBlocks(_ id: EngineRequestID) -> Int {
        kept[id.number].map { $0.heldBlocks.count + ($0.holdsUnfinished ? 1 : 0) } ?? 0
    }

    // MARK: Time

    /// When `advance` has something to report next; nil while nothing runs.
    package var nextEventTime: MonotonicTime? {
        unreported.isEmpty ? timers.first.map { MonotonicTime(nanoseconds: $0.nanoseconds) } : now
    }

    /// Lets time pass, and returns what happened up to and at `time`, in order.
    package mutating func advance(to time: MonotonicTime) -> [EngineEvent] {
        while let timer = timers.first, timer.nanoseconds <= time.nanoseconds {
            timers.removeFirst()
            // The sequence is taken out while it changes, so that its arrays are not copied.
            guard sequences[timer.request]?.epoch == timer.epoch,
                let sequence = sequences.removeValue(forKey: timer.request)
            else { continue }
            now = max(now, MonotonicTime(nanoseconds: timer.nanoseconds))
            step(timer.request, sequence)
        }
        now = max(now, time)
        defer { unreported = [] }
        return unreported
    }

    package var statistics: EngineStatistics {
        var statistics = counters
        statistics.running = running
        statistics.waiting = waiting.count
        statistics.keeping = kept.count
        statistics.usedBlocks = cache.used
        statistics.idleBlocks = cache.idle
        statistics.kvCacheUsage = Double(cache.used) / Double(cache.capacity)
        statistics.runningAdapters = runningAdapters.keys.sorted()
        var adapters: Set<String> = []
        for number in waiting {
            guard let adapter = sequences[number]?.request.adapter else { continue }
            adapters.insert(adapter)
            if !mayRun(adapter) { statistics.deferred += 1 }
        }
        statistics.waitingAdapters = adapters.sorted()
        return statistics
    }

    /// Requests in the batch, without the cost of `statistics`.
    package var runningCount: Int { running }

    /// Whether there is nothing to do.
    package var isIdle: Bool { sequences.isEmpty }

    /// Forgets the blocks that no request uses.
    package mutating func resetPrefixCache() {
        cache.removeIdle()
    }

    // MARK: The batch

    private func mayRun(_ adapter: String?) -> Bool {
        guard let adapter else { return true }
        return runningAdapters[adapter] != nil || runningAdapters.count < configuration.maxLoras
    }

    /// Fills the batch from the queue. One whose adapter has no slot is passed over; one without room in memory stops all behind it.
    private mutating func admit() {
        var index = 0
        while running < configuration.maxNumSeqs, index < waiting.count {
            let number = waiting[index]
            guard mayRun(sequences[number]?.request.adapter) else {
                index += 1
                continue
            }
            guard var sequence = sequences.removeValue(forKey: number) else {
                waiting.remove(at: index)
                continue
            }
            guard let cachedTokens = takeBlocks(&sequence) else {
                sequences[number] = sequence
                return
            }
            waiting.remove(at: index)
            enterBatch(number, sequence, cachedTokens: cachedTokens)
        }
    }

    private mutating func enterBatch(_ number: Int, _ sequence: consuming EngineSequence, cachedTokens: Int) {
        running += 1
        if let adapter = sequence.request.adapter { runningAdapters[adapter, default: 0] += 1 }
        sequence.order = nextOrder
        nextOrder += 1
        // What was fetched once and preempted is computed here: its source has forgotten it.
        var fetched = 0
        if sequence.record.started == nil {
            sequence.record.started = now
            sequence.record.cachedTokens = cachedTokens
            counters.prefixCacheQueries += sequence.length
            counters.prefixCacheHits += cachedTokens
            counters.promptTokens += sequence.record.promptTokens
            let external = min(sequence.request.externalTokens, sequence.record.promptTokens)
            sequence.record.externalTokens = max(external - cachedTokens, 0)
            counters.externalTokens += sequence.record.externalTokens
            fetched = sequence.record.externalTokens
            unreported.append(
                EngineEvent(
                    time: now,
                    id: EngineRequestID(number: number),
                    kind: .started(cachedTokens: cachedTokens)
                )
            )
        }
        var wait = configuration.latency.transfer(tokens: fetched)
        let uncached = sequence.length - cachedTokens - fetched
        if uncached > 0 || fetched == 0 {
            wait += configuration.latency.prefill(uncachedTokens: uncached, loadFactor: loadFactor, random: &random)
        }
        schedule(number, sequence, after: wait)
        sequences[number] = sequence
    }

    private mutating func leaveBatch(_ sequence: inout EngineSequence, keepsBlocks: Bool = false) {
        running -= 1
        sequence.epoch += 1
        if let adapter = sequence.request.adapter, let count = runningAdapters[adapter] {
            runningAdapters[adapter] = count > 1 ? count - 1 : nil
        }
        if !keepsBlocks { giveUpBlocks(&sequence) }
    }

    private var loadFactor: Double {
        configuration.latency.loadFactor(running: running, capacity: configuration.maxNumSeqs)
    }

    private mutating func schedule(_ number: Int, _ sequence: borrowing EngineSequence, after wait: Duration) {
        timers.insert(
            TimerHeap.Timer(
                nanoseconds: (now + wait).nanoseconds,
                order: sequence.order,
                request: number,
                epoch: sequence.epoch
            )
        )
    }

    /// One step of a running request: its prefill is done, or one more token.
    private mutating func step(_ number: Int, _ sequence: consuming EngineSequence) {
        let id = EngineRequestID(number: number)
        let total = sequence.request.outputTokens.count
        if sequence.record.generatedTokens < total {
            guard takeBlockForNextToken(number, &sequence) else {
                preempt(number, sequence)
                return
            }
            sequence.record.generatedTokens += 1
            counters.generatedTokens += 1
            completeBlock(&sequence)
            let kind: EngineEvent.Kind
            if let last = sequence.lastToken {
                kind = .token(after: now.elapsed(since: last))
            } else {
                sequence.record.firstToken = now
                kind = .firstToken
            }
            sequence.lastToken = now
            unreported.append(EngineEvent(time: now, id: id, kind: kind))
        }
        guard sequence.record.generatedTokens == total else {
            let wait = configuration.latency.betweenTokens(loadFactor: loadFactor, random: &random)
            schedule(number, sequence, after: wait)
            sequences[number] = sequence
            return
        }
        let keepsBlocks = sequence.request.keepsBlocks
        leaveBatch(&sequence, keepsBlocks: keepsBlocks)
        sequence.record.ended = now
        let reason = sequence.request.finishReason
        switch reason {
        case .stop: counters.finishedByStop += 1
        case .length: counters.finishedByLength += 1
        }
        unreported.append(EngineEvent(time: now, id: id, kind: .finished(reason, sequence.record)))
        if keepsBlocks { kept[number] = sequence }
        admit()
    }

    /// Puts a running request back to the head of the queue; what it has generated is kept and computed again.
    mutating func preempt(_ number: Int, _ sequence: consuming EngineSequence) {
        leaveBatch(&sequence)
        sequence.record.preemptions += 1
        counters.preemptions += 1
        sequences[number] = sequence
        waiting.insert(number, at: 0)
    }
}
