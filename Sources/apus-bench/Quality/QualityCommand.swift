import Bytes
import Glibc
import RoutingSimulation

/// Routing quality in virtual time.
enum QualityCommand {
    static func run(_ words: [String]) throws {
        var arguments = try Arguments(words, flags: ["help", "stages"])
        let seeds = try arguments.integer("seeds", default: 1)
        let only = arguments.string("policies").map { $0.split(separator: ",").map(String.init) }
        let loads = arguments.string("workloads").map { $0.split(separator: ",").map(String.init) } ?? Workloads.keys
        let replicas = try arguments.integer("replicas", default: 1)
        let showsStages = arguments.flag("stages")
        var policies = RoutingPolicy.all + [.referenceScorers]
        if let only { policies = policies.filter { only.contains($0.key) } }
        for path in arguments.strings("config") {
            policies.append(.configured(path, String(decoding: try readFile(path), as: UTF8.self)))
        }
        try arguments.finish()
        for key in loads {
          print("==", key)
            for policy in policies {
        for seed in 1...seeds {
                guard let workload = Workloads.make(key, seed: UInt64(seed)) else { throw BenchError("no workload \(key)") }
                let start = MonotonicTime.now()
                var settings = Simulation.Settings()
                settings.seed = UInt64(seed)
                settings.replicas = replicas
                let result = Simulation(workload, policy, settings).run()
                let took = MonotonicTime.now().seconds(since: start)
                let name = policy.key.split(separator: "/").last.map(String.init) ?? ""
                print(name + String(repeating: " ", count: max(0, 18 - name.count)), "n \(result.completed) \(result.failed) \(result.retried) ttft",
                      [0.5, 0.9, 0.99].map { result.timeToFirstToken($0).fixed(3).padded(to: 7) }.joined(separator: " "),
                      "itl", [0.5, 0.9, 0.99].map { (result.gaps.quantile($0) * 1000).fixed(1) }.joined(separator: " "), "hit", result.hitRate.fixed(3), "tok/s", result.throughput.fixed(0),
                      "imb", result.imbalance.fixed(2), "pre", result.preemptions, "took", took.fixed(2))
                if showsStages { print("   ", result.byStage.indices.map { result.timeToFirstToken(0.9, stage: $0).fixed(2) }) }
            }
            }
        }
    }
    static func readFile(_ path: String) throws -> [UInt8] {
        guard let f = fopen(path, "r") else { throw BenchError("cannot read \(path)") }
        defer { fclose(f) }
        var buf = [UInt8](repeating: 0, count: 1 << 20)
        let n = fread(&buf, 1, buf.count, f)
        return Array(buf.prefix(n))
    }
}
