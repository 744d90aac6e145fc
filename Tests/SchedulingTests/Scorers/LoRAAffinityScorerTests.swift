import Scheduling
import Testing

@Suite("lora-affinity-scorer")
struct LoRAAffinityScorerTests {
    @Test("1 where the adapter is active, 0.8 where there is room, 0.6 where it waits, else 0")
    func formula() {
        let pages = [
            Page(active: ["a", "m"], maxActive: 2),
            Page(active: ["a"], maxActive: 2),
            Page(active: ["a", "b"], waitingModels: ["m"], maxActive: 2),
            Page(active: ["a", "b"], waitingModels: ["c"], maxActive: 2),
        ]
        #expect(isClose(scores(LoRAAffinityScorer(), pages), [1, 0.8, 0.6, 0]))
    }

    @Test("Room counts before waiting, and waiting adapters take room")
    func room() {
        let pages = [
            Page(active: ["a"], waitingModels: ["m"], maxActive: 3),
            Page(active: ["a"], waitingModels: ["b"], maxActive: 2),
        ]
        #expect(isClose(scores(LoRAAffinityScorer(), pages), [0.8, 0]))
    }

    @Test("An engine without adapters scores 0, and all alike")
    func none() {
        #expect(scores(LoRAAffinityScorer(), [Page(), Page()]) == [0, 0])
    }

    @Test("The target model counts, not the one the client named")
    func target() {
        let request = SchedulingRequest(model: "a", targetModel: "b")
        let pages = [Page(active: ["a"], maxActive: 1), Page(active: ["b"], maxActive: 1)]
        #expect(scores(LoRAAffinityScorer(), pages, request) == [0, 1])
    }
}
