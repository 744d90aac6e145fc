import Glibc

/// Memory of apus while it holds thousands of requests in the three places where it can, and after them.
enum MemorySuite {
    private static let bodyBytes = 100_000

    static func section(_ run: BenchRun) throws -> Section {
        let count = run.scaled(2000, short: 200)
        var section = Section(
            key: "memory",
            title: "\(count.grouped) requests held at once",
            method: [
                "\(count.grouped) requests with bodies of \(bodyBytes / 1000) KB come at once on 8 connections and stay; then the clients "
                    + "hang up, and as many come again. Resident memory, to which what the allocator keeps for later belongs, is "
                    + "read when it has been still for half a second; the highest is the kernel's own (VmHWM), and goals are judged by the highest of "
                    + "all, of both times. \(run.rounds(3).of("round")), each "
                    + "with an apus of its own.",
                "Queued: flow control, before a pool that says it is full. Streaming: picked, and one piece of the response has "
                    + "passed. Waiting for a prefill: `handoff`, with a prefill server that takes requests and never answers.",
            ]
        )
        var table = Table(
            title: "Resident memory of apus",
            key: "resident",
            columns: [
                Table.Column(title: "idle", key: "idle_mb", unit: "MB", digits: 0),
                Table.Column(title: "held", key: "held_mb", unit: "MB", digits: 0),
                Table.Column(title: "each over idle", key: "each_kb", unit: "KB", digits: 0),
                Table.Column(title: "highest until then", key: "peak_mb", unit: "MB", digits: 0),
                Table.Column(title: "after", key: "after_mb", unit: "MB", digits: 0),
                Table.Column(title: "held again", key: "held_again_mb", unit: "MB", digits: 0),
                Table.Column(title: "highest of all", key: "highest_mb", unit: "MB", digits: 0),
            ]
        )
        let limit = Double(count * bodyBytes) * 1.3 / 1e6 + 150
        let kinds = HeldKind.all
        var bars: [[Chart.Point]] = [[], [], []]
        for (place, kind) in kinds.enumerated() {
            var rounds: [HeldMemory] = []
            for _ in 0..<run.rounds(3) {
                rounds.append(try HeldMemory(kind, count: count, bodyBytes: bodyBytes, run: run, &section.faults))
            }
            func spread(_ value: (HeldMemory) -> Double) -> Spread { Spread(rounds.map(value)) }
            let columns = [spread(\.idle), spread(\.held), spread(\.after)]
            table.rows.append(
                Table.Row(
                    title: kind.title,
                    key: kind.key,
                    values: [
                        columns[0], columns[1], spread { ($0.held - $0.idle) * 1000 / Double(count) }, spread(\.peak),
                        columns[2], spread(\.heldAgain), spread(\.highest),
                    ]
                )
            )
            for (index, value) in columns.enumerated() { bars[index].append(Chart.Point(x: Double(place), y: value)) }
            section.goals.append(goal(kind, first: spread(\.peak), all: spread(\.highest), limit: limit))
            run.progress(
                "memory: \(kind.title): \((columns + [spread(\.heldAgain)]).map { $0.text(0) }.joined(separator: " → ")) MB"
            )
        }
        section.tables = [table]
        section.charts = [
            Chart(
                title: "Resident memory, \(count.grouped) requests of \(bodyBytes / 1000) KB",
                x: Chart.Axis(title: "", unit: ""),
                y: Chart.Axis(title: "resident", unit: "MB"),
                groups: kinds.map(\.title),
                series: zip(["idle", "held", "after"], bars).map { Chart.Series(name: $0, points: $1) }
            )
        ]
        return section
    }

    /// By both times that requests are held.
    private static func goal(_ kind: HeldKind, first: Spread, all: Spread, limit: Double) -> Goal {
        Goal(
            title: "highest memory, \(kind.title), held twice (bodies × 1.3 + 150 MB)",
            key: "\(kind.key)_peak_mb",
            unit: "MB",
            value: all.median,
            limit: limit,
            digits: 0,
            reason: first.median <= limit
                ? "The first time \(first.text(0)) MB were the highest: the second time does not find all that the first gave back."
                : nil
        )
    }
}

/// A place where requests wait.
struct HeldKind: Sendable {
    let key: String
    let title: String
    let simulator: [String]
    /// Of the model servers' roles; nil for servers without.
    var roles: [String]?
    /// The lines of the configuration behind its kind; `@ENDPOINTS@` is the file with the endpoints.
    var configuration: String?
    /// Whether requests are held after their pick, while they stream.
    var isStreaming = false
    /// Apus's metric that counts them as held.
    var metric = "apus_streams_active"

    static let all = [
        HeldKind(
            key: "queued",
            title: "queued",
            simulator: [
                "--fake-metrics", #"{"waiting-requests": 1000, "running-requests": 1000, "kv-cache-usage": 0.99}"#,
            ],
            configuration: "featureGates: [flowControl]",
            metric: "llm_d_epp_flow_control_queue_size"
        ),
        HeldKind(key: "streaming", title: "streaming", simulator: [], isStreaming: true),
        HeldKind(
            key: "prefill",
            title: "waiting for a prefill",
            simulator: ["--hang", "--max-model-len", "10000000"],
            roles: ["prefill", "decode"],
            configuration: """
                plugins:
                - {type: file-discovery, parameters: {path: "@ENDPOINTS@"}}
                - {type: prefill-filter}
                - {type: decode-filter}
                - {type: active-request-scorer}
                - {type: max-score-picker}
                - {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 256}}
                - {type: disagg-profile-handler, parameters: {deciders: {prefill: prefix-based-pd-decider}}}
                schedulingProfiles:
                - {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: active-request-scorer}, {pluginRef: max-score-picker}]}
                - {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: active-request-scorer}, {pluginRef: max-score-picker}]}
                dataLayer: {discovery: {pluginRef: file-discovery}}
                orchestration:
                  mode: handoff
                  connector: nixlv2
                  attemptTimeout: 120s
                  subRequests: {maxConcurrent: 10000, maxPerEndpoint: 10000}
                """
        ),
    ]
}
