import CGRPC
import Glibc

/// What a process has used since its start, from /proc.
struct ProcessUsage {
    /// What the threads of one name have used together.
    struct Share {
        /// From schedstat, which unlike `stat` does not count in ticks of 10 ms.
        var cpuNanoseconds = 0
        /// Voluntary and involuntary.
        var contextSwitches = 0
    }

    /// One thread.
    struct ThreadUse {
        let name: String
        let cpuNanoseconds: Int
    }

    /// By thread name; living threads only.
    let shares: [String: Share]
    /// Living threads by their ids.
    let threadUse: [String: ThreadUse]
    var cpuNanoseconds: Int { shares.values.reduce(0) { $0 + $1.cpuNanoseconds } }
    var contextSwitches: Int { shares.values.reduce(0) { $0 + $1.contextSwitches } }
    let threads: Int
    let residentBytes: Int

    init(pid: pid_t) throws {
        let directory = "/proc/\(pid)"
        var shares: [String: Share] = [:]
        var threadUse: [String: ThreadUse] = [:]
        let tasks = entries(of: directory + "/task")
        guard !tasks.isEmpty else { throw BenchError("there is no process \(pid)") }
        for task in tasks {
            // A thread may end while we look.
            let name =
                readFile("\(directory)/task/\(task)/comm")?.split(separator: "\n").first.map { String($0) } ?? "?"
            var share = Share()
            if let text = readFile("\(directory)/task/\(task)/schedstat"), let first = text.split(separator: " ").first
            {
                share.cpuNanoseconds = Int(first) ?? 0
            }
            for line in (readFile("\(directory)/task/\(task)/status") ?? "").split(separator: "\n")
            where line.hasPrefix("voluntary_ctxt_switches:") || line.hasPrefix("nonvoluntary_ctxt_switches:") {
                share.contextSwitches += line.split(whereSeparator: \.isWhitespace).last.flatMap { Int($0) } ?? 0
            }
            threadUse[task] = ThreadUse(name: name, cpuNanoseconds: share.cpuNanoseconds)
            shares[name, default: Share()].cpuNanoseconds += share.cpuNanoseconds
            shares[name, default: Share()].contextSwitches += share.contextSwitches
        }
        let pages = readFile(directory + "/statm")?.split(separator: " ").dropFirst().first.flatMap { Int($0) }
        self.shares = shares
        self.threadUse = threadUse
        threads = tasks.count
        residentBytes = (pages ?? 0) * Int(sysconf(Int32(_SC_PAGESIZE)))
    }
}

extension ProcessUsage {
    /// What each thread whose name begins so has used since `earlier`, in cores over `seconds`.
    func cores(ofThreads prefix: String, since earlier: ProcessUsage, seconds: Double) -> [Double] {
        threadUse.compactMap { id, use in
            guard use.name.hasPrefix(prefix) else { return nil }
            let before = earlier.threadUse[id]?.cpuNanoseconds ?? 0
            return Double(use.cpuNanoseconds - before) / 1e9 / seconds
        }
    }
}

/// Nanoseconds of CPU that nothing has used on the whole machine since its start; nil when the system does not tell.
func machineIdleNanoseconds() -> Double? {
    guard let line = readFile("/proc/stat")?.split(separator: "\n").first else { return nil }
    // cpu, then user, nice, system, idle, iowait…, in ticks.
    let ticks = line.split(separator: " ").dropFirst().compactMap { Double($0) }
    guard ticks.count > 4 else { return nil }
    return (ticks[3] + ticks[4]) * 1e9 / Double(sysconf(Int32(_SC_CLK_TCK)))
}

/// What a process has used of the CPU, with the threads that have ended.
func processCPUNanoseconds(of pid: pid_t) throws -> Int {
    var clock = clockid_t()
    var time = timespec()
    guard clock_getcpuclockid(pid, &clock) == 0, clock_gettime(clock, &time) == 0 else {
        throw BenchError("there is no process \(pid)")
    }
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// What this process's threads have used of the CPU.
func processCPUNanoseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_PROCESS_CPUTIME_ID, &time)
    return time.tv_sec * 1_000_000_000 + time.tv_nsec
}

/// Seconds on the monotonic clock.
func monotonicSeconds() -> Double {
    var time = timespec()
    clock_gettime(CLOCK_MONOTONIC, &time)
    return Double(time.tv_sec) + Double(time.tv_nsec) / 1e9
}

/// The whole of a file; nil when it cannot be read.
func readFile(_ path: String) -> String? {
    let descriptor = open(path, O_RDONLY | O_CLOEXEC)
    guard descriptor >= 0 else { return nil }
    defer { close(descriptor) }
    var bytes: [UInt8] = []
    var chunk = [UInt8](repeating: 0, count: 8192)
    while true {
        let count = read(descriptor, &chunk, chunk.count)
        if count < 0 && errno == EINTR { continue }
        guard count > 0 else { break }
        bytes.append(contentsOf: chunk[..<count])
    }
    return String(decoding: bytes, as: UTF8.self)
}

private func entries(of path: String) -> [String] {
    guard let directory = opendir(path) else { return [] }
    defer { closedir(directory) }
    var names: [String] = []
    while let entry = readdir(directory) {
        let name = withUnsafeBytes(of: &entry.pointee.d_name) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
        if !name.hasPrefix(".") { names.append(name) }
    }
    return names
}
