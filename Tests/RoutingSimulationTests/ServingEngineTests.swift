import Testing

@testable import RoutingSimulation

@Suite("A modelled server")
struct ServingEngineTests {
    /// A second a step, a second a prompt token, and nothing else costs anything.
    private static var plain: ServingCosts {
        var costs = ServingCosts()
        (costs.step, costs.sequence, costs.contextToken) = (1, 0, 0)
        (costs.promptToken, costs.attentionPair) = (1, 0)
        (costs.blockTokens, costs.blocks, costs.tokenBudget) = (4, 100, 8)
        return costs
    }

    private static func request(_ number: Int, text: UInt64, prompt: Int, answer: Int, adapter: String? = nil)
        -> SimulatedRequest
    {
        var chain = BlockChain(model: adapter ?? "base")
        chain.append(text, blocks: prompt / 4)
        return SimulatedRequest(
            number: number,
            arrival: 0,
            blocks: chain.blocks,
            promptTokens: prompt,
            outputTokens: answer,
            adapter: adapter
        )
    }

    /// Lets the engine run out, and tells when each request got its first token and its end.
    private func run(_ engine: ServingEngine) -> (first: [Int: Double], end: [Int: Double]) {
        var first: [Int: Double] = [:]
        var end: [Int: Double] = [:]
        while let time = engine.nextEvent {
            for event in engine.advance() {
                switch event {
                case .firstToken(let job): first[job.request.number] = time
                case .finished(let job): end[job.request.number] = time
                }
            }
        }
        return (first, end)
    }

    private func submit(_ request: SimulatedRequest, to engine: ServingEngine, at time: Double = 0) {
        engine.submit(ServingJob(request, .whole, submitted: time), at: time)
    }

    @Test("One request: its prompt in chunks of the budget, then a token a step")
    func alone() {
        let engine = ServingEngine(Self.plain)
        submit(Self.request(1, text: 1, prompt: 12, answer: 4), to: engine)
        let times = run(engine)
        // Steps of 8 and 4 prompt tokens take 1 + 8 and 1 + 4 seconds; three more tokens take a second each.
        #expect(times.first == [1: 14])
        #expect(times.end == [1: 17])
        #expect(engine.computedTokens == 12)
        #expect(engine.generatedTokens == 4)
    }

    @Test("A second request waits for the step under way, and its prompt holds up the first one's tokens")
    func together() {
        let engine = ServingEngine(Self.plain)
        submit(Self.request(1, text: 1, prompt: 4, answer: 10), to: engine)
        _ = engine.advance()  // At 5 the first token is there.
        submit(Self.request(2, text: 2, prompt: 4, answer: 1), to: engine, at: 6.5)
        let times = run(engine)
        // The step from 6 ends at 7; the next one has the four prompt tokens, too.
        #expect(times.first[2] == 12)
        // Nine more tokens: at 6, 7, 12, and six more.
        #expect(times.end[1] == 18)
    }

    @Test("A prompt whose beginning is in the cache is computed from there on, but for its last token always")
    func cache() {
        let engine = ServingEngine(Self.plain)
        submit(Self.request(1, text: 1, prompt: 8, answer: 1), to: engine)
        _ = run(engine)
        submit(Self.request(2, text: 1, prompt: 10, answer: 1), to: engine, at: 100)
        #expect(run(engine).first[2] == 103)
        submit(Self.request(3, text: 1, prompt: 8, answer: 1), to: engine, at: 200)
        #expect(run(engine).first[3] == 202)
        #expect(engine.cachedTokens == 8 + 7)
    }

    @Test("When the memory is full, the next one waits until an answer has ended")
    func memory() {
        var costs = Self.plain
        costs.blocks = 6
        let engine = ServingEngine(costs)
        submit(Self.request(1, text: 1, prompt: 16, answer: 3), to: engine)
        submit(Self.request(2, text: 2, prompt: 12, answer: 1), to: engine)
        let times = run(engine)
        #expect(times.end[1].map { $0 < times.first[2] ?? 0 } == true)
        #expect(times.end.count == 2)
    }

    @Test("When answers fill the memory, the one admitted last gives way, and still gets all its tokens")
    func preemption() {
        var costs = Self.plain
        costs.blocks = 8
        let engine = ServingEngine(costs)
        submit(Self.request(1, text: 1, prompt: 4, answer: 14), to: engine)
        submit(Self.request(2, text: 2, prompt: 4, answer: 14), to: engine)
        let times = run(engine)
        #expect(engine.preemptions > 0)
        #expect(times.end.count == 2)
        #expect(engine.generatedTokens == 28)
        #expect(engine.available == 8)
    }

    @Test("An adapter waits for a slot while others pass it")
    func adapters() {
        var costs = Self.plain
        (costs.adapterSlots, costs.adapterLoad) = (1, 0)
        let engine = ServingEngine(costs)
        submit(Self.request(1, text: 1, prompt: 4, answer: 5, adapter: "a"), to: engine)
        submit(Self.request(2, text: 2, prompt: 4, answer: 1, adapter: "b"), to: engine)
        submit(Self.request(3, text: 3, prompt: 4, answer: 1), to: engine)
        let times = run(engine)
        #expect(times.first[3].map { $0 < times.first[2] ?? 0 } == true)
        #expect(times.end[1].map { $0 < times.first[2] ?? 0 } == true)
    }

    @Test("A page tells the state after the latest step, not of the one under way")
    func page() {
        let engine = ServingEngine(Self.plain)
        submit(Self.request(1, text: 1, prompt: 8, answer: 5), to: engine)
        #expect(engine.page(at: 8.9).running == 0)
        _ = engine.advance()
        #expect(engine.page(at: 9.1).running == 1)
        #expect(engine.page(at: 9.1).usage > 0)
    }

    @Test("Steps taken together take as long as one by one")
    func manySteps() {
        let costs = ServingCosts()
        var sum = 0.0
        for step in 0..<50 { sum += costs.decode(steps: 1, sequences: 7, context: 1_000 + 7 * step) }
        #expect(abs(costs.decode(steps: 50, sequences: 7, context: 1_000) - sum) < 1e-12)
    }
}
