/// What the ways through Envoy are meant to reach. A goal that lacks one of the parts that it compares is there all the same, as not measured.
struct EnvoyGoals {
    let report: EnvoyReport

    private typealias Value = (EnvoyRound) -> Double?

    private var workloads: [EnvoyWorkload] { report.workloads.filter { !$0.isStream } }
    private var apus: EnvoyContender? { report.find("apus") }
    private var bare: EnvoyContender? { report.find("bare") }

    var all: [Goal] {
        var goals = [(2048, 70.0), (220_000, 240)].compactMap { ownCPU(bytes: $0, limit: $1) }
        if let small = workloads.first(where: { $0.bodyBytes == 2048 }) {
            goals += added("p50", limit: 0.35, small) { $0.paced.map { $0.p50 * 1e3 } }
            goals += added("p99", limit: 1.5, small) { $0.paced.map { $0.p99 * 1e3 } }
        }
        for workload in workloads {
            goals.append(overRouters(workload))
            guard workload.hasCrowd else { continue }
            goals.append(throughput(workload, inFlight: 16) { $0.busy?.requestsPerSecond })
            goals.append(throughput(workload, inFlight: 150) { $0.crowd?.requestsPerSecond })
        }
        return goals
    }

    private func ownCPU(bytes: Int, limit: Double) -> Goal? {
        guard let workload = workloads.first(where: { $0.bodyBytes == bytes }) else { return nil }
        let mine = report.of(apus, workload, Self.pickerCPU)
        let transport = median(report.of(bare, workload, Self.pickerCPU))
        let reason = transport.map {
            "Constant answers take \($0.fixed(0)) µs in the same run: gRPC core, protobuf-c and the kernel. "
                + "The rest, \(((median(mine) ?? $0) - $0).fixed(0)) µs, is Apus's."
        }
        return goal(
            "CPU of Apus per request of \(EnvoyWorkload.text(bytes)), 16 connections",
            "apus_cpu_\(bytes)_us",
            "µs",
            median(mine),
            limit,
            reason: mine.isEmpty ? lacking(["apus"]) : reason
        )
    }

    /// What Apus adds to Envoy alone in the open loop, and how many times what constant answers add.
    private func added(_ name: String, limit: Double, _ workload: EnvoyWorkload, _ value: @escaping Value) -> [Goal] {
        let rate = "\(report.options.plan.rate.fixed(0)) requests/s"
        let mine = report.added(apus, workload, value)
        let others = report.added(bare, workload, value)
        let reason = median(others).map { "Constant answers add \($0.fixed(3)) ms in the same run." }
        let ratio = AddedRatio(mine, others)
        return [
            goal(
                "Apus adds at \(name), \(rate)",
                "added_\(name)_ms",
                "ms",
                median(mine),
                limit,
                digits: 3,
                reason: mine.isEmpty ? lacking(["envoy", "apus"]) : reason
            ),
            goal(
                "Apus adds at \(name) over what constant answers add, \(rate)",
                "added_\(name)_ratio",
                "",
                ratio.value,
                1.15,
                digits: 2,
                reason: mine.isEmpty || others.isEmpty ? lacking(["envoy", "bare", "apus"]) : ratio.remark
            ),
        ]
    }

    private func overRouters(_ workload: EnvoyWorkload) -> Goal {
        let size = EnvoyWorkload.text(workload.bodyBytes)
        let routers = report.parts.contenders.filter(\.isRouter).compactMap { router in
            median(report.of(router, workload, Self.pickerCPU)).map { (title: router.title, cpu: $0) }
        }
        let mine = report.of(apus, workload, Self.pickerCPU)
        let key = "cpu_over_router_\(workload.bodyBytes)"
        guard let cheapest = routers.min(by: { $0.cpu < $1.cpu }), !mine.isEmpty else {
            let title = "CPU of Apus over the cheapest router's, \(size)"
            return goal(title, key, "", nil, 1, reason: lacking(mine.isEmpty ? ["apus"] : HTTPRouter.all.map(\.key)))
        }
        let cpu = max(cheapest.cpu, 1e-6)
        let reason = median(report.of(bare, workload, Self.pickerCPU)).map {
            "Asking any picker over ext_proc takes \(($0 / cpu).fixed(2)) times the router's CPU "
                + "(constant answers: \($0.fixed(0)) µs, the router: \(cpu.fixed(0)) µs)."
        }
        let field = routers.count < HTTPRouter.all.count ? ", of \(routers.count) that ran" : ""
        return goal(
            "CPU of Apus over the cheapest router's (\(cheapest.title)\(field)), \(size)",
            key,
            "",
            median(mine.map { $0 / cpu }),
            1,
            digits: 2,
            reason: reason
        )
    }

    private func throughput(_ workload: EnvoyWorkload, inFlight count: Int, _ value: Value) -> Goal {
        let ratios = zip(report.of(apus, workload, value), report.of(bare, workload, value)).map { $0 / max($1, 1e-6) }
        return goal(
            "Requests/s over constant answers', \(EnvoyWorkload.text(workload.bodyBytes)), \(count) in flight",
            "throughput_over_bare_\(count)",
            "",
            median(ratios),
            0.85,
            isAtMost: false,
            digits: 2,
            reason: ratios.isEmpty
                ? lacking(["bare", "apus"])
                : "All parts share the machine's cores: the CPU that Apus takes beside Envoy's shows here."
        )
    }

    // MARK: Parts

    private static func pickerCPU(_ round: EnvoyRound) -> Double? { round.busy?.cpu[.picker] }

    private func median(_ values: [Double]) -> Double? {
        values.isEmpty ? nil : Spread(values).median
    }

    /// Why one of these contenders has no figures.
    private func lacking(_ keys: [String]) -> String {
        let lacking = keys.filter { report.find($0) == nil }
        let sentences = lacking.map { key in
            report.parts.missing[key]
                ?? (report.options.isWanted(key) ? "\(key) did not start." : "\(key) was left out.")
        }
        return sentences.isEmpty ? "There are no rounds." : sentences.joined(separator: " ")
    }

    private func goal(
        _ title: String,
        _ key: String,
        _ unit: String,
        _ value: Double?,
        _ limit: Double,
        isAtMost: Bool = true,
        digits: Int = 1,
        reason: String?
    ) -> Goal {
        Goal(
            title: title,
            key: key,
            unit: unit,
            value: value ?? .nan,
            limit: limit,
            isAtMost: isAtMost,
            digits: digits,
            reason: reason
        )
    }
}

/// How many times what one way adds another one adds, over the same rounds.
///
/// It is the ratio of the medians, of which every round is a part. What a single round's ratio would be is nothing where noise was larger than
/// what is added.
struct AddedRatio {
    /// Nil where the other way adds nothing.
    let value: Double?
    /// The two medians, and how the single rounds' ratios lie, where there are any.
    let remark: String

    init(_ mine: [Double], _ theirs: [Double]) {
        let (median, base) = (Spread(mine).median, Spread(theirs).median)
        value = base > 0 ? median / base : nil
        let pairs = Array(zip(mine, theirs))
        let ratios = pairs.filter { $0 > 0 && $1 > 0 }.map { $0 / $1 }
        var text = "The medians of what is added are \(median.fixed(3)) and \(base.fixed(3)) ms."
        if !ratios.isEmpty { text += " Of single rounds: \(Spread(ratios).text(2))." }
        let others = pairs.count - ratios.count
        if others > 0 {
            text +=
                " In \(others) of \(pairs.count.of("round")) one of the two added nothing (only the medians count that)."
        }
        remark = text
    }
}
