import Pool
import Scheduling
import Testing

@Suite("inflight-load-producer")
struct InFlightLoadTests {
    private func request(_ tokens: Int, limit: Int? = nil) -> SchedulingRequest {
        var request = SchedulingTests.request()
        request.estimatedTokens = tokens
        request.maxOutputTokens = limit
        return request
    }

    @Test("A prompt counts without what the endpoint holds, and with what comes after the blocks looked up")
    func uncached() {
        let matches = PrefixMatches(totalBlocks: 10, blockTokens: 16, matchedBlocks: [0, 4, 10])
        let tokens = (0..<4).map { InFlightLoad.uncachedTokens(request(200), matches, at: $0) }
        #expect(tokens == [200, 136, 40, 200])
        #expect(InFlightLoad.uncachedTokens(request(200), nil, at: 0) == 200)
        // The blocks may be longer than the estimate.
        #expect(InFlightLoad.uncachedTokens(request(100), matches, at: 1) == 96)
        #expect(InFlightLoad.uncachedTokens(request(-5), nil, at: 0) == 0)
    }

    @Test(
        "The answer counts only if asked for: 1.5 tokens per token of the prompt, no more than the client's limit and the configured one"
    )
    func output() {
        var load = InFlightLoad()
        #expect(load.outputTokens(request(100)) == 0)
        load.addEstimatedOutputTokens = true
        #expect(load.outputTokens(request(100)) == 150)
        #expect(load.outputTokens(request(101)) == 152)
        #expect(load.outputTokens(request(100, limit: 20)) == 20)
        #expect(load.outputTokens(request(100, limit: 0)) == 150)
        load.maxEstimatedOutputTokens = 10
        #expect(load.outputTokens(request(100, limit: 20)) == 10)
        load.outputRatio = 1e6
        load.maxEstimatedOutputTokens = nil
        #expect(load.outputTokens(request(Int.max)) == 1 << 62)
    }
}
