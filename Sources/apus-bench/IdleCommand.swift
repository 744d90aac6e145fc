import Glibc

/// Cores and memory of a process over some seconds.
enum IdleCommand {
    private static let help = """
        usage: apus-bench idle --pid PID [--seconds 10] [--json]

        """

    static func run(_ words: [String]) throws {
        var arguments = try Arguments(words, flags: ["help", "json"])
        if arguments.flag("help") { return write(help, to: 1) }
        let asJSON = arguments.flag("json")
        let pid = try arguments.integer("pid", default: 0)
        let seconds = try arguments.integer("seconds", default: 10, in: 1...86_400)
        try arguments.finish()
        guard pid != 0 else { throw BenchError("idle needs --pid") }

        let before = try ProcessUsage(pid: pid_t(pid))
        let start = monotonicSeconds()
        sleep(UInt32(seconds))
        let after = try ProcessUsage(pid: pid_t(pid))
        let elapsed = monotonicSeconds() - start

        let cores = Double(after.cpuNanoseconds - before.cpuNanoseconds) / 1e9 / elapsed
        let switches = Double(after.contextSwitches - before.contextSwitches) / elapsed
        let megabytes = Double(after.residentBytes) / 1_048_576
        if asJSON {
            write(
                #"{"seconds":\#(elapsed.rounded(2)),"cores":\#(cores.rounded(4)),"rss_mib":\#(megabytes.rounded(1)),"#
                    + #""context_switches_per_second":\#(switches.rounded(0)),"threads":\#(after.threads)}"# + "\n",
                to: 1
            )
        } else {
            write(
                "\(cores.fixed(3)) cores, \(megabytes.fixed(1)) MiB resident, \(after.threads) threads, "
                    + "\(switches.fixed(0)) context switches/s over \(elapsed.fixed(1)) s\n",
                to: 1
            )
        }
    }
}
