private import Glibc

/// A file that only this process can open, for libraries that want a path where there are only bytes. It is gone with the object.
final class UnnamedFile: Sendable {
    // Set once, closed at the end.
    nonisolated(unsafe) private let file: UnsafeMutablePointer<FILE>

    /// Nil when there is no room for it.
    init?(_ bytes: [UInt8]) {
        guard let file = tmpfile() else { return nil }
        self.file = file
        guard fwrite(bytes, 1, bytes.count, file) == bytes.count, fflush(file) == 0 else { return nil }
    }

    deinit { fclose(file) }

    var path: String { "/proc/self/fd/\(fileno(file))" }
}
