import Pool
import Scheduling
import Testing

@Suite("data-parallel-profile-handler")
struct DataParallelHandlerTests {
    @Test("The request goes to the primary port, 8000 by default; the pick stays the rank")
    func port() throws {
        let scheduler = Scheduler(
            profiles: [SchedulingProfile(name: "p", scorers: [])],
            handler: DataParallelHandler(primaryPort: 9_000)
        )
        let result = try decide(scheduler, makePool(count: 1).everyone, request())
        #expect(result.primaryPort == 9_000)
        #expect(result.endpoint.hostPort == "10.0.0.0:8000")
        #expect(DataParallelHandler().primaryPort == 8_000)
    }

    @Test("Without an endpoint there is none")
    func nobody() {
        let scheduler = Scheduler(
            profiles: [
                SchedulingProfile(name: "p", filters: [.init(name: "f", filter: RoleFilter(.encode))], scorers: [])
            ],
            handler: DataParallelHandler()
        )
        let error = #expect(throws: SchedulingError.self) {
            try decide(scheduler, makePool(count: 2).everyone, request())
        }
        #expect(error?.code == .noEndpoints)
    }
}
