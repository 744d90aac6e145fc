import Glibc

/// Dynamo and Apus with the same number of endpoints, asked in turn.
final class SelectBench {
    private enum Way: String, CaseIterable {
        case dynamo
        case dynamoHashes = "dynamo_hashes"
        case apus
        case fromBody = "in_process_body"
        case fromHashes = "in_process_hashes"
        case referenceFromBody = "in_process_body_reference"
        case referenceFromHashes = "in_process_hashes_reference"

        func title(_ peer: Peers.Peer?) -> String {
            let dynamo = peer?.title(DynamoService.title) ?? DynamoService.title
            return switch self {
            case .dynamo: dynamo
            case .dynamoHashes: "\(dynamo), hashes given"
            case .apus: "Apus through ext_proc"
            case .fromBody: "Apus in process, from the body"
            case .fromHashes: "Apus in process, hashes given"
            case .referenceFromBody: "the same with the reference's scorers, from the body"
            case .referenceFromHashes: "the same with the reference's scorers, hashes given"
            }
        }
    }

    private struct Round {
        var p50Microseconds: Double?
        var cpuMicroseconds: Double
        var requestsPerSecond: Double?
        var generatorMicroseconds: Double?
    }

    /// Two ways to a decision, side by side.
    private struct Comparison {
        let key: String
        let title: String
        let mine: Way
        let theirs: Way
        let value: (Round) -> Double?
        /// Whether what the other service takes for a prompt of one token does not count.
        let isLessTheWay: Bool
        let reason: String?

        init(
            _ key: String,
            _ title: String,
            _ mine: Way,
            _ theirs: Way,
            isLessTheWay: Bool = false,
            reason: String? = nil,
            _ value: @escaping (Round) -> Double?
        ) {
            self.key = key
            self.title = title
            self.mine = mine
            self.theirs = theirs
            self.value = value
            self.isLessTheWay = isLessTheWay
            self.reason = reason
        }
    }

    private static let frameBytes = 32_768

    private let options: SelectCommand.Options
    private let endpoints: Int
    private let dynamo: DynamoService?
    private let upstream: ChildProcess
    private let apus: ChildProcess
    private let apusAddress: String
    private let decider: SelectInProcess
    private let referenceDecider: SelectInProcess
    private let peer: Peers.Peer?
    private var rounds: [Int: [Way: [Round]]] = [:]
    private(set) var faults: [String] = []

    /// Must be called on the main thread.
    init(_ options: SelectCommand.Options, endpoints: Int, peer: Peers.Peer?) throws {
        self.options = options
        self.endpoints = endpoints
        self.peer = peer
        upstream = try ChildProcess(sibling("apus-bench"), ["upstream", "--count", "\(endpoints)"])
        let addresses = try upstream.wait(for: "listening on ", count: endpoints)
        apus = try ChildProcess(
            options.apus,
            [
                "--endpoints", addresses.joined(separator: ","), "--secure-serving=false", "--bind-address",
                "127.0.0.1",
                "--grpc-port", "0", "--metrics-port", "0", "--grpc-health-port", "0",
                "--refresh-metrics-interval", "1s", "--metrics-staleness-threshold", "10s",
            ]
        )
        apusAddress = try apus.wait(for: "ext_proc listening on ")[0]
        decider = SelectInProcess(endpoints: endpoints)
        referenceDecider = SelectInProcess(endpoints: endpoints, .reference)
        var dynamo: DynamoService?
        if let peer {
            do {
                dynamo = try DynamoService(peer, workers: endpoints)
            } catch {
                faults.append("\(error)")
            }
        }
        self.dynamo = dynamo
        // The first scrapes, so that every endpoint is known.
        usleep(500_000)
    }

    // MARK: Measuring

    func measure(blocks: Int) throws {
        let prompts = SelectPrompts(blocks: blocks)
        let count = max(options.work / 2_000, options.work / (blocks + 40))
        if let dynamo {
            for (way, selections) in [(Way.dynamo, prompts.selections), (.dynamoHashes, prompts.hashedSelections)] {
                try dynamo.learn(selections)
                note(way, blocks, try measure(dynamo, selections, count))
            }
        }
        note(.apus, blocks, try measureApus(prompts, count))
        let bodies = try SelectInProcess.prompts(prompts)
        try measure(decider, .fromBody, .fromHashes, bodies, blocks, count)
        try measure(referenceDecider, .referenceFromBody, .referenceFromHashes, bodies, blocks, count)
    }

    private func measure(
        _ decider: SelectInProcess,
        _ bodyWay: Way,
        _ hashesWay: Way,
        _ prompts: [SelectInProcess.Prompt],
        _ blocks: Int,
        _ count: Int
    ) throws {
        for prompt in prompts { try decider.decide(reading: prompt) }
        let fromBody = try cpuMicroseconds(per: count) {
            for number in 0..<count { try decider.decide(reading: prompts[number % prompts.count]) }
        }
        note(bodyWay, blocks, Round(cpuMicroseconds: fromBody))
        let fromHashes = try cpuMicroseconds(per: count) {
            for number in 0..<count { try decider.decide(prompts[number % prompts.count].hashes) }
        }
        note(hashesWay, blocks, Round(cpuMicroseconds: fromHashes))
    }

    private func measure(_ dynamo: DynamoService, _ selections: [String], _ count: Int) throws -> Round {
        let load = try dynamo.load(selections)
        let single = try load.run(.closed(connections: 1), seconds: 10, limit: max(50, count / 4))
        let before = try processCPUNanoseconds(of: dynamo.process.pid)
        let busy = try load.run(.closed(connections: 16), seconds: 20, limit: count)
        let after = try processCPUNanoseconds(of: dynamo.process.pid)
        for failures in [single.failures, busy.failures] {
            for (failure, count) in failures { faults.append("\(DynamoService.title): \(count) × \(failure)") }
        }
        let requests = Double(max(1, busy.requests))
        return Round(
            p50Microseconds: single.latencies.quantile(0.5) * 1e6,
            cpuMicroseconds: Double(after - before) / 1e3 / requests,
            requestsPerSecond: Double(busy.requests) / busy.seconds,
            generatorMicroseconds: Double(busy.cpuNanoseconds) / 1e3 / requests
        )
    }

    private func measureApus(_ prompts: SelectPrompts, _ count: Int) throws -> Round {
        let families = prompts.completions.enumerated().map { family, body in
            Frames(
                family: family,
                body: stride(from: 0, to: body.count, by: Self.frameBytes).map {
                    Array(body[$0..<min($0 + Self.frameBytes, body.count)])
                }
            )
        }
        let load = LoadClient(target: apusAddress, connections: 1, families: families, endsAfterPick: true)
        // Every prompt once, so that it is remembered.
        let first = load.run(requests: families.count, concurrency: 1)
        let single = load.run(requests: max(50, count / 4), concurrency: 1)
        let before = try processCPUNanoseconds(of: apus.pid)
        let busy = load.run(requests: count, concurrency: 16)
        let after = try processCPUNanoseconds(of: apus.pid)
        for failures in [first.failures, single.failures, busy.failures] {
            for (failure, count) in failures { faults.append("apus: \(count) × \(failure)") }
        }
        let requests = Double(max(1, busy.requests))
        return Round(
            p50Microseconds: single.pickLatencies.quantile(0.5) * 1e6,
            cpuMicroseconds: Double(after - before) / 1e3 / requests,
            requestsPerSecond: requests / busy.seconds,
            generatorMicroseconds: Double(busy.cpuNanoseconds) / 1e3 / requests
        )
    }

    private func note(_ way: Way, _ blocks: Int, _ round: Round) {
        rounds[blocks, default: [:]][way, default: []].append(round)
    }

    // MARK: Report

    func table(blocks: Int) -> Table {
        let columns: [(Table.Column, (Round) -> Double?)] = [
            (Table.Column(title: "CPU per decision", key: "cpu_us", unit: "µs"), { $0.cpuMicroseconds }),
            (Table.Column(title: "p50", key: "p50_us", unit: "µs", digits: 0), { $0.p50Microseconds }),
            (
                Table.Column(title: "decisions/s", key: "decisions_per_second", unit: "", digits: 0),
                { $0.requestsPerSecond }
            ),
            (Table.Column(title: "generator CPU", key: "generator_cpu_us", unit: "µs"), { $0.generatorMicroseconds }),
        ]
        return Table(
            title: "\(blocks) blocks, \(endpoints) endpoints",
            key: "\(blocks)_\(endpoints)",
            columns: columns.map(\.0),
            rows: Way.allCases.compactMap { way in
                guard let found = rounds[blocks]?[way] else { return nil }
                return Table.Row(
                    title: way.title(peer),
                    key: way.rawValue,
                    values: columns.map { _, value in
                        let values = found.compactMap(value)
                        return values.isEmpty ? nil : Spread(values)
                    }
                )
            }
        )
    }

    func goals(blocks: Int) -> [Goal] {
        let size = "\(blocks) blocks × \(endpoints) endpoints"
        let cpu: (Round) -> Double? = { $0.cpuMicroseconds }
        let transport = """
            The ways differ: a gRPC stream that also carries the body back, against one HTTP/1.1 exchange. 0 blocks shows what they \
            cost by themselves.
            """
        let comparisons: [Comparison] = [
            Comparison(
                "in_process",
                "CPU in process, from the body, over Dynamo's less the way",
                .fromBody,
                .dynamo,
                isLessTheWay: true,
                cpu
            ),
            Comparison(
                "hashes",
                "CPU in process, hashes given, over Dynamo's less the way",
                .fromHashes,
                .dynamoHashes,
                isLessTheWay: true,
                cpu
            ),
            Comparison("ext_proc", "CPU through ext_proc over Dynamo's", .apus, .dynamo, reason: transport, cpu),
            Comparison("ext_proc_p50", "p50 through ext_proc over Dynamo's", .apus, .dynamo, reason: transport) {
                $0.p50Microseconds
            },
        ]
        return comparisons.map { comparison in
            let mine = rounds[blocks]?[comparison.mine]?.compactMap(comparison.value) ?? []
            var theirs = rounds[blocks]?[comparison.theirs]?.compactMap(comparison.value) ?? []
            if comparison.isLessTheWay {
                let ways = rounds[0]?[comparison.theirs]?.compactMap(comparison.value) ?? []
                theirs = zip(theirs, ways).map { $0 - $1 }
            }
            // The ratio of the medians: differences of single rounds may be nothing.
            let base = Spread(theirs).median
            let isMeasured = !mine.isEmpty && base > 0
            return Goal(
                title: "\(comparison.title), \(size)",
                key: "\(comparison.key)_over_dynamo_\(blocks)_\(endpoints)",
                unit: "",
                value: isMeasured ? Spread(mine).median / base : .nan,
                limit: 1,
                digits: 2,
                reason: isMeasured ? comparison.reason : whyUnmeasured
            )
        }
    }

    private var whyUnmeasured: String {
        if peer == nil { return Peers.missing(DynamoService.title) }
        if dynamo == nil { return "\(DynamoService.title) did not start." }
        return "Its figure less the way is nothing: the way's own noise was larger."
    }

    var chart: Chart {
        var chart = Chart(
            title: "CPU per decision, \(endpoints) endpoints",
            x: Chart.Axis(title: "blocks", unit: "", isLogarithmic: true),
            y: Chart.Axis(title: "CPU", unit: "µs", isLogarithmic: true)
        )
        for way in Way.allCases {
            let points = options.blocks.filter { $0 > 0 }.compactMap { blocks in
                rounds[blocks]?[way].map {
                    Chart.Point(x: Double(blocks), y: Spread($0.map(\.cpuMicroseconds)))
                }
            }
            if !points.isEmpty { chart.series.append(Chart.Series(name: way.title(peer), points: points)) }
        }
        return chart
    }
}
