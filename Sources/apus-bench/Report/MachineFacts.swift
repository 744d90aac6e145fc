import Glibc

/// What a figure depends on besides the program.
struct MachineFacts {
    var cores = sysconf(Int32(_SC_NPROCESSORS_ONLN))
    var model = Self.field("model name", of: "/proc/cpuinfo") ?? "unknown"
    var memoryGiB = Double(sysconf(Int32(_SC_PHYS_PAGES)) * sysconf(Int32(_SC_PAGESIZE))) / 1_073_741_824
    var kernel = Self.kernelRelease
    var system = Self.systemName
    /// Of the last 1, 5 and 15 minutes; before a run on a quiet machine they are near 0.
    var loadAverage = (readFile("/proc/loadavg") ?? "").split(separator: " ").prefix(3).joined(separator: " ")
    var isDebugBuild = Self.isDebug
    /// Of the working directory, where it is this project's.
    var commit = Self.currentCommit

    private static var isDebug: Bool {
        #if DEBUG
            true
        #else
            false
        #endif
    }

    private static var kernelRelease: String {
        var names = utsname()
        guard uname(&names) == 0 else { return "unknown" }
        return withUnsafeBytes(of: &names.release) { String(decoding: $0.prefix { $0 != 0 }, as: UTF8.self) }
    }

    private static var systemName: String {
        let lines = (readFile("/etc/os-release") ?? "").split(separator: "\n")
        let name = lines.first { $0.hasPrefix("PRETTY_NAME=") }?.dropFirst(12)
        return name.map { $0.filter { $0 != "\"" } } ?? "unknown"
    }

    /// The value of a line `name : value`.
    private static func field(_ name: String, of path: String) -> String? {
        for line in (readFile(path) ?? "").split(separator: "\n") where line.hasPrefix(name) {
            guard let colon = line.firstIndex(of: ":") else { continue }
            return String(line[line.index(after: colon)...].drop { $0 == " " })
        }
        return nil
    }

    private static var currentCommit: String? {
        guard access("Sources/apus-bench", F_OK) == 0,
            let pipe = popen("git describe --always --dirty --abbrev=12 --exclude='*' 2>/dev/null", "r")
        else { return nil }
        defer { pclose(pipe) }
        var bytes = [UInt8](repeating: 0, count: 128)
        let count = fread(&bytes, 1, bytes.count, pipe)
        let text = String(decoding: bytes.prefix(count), as: UTF8.self).prefix { !$0.isWhitespace }
        return text.isEmpty ? nil : String(text)
    }
}

/// When a report was begun, and how the machine was then: afterwards its load is that of the report.
struct RunStart {
    let machine = MachineFacts()
    let monotonic = monotonicSeconds()
    private let seconds = time(nil)

    /// `2026-11-21 03:47 UTC`.
    var text: String {
        var seconds = seconds
        var fields = tm()
        gmtime_r(&seconds, &fields)
        var bytes = [UInt8](repeating: 0, count: 64)
        let count = bytes.withUnsafeMutableBytes { buffer in
            buffer.withMemoryRebound(to: CChar.self) {
                strftime($0.baseAddress, $0.count, "%Y-%m-%d %H:%M UTC", &fields)
            }
        }
        return String(decoding: bytes.prefix(count), as: UTF8.self)
    }
}
