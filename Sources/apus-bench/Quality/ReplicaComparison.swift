import RoutingSimulation

/// Several pickers behind a service that gives each its turn, against one.
struct ReplicaComparison {
    private struct Runs {
        let workload: String
        let policy: RoutingPolicy
        let replicas: Int
        let results: [RunResult]
    }

    private static let workloads = ["grid", "chat", "bursts", "unique"]
    private static let policies: [RoutingPolicy] = [.apus, .referenceScorers]

    private let options: QualityCommand.Options
    private var runs: [Runs] = []
    private(set) var faults: [String] = []

    init(_ options: QualityCommand.Options) {
        self.options = options
    }

    mutating func run(progress: (String) -> Void) throws {
        for workload in Self.workloads {
            for policy in Self.policies {
                for replicas in options.replicas {
                    let results = options.seeds.compactMap { seed -> RunResult? in
                        var settings = Simulation.Settings()
                        settings.seed = seed
                        settings.replicas = replicas
                        return Workloads.make(workload, seed: seed, length: options.length)
                            .map { Simulation($0, policy, settings).run() }
                    }
                    for result in results where result.completed + result.failed != result.submitted {
                        faults.append("\(workload), \(replicas) pickers: requests are lost")
                    }
                    runs.append(Runs(workload: workload, policy: policy, replicas: replicas, results: results))
                    let time = Spread(results.map { $0.timeToFirstToken(0.9) }).median
                    progress(
                        "\(workload), \(policy.title), \(replicas.of("picker")): TTFT p90 \((time * 1e3).fixed(0)) ms"
                    )
                }
            }
        }
    }

    var tables: [Table] {
        Self.workloads.compactMap { workload in
            guard let title = Workloads.make(workload, seed: 1)?.title else { return nil }
            let rows = runs.filter { $0.workload == workload }.map { runs in
                Table.Row(
                    title: "\(runs.policy.title), \(runs.replicas.of("picker"))",
                    key: "\(runs.policy.key)_\(runs.replicas)",
                    values: [0.5, 0.9, 0.99].map { share in
                        Spread(runs.results.map { $0.timeToFirstToken(share) * 1e3 })
                    } + [Spread(runs.results.map { $0.hitRate * 100 })]
                )
            }
            return Table(
                title: "\(title): several active pickers",
                key: "replicas_\(workload)",
                columns: [50, 90, 99].map {
                    Table.Column(title: "TTFT p\($0)", key: "ttft_p\($0)_ms", unit: "ms", digits: 0)
                } + [Table.Column(title: "cache hits", key: "hit_rate", unit: "%")],
                rows: rows
            )
        }
    }

    var charts: [Chart] {
        [
            Chart(
                title: "TTFT p90 over the number of active pickers",
                x: Chart.Axis(title: "pickers", unit: "", isLogarithmic: true),
                y: Chart.Axis(title: "TTFT p90", unit: "ms", isLogarithmic: true),
                series: Self.workloads.map { workload in
                    Chart.Series(
                        name: workload,
                        points: runs.filter { $0.workload == workload && $0.policy.key == RoutingPolicy.apus.key }.map {
                            Chart.Point(
                                x: Double($0.replicas),
                                y: Spread($0.results.map { $0.timeToFirstToken(0.9) * 1e3 })
                            )
                        }
                    )
                }
            )
        ]
    }
}
