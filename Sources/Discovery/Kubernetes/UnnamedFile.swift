private import Glibc

/// A file that only this process can open, for libraries that want a path where there are only bytes. It is gone with the object.
final class UnnamedFile: Sendable {
    private let descriptor: Int32

    /// Nil when there is no room for it. Shared memory comes first: it is there where the disk may not be written to.
    init?(_ bytes: [UInt8]) {
        let found = ["/dev/shm", "/tmp"].lazy.map { Self.open(in: $0) }.first { $0 >= 0 }
        guard let found else { return nil }
        descriptor = found
        var rest = bytes[...]
        while !rest.isEmpty {
            let count = rest.withUnsafeBytes { write(found, $0.baseAddress, $0.count) }
            if count < 0, errno == EINTR { continue }
            guard count > 0 else { return nil }
            rest = rest.dropFirst(count)
        }
    }

    private static func open(in folder: String) -> Int32 {
        var path = Array("\(folder)/apus-XXXXXX".utf8CString)
        let descriptor = mkstemp(&path)
        guard descriptor >= 0 else { return -1 }
        unlink(path)
        _ = fcntl(descriptor, F_SETFD, FD_CLOEXEC)
        return descriptor
    }

    deinit { close(descriptor) }

    var path: String { "/proc/self/fd/\(descriptor)" }
}
