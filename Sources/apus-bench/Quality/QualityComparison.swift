import RoutingSimulation

/// One workload under several policies.
struct QualityComparison {
    private struct Runs {
        let policy: RoutingPolicy
        var results: [RunResult] = []
    }

    private static let quantiles = [0.5, 0.9, 0.99]

    private let key: String
    private let workload: any Workload
    private let options: QualityCommand.Options
    private var runs: [Runs] = []
    private(set) var faults: [String] = []

    init(_ key: String, _ policies: [RoutingPolicy], _ options: QualityCommand.Options) throws {
        guard let workload = Workloads.make(key, seed: 1, length: options.length) else {
            throw BenchError("there is no workload \(key)")
        }
        self.key = key
        self.workload = workload
        self.options = options
    }

    mutating func run(_ policy: RoutingPolicy, progress: (String) -> Void) throws {
        let start = monotonicSeconds()
        var runs = Runs(policy: policy)
        for seed in options.seeds {
            guard let workload = Workloads.make(key, seed: seed, length: options.length) else { continue }
            var settings = Simulation.Settings()
            settings.seed = seed
            let result = Simulation(workload, policy, settings).run()
            runs.results.append(result)
            if result.completed + result.failed != result.submitted {
                faults.append(
                    "\(key), \(policy.title): \(result.submitted) requests came and \(result.completed + result.failed) ended"
                )
            }
        }
        let time = runs.results.map { $0.timeToFirstToken(0.9) }
        progress(
            "\(key), \(policy.title): TTFT p90 \((Spread(time).median * 1e3).fixed(0)) ms "
                + "(\((monotonicSeconds() - start).fixed(1)) s)"
        )
        self.runs.append(runs)
    }

    // MARK: Tables

    var tables: [Table] {
        var tables = [
            Table(
                title: "\(workload.title): \(workload.summary)",
                key: key,
                columns: Self.columns,
                rows: runs.map {
                    Table.Row(title: $0.policy.title, key: $0.policy.key, values: Self.values($0.results))
                }
            )
        ]
        guard !workload.stages.isEmpty else { return tables }
        tables.append(
            Table(
                title: "\(workload.title): TTFT p90 at each rate",
                key: "\(key)_by_rate",
                columns: workload.stages.map {
                    Table.Column(title: $0.title, key: "\(Int($0.x))", unit: "ms", digits: 0)
                },
                rows: runs.map { runs in
                    Table.Row(
                        title: runs.policy.title,
                        key: runs.policy.key,
                        values: workload.stages.indices.map { stage in
                            Spread(runs.results.map { $0.timeToFirstToken(0.9, stage: stage) * 1e3 })
                        }
                    )
                }
            )
        )
        return tables
    }

    private static let columns =
        quantiles.map {
            Table.Column(title: "TTFT p\(Int($0 * 100))", key: "ttft_p\(Int($0 * 100))_ms", unit: "ms", digits: 0)
        }
        + quantiles.map {
            Table.Column(title: "ITL p\(Int($0 * 100))", key: "itl_p\(Int($0 * 100))_ms", unit: "ms")
        } + [
            Table.Column(title: "throughput", key: "tokens_per_second", unit: "tokens/s", digits: 0),
            Table.Column(title: "cache hits", key: "hit_rate", unit: "%"),
            Table.Column(title: "imbalance", key: "imbalance", unit: "×", digits: 2),
            Table.Column(title: "failed", key: "failed", unit: "requests", digits: 0),
        ]

    private static func values(_ results: [RunResult]) -> [Spread?] {
        quantiles.map { share in Spread(results.map { $0.timeToFirstToken(share) * 1e3 }) }
            + quantiles.map { share in Spread(results.map { $0.gaps.quantile(share) * 1e3 }) } + [
                Spread(results.map(\.throughput)),
                Spread(results.map { $0.hitRate * 100 }),
                Spread(results.map(\.imbalance)),
                Spread(results.map { Double($0.failed) }),
            ]
    }

    // MARK: Charts

    var charts: [Chart] {
        guard !workload.stages.isEmpty else { return [] }
        return [
            Chart(
                title: "\(workload.title): TTFT p90 over the rate",
                x: Chart.Axis(title: "rate", unit: "requests/s"),
                y: Chart.Axis(title: "TTFT p90", unit: "ms", isLogarithmic: true),
                series: runs.map { runs in
                    Chart.Series(
                        name: runs.policy.title,
                        points: workload.stages.enumerated().map { index, stage in
                            Chart.Point(
                                x: stage.x,
                                y: Spread(runs.results.map { $0.timeToFirstToken(0.9, stage: index) * 1e3 })
                            )
                        }
                    )
                }
            )
        ]
    }

    /// All workloads beside each other.
    static func overview(_ comparisons: [QualityComparison]) -> Chart {
        let policies = comparisons.first?.runs.map(\.policy) ?? []
        return Chart(
            title: "TTFT p90 by workload",
            x: Chart.Axis(title: "workload", unit: ""),
            y: Chart.Axis(title: "TTFT p90", unit: "ms", isLogarithmic: true),
            groups: comparisons.map(\.key),
            series: policies.indices.map { policy in
                Chart.Series(
                    name: policies[policy].title,
                    points: comparisons.enumerated().map { index, comparison in
                        Chart.Point(
                            x: Double(index),
                            y: Spread(comparison.runs[policy].results.map { $0.timeToFirstToken(0.9) * 1e3 })
                        )
                    }
                )
            }
        )
    }

    // MARK: Goals

    var goals: [Goal] {
        guard let apus = times(of: RoutingPolicy.apus.key, 0.9) else { return [] }
        var goals: [Goal] = []
        let rivals = runs.map(\.policy.key).filter { ![RoutingPolicy.apus.key, RoutingPolicy.oracle.key].contains($0) }
        let best = rivals.compactMap { key in times(of: key, 0.9).map { (key, $0) } }
            .min { Spread($0.1).median < Spread($1.1).median }
        if let (rival, times) = best {
            goals.append(goal("TTFT p90 over the best policy's (\(rival))", "best", apus, times))
        }
        if let apus = times(of: RoutingPolicy.apus.key, 0.99),
            let others = times(of: RoutingPolicy.roundRobin.key, 0.99)
        {
            goals.append(goal("TTFT p99 over round robin's", "round_robin", apus, others))
        }
        if key == "grid", let oracle = times(of: RoutingPolicy.oracle.key, 0.9) {
            goals.append(
                Goal(
                    title: "\(workload.title): TTFT p90 over the oracle's",
                    key: "\(key)_oracle",
                    unit: "×",
                    value: Spread(zip(apus, oracle).map { $0 / $1 }).median,
                    limit: 1.2,
                    digits: 2
                )
            )
        }
        return goals
    }

    private func times(of key: String, _ share: Double) -> [Double]? {
        guard let results = runs.first(where: { $0.policy.key == key })?.results else { return nil }
        return results.map { max(1e-6, $0.timeToFirstToken(share)) }
    }

    /// At most 1, but for the noise: half of what the seeds' ratios differ, and at least two in a hundred.
    private func goal(_ title: String, _ name: String, _ apus: [Double], _ others: [Double]) -> Goal {
        let ratios = Spread(zip(apus, others).map { $0 / $1 })
        return Goal(
            title: "\(workload.title): \(title)",
            key: "\(key)_\(name)",
            unit: "×",
            value: ratios.median,
            limit: 1 + max(0.02, (ratios.highest - ratios.lowest) / 2),
            digits: 2,
            reason: ["aggregated", "disaggregated"].contains(key)
                ? "all requests cost the same, so taking turns is as good as knowing how far each server is, which a picker only estimates"
                : nil
        )
    }
}
