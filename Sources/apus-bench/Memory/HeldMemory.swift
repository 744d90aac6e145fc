import Glibc

/// Resident megabytes of one apus before, while and after it held requests, twice.
struct HeldMemory {
    let idle: Double
    let held: Double
    /// The highest until the requests were held.
    let peak: Double
    let after: Double
    /// When as many are held a second time: more than `held` where what the first ones left is not found again.
    let heldAgain: Double
    /// The highest of all, to the end of the second time.
    let highest: Double

    /// Faults are requests that were not held.
    init(_ kind: HeldKind, count: Int, bodyBytes: Int, run: BenchRun, _ faults: inout [String]) throws {
        let fleet = try Fleet(run, count: kind.roles?.count ?? 2, simulatorArguments: kind.simulator)
        let file = try kind.roles.map { try TemporaryFile(Self.endpointsFile(fleet.endpoints, $0)) }
        let configuration = kind.configuration.map { text in
            text.split(separator: "@ENDPOINTS@", omittingEmptySubsequences: false).joined(separator: file?.path ?? "")
        }
        defer { withExtendedLifetime((fleet, file)) {} }
        let apus = try ApusProcess(
            run,
            kind.roles == nil ? ["--endpoints", fleet.endpoints] : [],
            configuration: configuration
        )
        let client = LoadClient(
            target: apus.address,
            connections: 8,
            families: (0..<16).map {
                Frames(
                    family: $0,
                    shape: LoadShape(bodyBytes: bodyBytes, response: kind.isStreaming ? .events(100) : .json)
                )
            },
            holdsResponses: true,
            patience: 600
        )
        // The first scrapes, and the first requests' memory that stays: what is measured is what more of them add.
        usleep(500_000)
        idle = try Self.resident(apus.pid)

        let streams = try Self.hold(kind, client, apus, count)
        held = try Self.settled(apus.pid, run) { client.pump(seconds: $0) }
        try Self.checkHeld(apus, kind, count, &faults)
        peak = try Self.highest(apus.pid)
        Self.hangUp(streams, client, kind, &faults)
        try Self.awaitEnd(apus, client, kind, &faults)
        after = try Self.settled(apus.pid, run) { client.pump(seconds: $0) }
        let others = try Self.hold(kind, client, apus, count)
        heldAgain = try Self.settled(apus.pid, run) { client.pump(seconds: $0) }
        try Self.checkHeld(apus, kind, count, &faults)
        highest = try Self.highest(apus.pid)
        Self.hangUp(others, client, kind, &faults)
        try Self.awaitEnd(apus, client, kind, &faults)
    }

    /// Starts requests and waits until all are where they shall stay, also by apus's own count, a minute at most.
    private static func hold(
        _ kind: HeldKind,
        _ client: LoadClient,
        _ apus: ApusProcess,
        _ count: Int
    ) throws -> [LoadStream] {
        let streams = client.hold(count)
        let deadline = monotonicSeconds() + 60
        func isReady() -> Bool { streams.allSatisfy { kind.isStreaming ? $0.isHeld : $0.isWaiting } }
        while try !isReady() || apus.metric(kind.metric) != Double(count), monotonicSeconds() < deadline {
            client.pump(seconds: 0.1)
        }
        return streams
    }

    private static func hangUp(
        _ streams: [LoadStream],
        _ client: LoadClient,
        _ kind: HeldKind,
        _ faults: inout [String]
    ) {
        for (failure, number) in client.hangUp(streams).sorted(by: { $0.key < $1.key }) {
            faults.append("\(kind.title): \(number) × \(failure)")
        }
    }

    private static func checkHeld(
        _ apus: ApusProcess,
        _ kind: HeldKind,
        _ count: Int,
        _ faults: inout [String]
    ) throws {
        let counted = try apus.metric(kind.metric)
        guard counted != Double(count) else { return }
        faults.append("\(kind.title): apus holds \(counted.fixed(0)) requests of \(count)")
    }

    /// Until apus has noticed that all clients are gone, ten seconds at most.
    private static func awaitEnd(
        _ apus: ApusProcess,
        _ client: LoadClient,
        _ kind: HeldKind,
        _ faults: inout [String]
    ) throws {
        for _ in 0..<100 {
            if try apus.metric("apus_streams_active") == 0 { return }
            client.pump(seconds: 0.1)
        }
        faults.append("\(kind.title): apus still has requests ten seconds after their end")
    }

    private static func resident(_ pid: pid_t) throws -> Double {
        Double(try ProcessUsage(pid: pid).residentBytes) / 1e6
    }

    /// What it is once it has been still for half a second; in a short run for two tenths.
    private static func settled(_ pid: pid_t, _ run: BenchRun, _ wait: (Double) -> Void) throws -> Double {
        var (last, still) = (try resident(pid), 0)
        let deadline = monotonicSeconds() + 20
        while still < run.scaled(5, short: 2), monotonicSeconds() < deadline {
            wait(0.1)
            let now = try resident(pid)
            still = (now - last).magnitude < 0.5 ? still + 1 : 0
            last = now
        }
        return last
    }

    /// Since the process's start.
    private static func highest(_ pid: pid_t) throws -> Double {
        for line in (readFile("/proc/\(pid)/status") ?? "").split(separator: "\n") where line.hasPrefix("VmHWM:") {
            guard let number = line.split(whereSeparator: \.isWhitespace).dropFirst().first,
                let kibibytes = Double(number)
            else { continue }
            return kibibytes * 1024 / 1e6
        }
        throw BenchError("there is no process \(pid)")
    }

    private static func endpointsFile(_ endpoints: String, _ roles: [String]) -> String {
        "endpoints:\n"
            + zip(endpoints.split(separator: ","), roles).enumerated().map { number, server in
                let port = server.0.split(separator: ":").last ?? ""
                return "- {name: e\(number), address: 127.0.0.1, port: \(port), labels: {llm-d.ai/role: \(server.1)}}\n"
            }.joined()
    }
}
