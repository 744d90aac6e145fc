import Scheduling
import Testing

@Suite("prefix-based-pd-decider")
struct PrefixBasedDeciderTests {
    private func disaggregates(_ decider: any DisaggregationDecider, decode index: Int, tokens: Int = 165) throws
        -> Bool
    {
        try DeciderFixture().disaggregates(decider, decode: index, tokens: tokens)
    }

    @Test("Disaggregates from nonCachedTokens on, counting what the decode endpoint does not hold")
    func uncached() throws {
        // 165 tokens, of which endpoint 1 holds 96.
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 69), decode: 1))
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 70), decode: 1) == false)
    }

    @Test("What nobody holds counts whole; a prompt shorter than the threshold is never disaggregated")
    func cold() throws {
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 165), decode: 0))
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 166), decode: 0) == false)
    }

    @Test("A prompt must also have promptTokens")
    func promptLength() throws {
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 16, promptTokens: 166), decode: 0) == false)
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 16, promptTokens: 165), decode: 0))
    }

    @Test("0 turns it off, and so does not knowing what the endpoint holds")
    func off() throws {
        #expect(try disaggregates(PrefixBasedDecider(nonCachedTokens: 0), decode: 0) == false)
        var request = request()
        request.estimatedTokens = 1_000
        #expect(PrefixBasedDecider(nonCachedTokens: 1).disaggregates(request, decode: 0) == false)
        #expect(PrefixBasedDecider(nonCachedTokens: 1).disaggregates(request, decode: nil) == false)
    }
}
