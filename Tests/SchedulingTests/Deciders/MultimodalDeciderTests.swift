import Scheduling
import Testing

@Suite("always-disagg-multimodal-decider")
struct MultimodalDeciderTests {
    @Test("always-disagg-multimodal-decider does for prompts with images, videos or sounds")
    func multimodal() {
        var request = request()
        #expect(MultimodalDecider().disaggregates(request, decode: 0) == false)
        request.multimodalParts = 1
        #expect(MultimodalDecider().disaggregates(request, decode: nil))
    }
}
