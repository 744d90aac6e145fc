import Bytes
import Pool
import Scheduling
import Testing

@Suite("single-profile-handler")
struct SingleProfileHandlerTests {
    @Test("Runs its profile once; the request goes where that picks")
    func route() throws {
        let pool = makePool([Page(waiting: 4), Page(waiting: 0), Page(waiting: 2)])
        let profile = SchedulingProfile(name: "only", scorers: [.init(name: "q", weight: 1, scorer: QueueScorer())])
        let result = try decide(Scheduler(profiles: [profile]), pool.everyone, request())
        #expect(result.endpoint.identity.name == "e1")
        #expect(result.results.map(\.profile.name) == ["only"])
        #expect(result.prefill == nil && result.encode == nil && result.primaryPort == nil)
    }

    @Test("When its profile finds nobody there is no endpoint")
    func nobody() {
        let filter = SchedulingProfile.NamedFilter(name: "prefill-filter", filter: RoleFilter(.prefill))
        let profile = SchedulingProfile(name: "only", filters: [filter], scorers: [])
        #expect(throws: SchedulingError.self) {
            try decide(Scheduler(profiles: [profile]), makePool(count: 2).everyone, request())
        }
    }
}
