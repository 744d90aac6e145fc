import Orchestration
import Testing

@Suite("Orchestration settings")
struct OrchestrationSettingsTests {
    @Test("Without a word of configuration a sidecar does the work")
    func defaults() {
        let settings = OrchestrationSettings()
        #expect(settings.mode == .headers)
        #expect(settings.maxAttempts == 3)
        #expect(settings.attemptTimeout == .seconds(30))
        #expect(settings.deadline == .seconds(120))
        #expect(settings.onExhausted == .fail)
    }
}
