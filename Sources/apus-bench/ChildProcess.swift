import Glibc

/// A program that runs beside the benchmark, its output in a nameless temporary file. It ends with the object, and also when the
/// benchmark is killed.
final class ChildProcess {
    let pid: pid_t
    private let name: String
    private let descriptor: Int32

    /// Starts `path` with `arguments`. Must be called on the main thread: the kernel ends the child with the thread that
    /// started it.
    init(_ path: String, _ arguments: [String]) throws {
        var template = Array("/tmp/apus-bench-XXXXXX".utf8CString)
        let descriptor = template.withUnsafeMutableBufferPointer { $0.baseAddress.map { mkstemp($0) } ?? -1 }
        guard descriptor >= 0 else { throw BenchError("cannot make a temporary file") }
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        // Its name is not needed, and so cannot be left behind.
        _ = template.withUnsafeBufferPointer { $0.baseAddress.map { unlink($0) } }

        // setpriv asks for the death signal and becomes the program: same process, same number.
        let guardian = "/usr/bin/setpriv"
        let words =
            access(guardian, X_OK) == 0
            ? [guardian, "--pdeathsig", "KILL", "--", path] + arguments
            : [path] + arguments

        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, descriptor, 1)
        posix_spawn_file_actions_adddup2(&actions, descriptor, 2)

        var strings = words.map { strdup($0) }
        strings.append(nil)
        defer { for string in strings { free(string) } }
        var child: pid_t = 0
        let code = posix_spawn(&child, words[0], &actions, nil, strings, environ)
        guard code == 0 else {
            close(descriptor)
            throw BenchError("cannot start \(path): \(String(cString: strerror(code)))")
        }
        pid = child
        name = path.split(separator: "/").last.map { String($0) } ?? path
        self.descriptor = descriptor
    }

    deinit {
        kill(pid, SIGTERM)
        var waited = 0
        // Five seconds to end by itself.
        while waitpid(pid, nil, WNOHANG) == 0 {
            if waited == 500 { kill(pid, SIGKILL) }
            usleep(10_000)
            waited += 1
        }
        close(descriptor)
    }

    /// The first megabyte of what it said.
    var output: String {
        let bytes = [UInt8](unsafeUninitializedCapacity: 1 << 20) { buffer, count in
            count = max(0, pread(descriptor, buffer.baseAddress, buffer.count, 0))
        }
        return String(decoding: bytes, as: UTF8.self)
    }

    /// What follows `marker` on `count` lines of the output, each up to the next space; waits for them for so many seconds.
    func wait(for marker: String, count: Int = 1, seconds: Int = 10) throws -> [String] {
        for _ in 0..<seconds * 100 {
            // A line that is still being written does not count.
            let lines = output.split(separator: "\n", omittingEmptySubsequences: false).dropLast()
            let found = lines.compactMap { line in
                line.firstRange(of: marker).map { line[$0.upperBound...].prefix { !$0.isWhitespace && $0 != "\"" } }
            }
            if found.count >= count { return found.prefix(count).map { String($0) } }
            if waitid(P_PID, id_t(pid), nil, WEXITED | WNOHANG | WNOWAIT) == 0, hasEnded { break }
            usleep(10_000)
        }
        throw BenchError("\(name) did not say `\(marker)`; it said:\n\(output.suffix(2000))")
    }

    /// Whether the process has ended (a zombie until `deinit` has waited for it).
    private var hasEnded: Bool {
        guard let text = readFile("/proc/\(pid)/stat"), let end = text.lastIndex(of: ")") else { return true }
        return text[end...].dropFirst(2).first == "Z"
    }
}

/// The path of a program in the directory of this one.
func sibling(_ name: String) -> String {
    var buffer = [CChar](repeating: 0, count: 4096)
    let count = readlink("/proc/self/exe", &buffer, buffer.count)
    let path = String(decoding: buffer.prefix(max(0, count)).map { UInt8(bitPattern: $0) }, as: UTF8.self)
    return path.prefix(upTo: path.lastIndex(of: "/") ?? path.startIndex) + "/" + name
}
