import Bytes
import Pool
import Scheduling
import Testing

@Suite("session-id-producer")
struct SessionIDProducerTests {
    private let pool = makePool(count: 4)

    private func registry(capacity: Int = 100) -> SessionRegistry { SessionFixture.registry(capacity: capacity) }

    private func scheduler(_ registry: SessionRegistry, _ more: [SchedulingProfile.WeightedScorer] = []) -> Scheduler {
        SessionFixture.scheduler(registry, more)
    }

    private func session(_ id: String, at seconds: UInt64 = 0) -> SchedulingRequest {
        SessionFixture.session(id, at: seconds)
    }

    @Test("A new configuration goes on with the sessions of the earlier one, if it names sessions in the same way")
    func takenOver() throws {
        let before = scheduler(registry())
        let homes = try (0..<6).map { try decide(before, pool.everyone, session("s\($0)")).endpoint.number }
        let after = scheduler(registry(capacity: 4))
        after.policies.takeOver(from: before.policies)
        for index in 0..<6 where index > 1 {
            #expect(try decide(after, pool.everyone, session("s\(index)")).endpoint.number == homes[index])
        }
        let other = SessionRegistry(sources: [.cookie("sid")], bindings: SessionBindings(timeToLive: .seconds(1)))
        scheduler(other).policies.takeOver(from: before.policies)
        #expect(other.bindings.count == 0)
    }

    @Test("Sessions are forgotten after their time, and the latest used are kept when there are too many")
    func bounds() {
        let bindings = SessionBindings(capacity: 3, timeToLive: .seconds(10))
        let at = { (seconds: UInt64) in MonotonicTime(nanoseconds: seconds * 1_000_000_000) }
        for (index, name) in ["a", "b", "c"].enumerated() { bindings.bind(name, to: index, at: at(0)) }
        bindings.bind("a", to: 0, at: at(5))
        bindings.bind("d", to: 3, at: at(6))
        #expect(bindings.count == 3)
        #expect(bindings.endpoint(of: "b", at: at(6)) == nil)
        #expect(bindings.endpoint(of: "a", at: at(15)) == 0)
        #expect(bindings.endpoint(of: "a", at: at(16)) == nil)
        bindings.bind("e", to: 4, at: at(30))
        #expect(bindings.count == 1)
    }

    @Test("However many sessions come and go, no more are kept than there is room for")
    func churn() {
        let bindings = SessionBindings(capacity: 500, timeToLive: .seconds(1_000))
        var generator = SeededGenerator(seed: 4)
        for use in 0..<100_000 {
            let id = Int.random(in: 0..<1_000, using: &generator)
            bindings.bind("s\(id)", to: id % 7, at: MonotonicTime(nanoseconds: UInt64(use)))
        }
        #expect(bindings.count == 500)
    }

    @Test("A session's name comes from the first source that has one; cookies are told apart by name")
    func sources() {
        let registry = SessionRegistry(
            sources: [.header("x-a"), .cookie("sid")],
            bindings: SessionBindings(timeToLive: .seconds(1))
        )
        #expect(registry.identifier(request(headers: ["x-a": " one ", "cookie": "sid=two"])) == "one")
        #expect(registry.identifier(request(headers: ["x-a": " ", "cookie": "a=b; sid=two=2 ; c"])) == "two=2")
        #expect(registry.identifier(request(headers: ["cookie": "xsid=two; sid="])) == nil)
        #expect(registry.identifier(request(headers: ["x-a": String(repeating: "x", count: 257)])) == nil)
    }
}
