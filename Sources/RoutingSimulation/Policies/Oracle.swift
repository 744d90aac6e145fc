/// Sends every request where its first token is expected first, as the servers are in truth: it knows all caches, all queues, what the step under
/// way still takes, how long answers will be and what everything costs. What a request has to compute counts the more the fuller a server's memory
/// is, up to nine times.
///
/// It is greedy: of the requests to come it knows nothing, so a policy may beat it.
enum Oracle {
    static func pick(_ request: SimulatedRequest, among servers: [Int], _ fleet: FleetView) -> Int? {
        var best: (server: Int, time: Double, active: Int)?
        for server in servers where !fleet.isDown[server] {
            let engine = fleet.engines[server]
            let time = engine.expectedTimeToFirstToken(of: request, at: fleet.now)
            let active = engine.activeCount + engine.waitingCount
            if let best, (best.time, best.active) <= (time, active) { continue }
            best = (server, time, active)
        }
        return best?.server
    }

    /// Where an answer is decoded whose prompt is computed elsewhere: the server with the most room.
    static func pickDecode(_ request: SimulatedRequest, among servers: [Int], _ fleet: FleetView) -> Int? {
        servers.filter { !fleet.isDown[$0] }.min {
            let (left, right) = (fleet.engines[$0], fleet.engines[$1])
            return (left.activeCount + left.waitingCount, -left.available)
                < (right.activeCount + right.waitingCount, -right.available)
        }
    }
}

extension ServingEngine {
    /// Seconds until a request that comes now gets its first token if no other one comes, with what it takes from others.
    func expectedTimeToFirstToken(of request: SimulatedRequest, at time: Double) -> Double {
        let blocks = request.blocks.prefix(request.promptTokens / costs.blockTokens)
        let cached = memory.countOfPrefix(blocks) * costs.blockTokens
        let own = max(1, request.promptTokens - cached)
        var tokens = own
        var seconds = costs.prefill(tokens: own, before: cached)
        // What is computed pushes others' prefixes out of the cache, and keeps those from being served who come next.
        seconds *= 1 + 8 * Double(costs.blocks - available) / Double(costs.blocks)
        var needed = memory.cost(of: blocks) + 1
        var adapterLoads = 0
        for job in prefilling where job.remaining > 0 {
            tokens += job.remaining
            seconds += costs.prefill(tokens: job.remaining, before: job.computed)
        }
        forEachWaiting { job in
            tokens += job.expectedTokens
            let before = max(0, job.request.promptTokens - job.expectedTokens)
            seconds += costs.prefill(tokens: job.expectedTokens, before: before)
            needed += job.expectedBlocks
        }
        let slot = canRun(request.adapter)
        if !slot.isLoaded { adapterLoads += 1 }
        seconds += Double(adapterLoads) * costs.adapterLoad * costs.slowness
        let oneStep = costs.decode(steps: 1, sequences: decoding.count, context: context)
        let steps = (tokens + costs.tokenBudget - 1) / costs.tokenBudget
        seconds += Double(steps) * oneStep + restOfStep(at: time)
        // Room in memory, in the batch and among the adapters comes with the ends of answers.
        let places = activeCount + waitingCount + 1 - costs.maximumSequences
        guard needed > available || places > 0 || !slot.hasSlot else { return seconds }
        var room = available
        var ended = 0
        var wait = 0.0
        for (end, job) in decoding.byEnd {
            room += job.request.promptTokens / costs.blockTokens / 4 + job.request.outputTokens / costs.blockTokens
            ended += 1
            wait = Double(end - stepsDone) * oneStep
            if room >= needed, ended >= places, slot.hasSlot || ended > 1 { break }
        }
        return seconds + wait
    }
}
