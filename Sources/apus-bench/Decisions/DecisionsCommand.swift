import Bytes
import Glibc
import Pool
import Scheduling

/// What a decision and its parts cost, without any transport: scheduling, the prefix index, flow control.
enum DecisionsCommand {
    static func section(_ run: BenchRun) throws -> Section {
        var suite = Suite(rounds: run.rounds(7), isShort: run.scale == .short)
        try PrefixBench.measureMemory(&suite)
        try SchedulingBench.measure(&suite, endpoints: 100, goal: 25)
        try SchedulingBench.measure(&suite, endpoints: 1_000, goal: 150)
        PrefixBench.measureMatching(&suite)
        PrefixBench.measureRecording(&suite)
        try PrefixBench.measureHashing(&suite)
        FlowControlBench.measure(&suite)
        return suite.section(
            key: "decisions",
            title: "decisions without any transport",
            method: [
                "CPU of this process, \(suite.rounds.of("round")) each: decisions over 100 and 1,000 endpoints with three sets of scorers and a "
                    + "prompt of 256 blocks, blocks matched and cut, requests queued in flow control and let go; memory of a full "
                    + "prefix index, in processes of their own."
            ]
        )
    }
}

/// Pools and prompts to measure with.
enum BenchPool {
    /// Endpoints that differ in all that scorers look at.
    static func make(_ count: Int) -> Pool {
        let pool = Pool(stalenessThreshold: .seconds(86_400))
        pool.replaceEndpoints(
            (0..<count).map { number in
                EndpointDescription(
                    name: "e\(number)",
                    namespace: "default",
                    address: "10.0.\(number / 256).\(number % 256)",
                    port: 8000
                )
            }
        )
        for (number, endpoint) in pool.snapshot.endpoints.enumerated() {
            var update = MetricsUpdate()
            update.waitingQueueSize = number % 7
            update.runningRequests = number % 11
            update.kvCacheUsage = Double(number % 10) / 10
            update.adapters = MetricsUpdate.Adapters(active: ["a\(number % 5)", "b"], waiting: ["c"], maximum: 4)
            update.cacheBlockSize = 16
            update.cacheBlockCount = 31_250
            pool.scrapeSucceeded(endpoint, pool.scrapeStarted(endpoint, at: .now()), update)
        }
        pool.publish()
        return pool
    }

    /// Hashes of a prompt's blocks; other seeds make other prompts.
    static func prompt(_ blocks: Int, seed: UInt64) -> [UInt64] {
        var generator = SeededGenerator(seed: seed)
        return (0..<blocks).map { _ in generator.next() }
    }
}

/// A reservation that an array can hold.
final class HeldReservation {
    private let reservation: Reservation

    init(_ reservation: consuming Reservation) {
        self.reservation = reservation
    }
}
