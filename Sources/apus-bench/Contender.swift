import Glibc

/// One server under the load, and its rounds.
final class Contender {
    struct Round {
        var cpuMicroseconds = 0.0
        var contextSwitches = 0.0
        var p50Milliseconds = 0.0
        var p99Milliseconds = 0.0
        var pickP50Milliseconds = 0.0
        var pickP99Milliseconds = 0.0
        /// From a piece of a streamed response to the reply; 0 where none is streamed.
        var chunkP50Milliseconds = 0.0
        var chunkP99Milliseconds = 0.0
        var requestsPerSecond = 0.0
        var clientCPUMicroseconds = 0.0
        /// By thread name, per request.
        var threads: [String: (cpuMicroseconds: Double, contextSwitches: Double)] = [:]
    }

    let name: String
    private let pid: pid_t
    private let client: LoadClient
    private(set) var rounds: [Round] = []
    private(set) var failures: [String: Int] = [:]
    private(set) var residentBytes = 0

    init(_ name: String, _ pid: pid_t, _ client: LoadClient) {
        self.name = name
        self.pid = pid
        self.client = client
    }

    /// Requests that are not measured; that they fail is noted all the same.
    func warmUp(requests: Int, concurrency: Int) {
        let result = client.run(requests: requests, concurrency: concurrency)
        failures.merge(result.failures, uniquingKeysWith: +)
    }

    /// One round.
    func measure(requests: Int, concurrency: Int) throws {
        let before = try ProcessUsage(pid: pid)
        let result = client.run(requests: requests, concurrency: concurrency)
        let after = try ProcessUsage(pid: pid)
        let count = Double(result.requests)
        rounds.append(
            Round(
                cpuMicroseconds: Double(after.cpuNanoseconds - before.cpuNanoseconds) / 1000 / count,
                contextSwitches: Double(after.contextSwitches - before.contextSwitches) / count,
                p50Milliseconds: result.latencies.quantile(0.5) * 1000,
                p99Milliseconds: result.latencies.quantile(0.99) * 1000,
                pickP50Milliseconds: result.pickLatencies.quantile(0.5) * 1000,
                pickP99Milliseconds: result.pickLatencies.quantile(0.99) * 1000,
                chunkP50Milliseconds: result.chunkLatencies.quantile(0.5) * 1000,
                chunkP99Milliseconds: result.chunkLatencies.quantile(0.99) * 1000,
                requestsPerSecond: count / result.seconds,
                clientCPUMicroseconds: Double(result.cpuNanoseconds) / 1000 / count
            )
        )
        for (name, share) in after.shares {
            let earlier = before.shares[name] ?? ProcessUsage.Share()
            rounds[rounds.count - 1].threads[name] = (
                Double(share.cpuNanoseconds - earlier.cpuNanoseconds) / 1000 / count,
                Double(share.contextSwitches - earlier.contextSwitches) / count
            )
        }
        residentBytes = after.residentBytes
        failures.merge(result.failures, uniquingKeysWith: +)
    }

    func spread(_ value: KeyPath<Round, Double>) -> Spread {
        Spread(rounds.map { $0[keyPath: value] })
    }

    /// What failed, a sentence each.
    var faults: [String] {
        failures.sorted { $0.key < $1.key }.map { "\(name): \($0.value) × \($0.key)" }
    }

    /// The names of threads that used anything worth a line.
    var threadNames: [String] {
        Set(rounds.flatMap { $0.threads.filter { $1.cpuMicroseconds >= 0.1 || $1.contextSwitches >= 0.01 }.keys })
            .sorted()
    }

    var lastRound: String {
        guard let round = rounds.last else { return name }
        return "\(name) \(round.cpuMicroseconds.fixed(1)) µs/request, "
            + "\(round.contextSwitches.fixed(2)) switches, \(round.requestsPerSecond.fixed(0)) requests/s"
    }
}

extension Array {
    /// The order of a round, the first of which is 0: another one first each time, so that nobody is always before, or behind, the same one.
    func inTurn(ofRound round: Int) -> [Element] {
        indices.map { self[(round + $0) % count] }
    }
}
