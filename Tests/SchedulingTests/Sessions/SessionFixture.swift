import Bytes
import Pool
import Scheduling

/// Sessions that clients name.
enum SessionFixture {
    static let token = SessionAffinity.token(SessionToken())

    static func encoded(_ text: String) -> [String: String] {
        ["x-session-token": Base64.encode(Array(text.utf8))]
    }

    static func registry(capacity: Int = 100) -> SessionRegistry {
        SessionRegistry(bindings: SessionBindings(capacity: capacity, timeToLive: .seconds(300)))
    }

    static func scheduler(_ registry: SessionRegistry, _ more: [SchedulingProfile.WeightedScorer] = []) -> Scheduler {
        let scorer = SessionAffinityScorer(.identifier(registry))
        var policies = RequestPolicies()
        policies.observers = [scorer.observer].compactMap { $0 }
        return Scheduler(
            profiles: [SchedulingProfile(name: "p", scorers: [.init(name: "s", weight: 1, scorer: scorer)] + more)],
            policies: policies
        )
    }

    static func session(_ id: String, at seconds: UInt64 = 0) -> SchedulingRequest {
        var request = request(headers: ["x-session-id": id])
        request.now = MonotonicTime(nanoseconds: seconds * 1_000_000_000)
        return request
    }
}
