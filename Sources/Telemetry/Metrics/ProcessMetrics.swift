internal import Glibc

extension MetricsRegistry {
    /// What Prometheus' clients tell of their process, under the names that they have agreed on; read from /proc at each rendering.
    package func exposeProcess() {
        computedCounter("process_cpu_seconds_total", help: "Seconds of CPU that the process has used.") {
            ProcessReading.now.map { [Sample(value: $0.cpuSeconds)] } ?? []
        }
        for (name, help, value) in ProcessReading.gauges {
            computedGauge(name, help: help) { ProcessReading.now.flatMap(value).map { [Sample(value: $0)] } ?? [] }
        }
    }
}

/// `/proc/self`, and the limits.
struct ProcessReading {
    var cpuSeconds: Double
    var startTime: Double
    var virtualBytes: Double
    var residentBytes: Double

    typealias Value = @Sendable (ProcessReading) -> Double?

    static let gauges: [(name: String, help: String, value: Value)] = [
        ("process_start_time_seconds", "When the process started, in seconds since 1970.", { $0.startTime }),
        ("process_resident_memory_bytes", "Memory that the process has in RAM.", { $0.residentBytes }),
        ("process_virtual_memory_bytes", "Address space of the process.", { $0.virtualBytes }),
        ("process_open_fds", "Descriptors that are open.", { _ in openDescriptors() }),
        ("process_max_fds", "Descriptors that may be open.", { _ in descriptorLimit() }),
    ]

    /// Nil where there is no `/proc`.
    static var now: ProcessReading? {
        guard let text = read("/proc/self/stat"), let bootedAt else { return nil }
        return ProcessReading(stat: text, bootedAt: bootedAt)
    }

    /// - Parameter stat: `/proc/PID/stat`. The program's name, the second field, may hold anything: what counts begins behind its last `)`.
    init?(stat: String, bootedAt: Double) {
        guard let end = stat.lastIndex(of: ")") else { return nil }
        let fields = stat[stat.index(after: end)...].split(separator: " ")
        // The third field is the first here.
        func number(_ field: Int) -> Double? { fields.indices.contains(field - 3) ? Double(fields[field - 3]) : nil }
        let ticks = Double(max(1, sysconf(Int32(_SC_CLK_TCK))))
        guard let user = number(14), let system = number(15), let started = number(22), let virtual = number(23),
            let pages = number(24)
        else { return nil }
        cpuSeconds = (user + system) / ticks
        startTime = bootedAt + started / ticks
        virtualBytes = virtual
        residentBytes = pages * Double(max(1, sysconf(Int32(_SC_PAGESIZE))))
    }

    private static let bootedAt: Double? = {
        let line = read("/proc/stat")?.split(separator: "\n").first { $0.hasPrefix("btime ") }
        return line.flatMap { Double($0.dropFirst(6)) }
    }()

    private static func openDescriptors() -> Double? {
        guard let directory = opendir("/proc/self/fd") else { return nil }
        defer { closedir(directory) }
        // Without `.`, `..` and the one that reads this.
        var count = -3
        while readdir(directory) != nil { count += 1 }
        return Double(count)
    }

    private static func descriptorLimit() -> Double? {
        var limit = rlimit()
        guard getrlimit(__rlimit_resource_t(RLIMIT_NOFILE.rawValue), &limit) == 0 else { return nil }
        return Double(limit.rlim_cur)
    }

    private static func read(_ path: String) -> String? {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC)
        guard descriptor >= 0 else { return nil }
        defer { close(descriptor) }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 16 << 10)
        while bytes.count < 1 << 20 {
            let count = Glibc.read(descriptor, &chunk, chunk.count)
            guard count > 0 else { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
