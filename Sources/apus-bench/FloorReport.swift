/// What `floor` prints.
enum FloorReport {
    private static var rows: [(title: String, key: String, digits: Int, value: KeyPath<Contender.Round, Double>)] {
        [
            ("server CPU µs/request", "cpu_us", 1, \.cpuMicroseconds),
            ("context switches/request", "context_switches", 3, \.contextSwitches),
            ("pick p50 ms", "pick_p50_ms", 3, \.pickP50Milliseconds),
            ("pick p99 ms", "pick_p99_ms", 3, \.pickP99Milliseconds),
            ("stream p50 ms", "p50_ms", 3, \.p50Milliseconds),
            ("stream p99 ms", "p99_ms", 3, \.p99Milliseconds),
            ("requests/s", "requests_per_second", 0, \.requestsPerSecond),
            ("client CPU µs/request", "client_cpu_us", 1, \.clientCPUMicroseconds),
        ]
    }

    /// Medians of the rounds, with the lowest and highest round.
    static func table(_ contenders: [Contender], _ options: FloorCommand.Options) -> String {
        var text =
            "\n\(options.requests) requests × \(options.rounds) rounds, \(options.concurrency) streams in flight, "
        text += "\(options.bodyBytes) byte bodies, \(options.ioThreads) io threads; median [lowest … highest]\n\n"
        text += "".padded(to: 26) + contenders.map { $0.name.padded(to: 32) }.joined() + "\n"
        for row in rows {
            text += row.title.padded(to: 26)
            for contender in contenders {
                let spread = contender.spread(row.value)
                let cell =
                    spread.median.fixed(row.digits)
                    + " [\(spread.lowest.fixed(row.digits)) … \(spread.highest.fixed(row.digits))]"
                text += cell.padded(to: 32)
            }
            text += "\n"
        }
        text += "resident MiB".padded(to: 26)
        text += contenders.map { (Double($0.residentBytes) / 1_048_576).fixed(1).padded(to: 32) }.joined() + "\n"
        text += "failed".padded(to: 26)
        text += contenders.map { "\($0.failures.values.reduce(0, +))".padded(to: 32) }.joined() + "\n"
        for contender in contenders {
            for (failure, count) in contender.failures.sorted(by: { $0.key < $1.key }) {
                text += "\(contender.name): \(count) × \(failure)\n"
            }
        }
        text += "\nby thread: CPU µs/request, context switches/request\n"
        for contender in contenders {
            for name in contender.threadNames {
                let cpu = Spread(contender.rounds.map { $0.threads[name]?.cpuMicroseconds ?? 0 }).median
                let switches = Spread(contender.rounds.map { $0.threads[name]?.contextSwitches ?? 0 }).median
                text += "\(contender.name) \(name)".padded(to: 26) + cpu.fixed(1).padded(to: 10)
                text += switches.fixed(3).padded(to: 10) + "\n"
            }
        }
        if let ratio = ratio(contenders) { text += "\napus/bare CPU: \(ratio.fixed(2))\n" }
        return text
    }

    static func json(_ contenders: [Contender], _ options: FloorCommand.Options) -> String {
        let servers = contenders.map { contender in
            let fields = rows.map { row in
                let spread = contender.spread(row.value)
                let digits = row.digits + 1
                return #""\#(row.key)":{"median":\#(spread.median.rounded(digits)),"#
                    + #""lowest":\#(spread.lowest.rounded(digits)),"highest":\#(spread.highest.rounded(digits))}"#
            }
            let failed = contender.failures.values.reduce(0, +)
            return #""\#(contender.name)":{"# + fields.joined(separator: ",")
                + #","resident_bytes":\#(contender.residentBytes),"failed":\#(failed)}"#
        }
        let ratio = ratio(contenders).map { #","cpu_ratio":\#($0.rounded(3))"# } ?? ""
        return #"{"requests":\#(options.requests),"rounds":\#(options.rounds),"concurrency":\#(options.concurrency),"#
            + #""body_bytes":\#(options.bodyBytes),"io_threads":\#(options.ioThreads),"#
            + servers.joined(separator: ",") + ratio + "}\n"
    }

    /// The median over rounds of apus's CPU over the bare server's in the same round.
    private static func ratio(_ contenders: [Contender]) -> Double? {
        guard contenders.count == 2 else { return nil }
        let pairs = zip(contenders[1].rounds, contenders[0].rounds)
        return Spread(pairs.map { $0.cpuMicroseconds / max($1.cpuMicroseconds, 0.001) }).median
    }
}
