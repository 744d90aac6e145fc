import Pool
import RPC
import Testing

@testable import EndpointPicker

@Suite("Readiness")
struct ReadinessTests {
    private let pool = Pool(stalenessThreshold: .seconds(2))
    private static let names = ["", "readiness", "envoy.service.ext_proc.v3.ExternalProcessor", "anything"]

    private func statuses(_ readiness: Readiness) -> Set<HealthService.ServingStatus?> {
        Set(Self.names.map { readiness.health.status(of: $0) })
    }

    @Test("Every name is SERVING once started and synced, in either order, and NOT_SERVING from the drain on")
    func follows() {
        let first = Readiness(pool)
        #expect(statuses(first) == [.notServing])
        first.start()
        #expect(statuses(first) == [.notServing])
        pool.replaceEndpoints([])
        #expect(statuses(first) == [.serving])

        let second = Readiness(pool)
        #expect(statuses(second) == [.notServing])
        second.start()
        #expect(statuses(second) == [.serving])
        second.drain()
        #expect(statuses(second) == [.notServing])
    }

    @Test("A source that answers during the drain changes nothing")
    func lateSync() {
        let readiness = Readiness(pool)
        readiness.start()
        readiness.drain()
        pool.replaceEndpoints([])
        #expect(statuses(readiness) == [.notServing])
    }

    @Test("Liveness is always SERVING")
    func liveness() {
        let readiness = Readiness(pool)
        #expect(readiness.health.status(of: "liveness") == .serving)
        readiness.start()
        readiness.drain()
        #expect(readiness.health.status(of: "liveness") == .serving)
    }
}
