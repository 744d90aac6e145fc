import Testing

@testable import RoutingSimulation

@Suite("Routing in virtual time")
struct SimulationTests {
    private static let length = 0.03

    private func run(_ key: String, _ policy: RoutingPolicy, seed: UInt64 = 1, replicas: Int = 1) throws -> RunResult {
        let workload = try #require(Workloads.make(key, seed: seed, length: Self.length))
        var settings = Simulation.Settings()
        (settings.seed, settings.replicas) = (seed, replicas)
        return Simulation(workload, policy, settings).run()
    }

    @Test("Every request ends once, whatever the workload", arguments: Workloads.keys)
    func conservation(key: String) throws {
        for policy in [RoutingPolicy.powerOfTwo, .apus] {
            let result = try run(key, policy)
            #expect(result.submitted > 30)
            #expect(result.completed + result.failed == result.submitted)
            #expect(result.failed == 0 || key == "dying")
            #expect(result.generatedTokens > result.completed)
        }
    }

    @Test("The same seed gives the same figures, another seed others", arguments: RoutingPolicy.all.map(\.key))
    func determinism(key: String) throws {
        let policy = try #require(RoutingPolicy.all.first { $0.key == key })
        let first = try run("chat", policy, seed: 3)
        let second = try run("chat", policy, seed: 3)
        #expect(first.timesToFirstToken == second.timesToFirstToken)
        #expect(first.busy == second.busy)
        #expect(try run("chat", policy, seed: 4).timesToFirstToken != first.timesToFirstToken)
    }

    @Test("Policies differ")
    func policies() throws {
        let results = try RoutingPolicy.all.map { try run("grid", $0).timesToFirstToken }
        #expect(Set(results).count == results.count)
    }

    @Test(
        "Who knows every cache and queue gives the first token no later than who knows none",
        arguments: ["grid", "unique", "bursts"]
    )
    func oracle(key: String) throws {
        func mean(_ policy: RoutingPolicy) throws -> Double {
            var times: [Double] = []
            for seed in 1...3 { times += try run(key, policy, seed: UInt64(seed)).timesToFirstToken }
            return times.reduce(0, +) / Double(times.count)
        }
        let oracle = try mean(.oracle)
        for policy in [RoutingPolicy.random, .roundRobin, .leastRequest, .powerOfTwo, .reference] {
            #expect(try oracle < mean(policy))
        }
    }

    @Test("Without a configuration, a burst between two pages spreads better than by pages alone")
    func burst() throws {
        let apus = try run("bursts", .apus)
        let reference = try run("bursts", .reference)
        #expect(apus.timeToFirstToken(0.9) < 0.5 * reference.timeToFirstToken(0.9))
    }

    @Test("Pickers that know nothing of each other put a prefix at the same endpoint")
    func replicas() throws {
        let one = try run("grid", .apus)
        let eight = try run("grid", .apus, replicas: 8)
        let alone = try run("grid", .referenceScorers, replicas: 8)
        #expect(eight.completed == one.completed)
        #expect(eight.hitRate > alone.hitRate + 0.1)
    }

    @Test("A dead server's requests go elsewhere unless their answers have begun, and it serves again afterwards")
    func outage() throws {
        let result = try run("dying", .roundRobin)
        #expect(result.retried > 0)
        #expect(result.failed < result.submitted / 10)
        #expect(result.busy.allSatisfy { $0 > 0 })
    }

    @Test("Prompts and answers apart: both kinds of servers work, and the prompts' do not decode")
    func disaggregation() throws {
        for policy in [RoutingPolicy.roundRobin, .reference, .apus, .oracle] {
            let result = try run("disaggregated", policy)
            #expect(result.busy.allSatisfy { $0 > 0 })
            #expect(result.gaps.quantile(0.99) < 0.1)
        }
        #expect(try run("aggregated", .roundRobin).gaps.quantile(0.99) > 0.1)
    }

    @Test("The configurations of the policies are right")
    func configurations() {
        for text in RoutingPolicy.texts { #expect(RoutingPolicy.configured("policy", text) != nil) }
        #expect(RoutingPolicy.configured("wrong", "plugins: [{type: nothing}]") == nil)
    }
}
