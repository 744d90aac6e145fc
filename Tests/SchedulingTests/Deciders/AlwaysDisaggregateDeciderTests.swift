import Scheduling
import Testing

@Suite("always-disagg-pd-decider")
struct AlwaysDisaggregateDeciderTests {
    @Test("always-disagg-pd-decider always does, but for requests without a prompt")
    func always() throws {
        #expect(try DeciderFixture().disaggregates(AlwaysDisaggregateDecider(), decode: 1, tokens: 0))
        var request = request()
        request.carriesPrompt = false
        #expect(AlwaysDisaggregateDecider().disaggregates(request, decode: 0) == false)
    }
}
