private import Glibc

/// Reads small files whole.
package enum TextFile {
    package struct Failure: Error, CustomStringConvertible {
        package let description: String
    }

    /// The bytes of a file of at most `limit` bytes; of a larger one the first `limit + 1`, which is for the caller to refuse.
    package static func read(_ path: String, limit: Int = YAMLDocument.sizeLimit) throws(Failure) -> [UInt8] {
        let descriptor = open(path, O_RDONLY | O_CLOEXEC | O_NONBLOCK)
        guard descriptor >= 0 else { throw failure("cannot open") }
        defer { close(descriptor) }
        var status = stat()
        guard fstat(descriptor, &status) == 0 else { throw failure("cannot read") }
        guard status.st_mode & S_IFMT != S_IFDIR else { throw Failure(description: "is a directory") }
        // A pipe or a device could keep its reader waiting for ever; that is also why it is opened without blocking.
        guard status.st_mode & S_IFMT == S_IFREG else { throw Failure(description: "is no regular file") }
        var bytes: [UInt8] = []
        var chunk = [UInt8](repeating: 0, count: 64 << 10)
        while bytes.count <= limit {
            let count = Glibc.read(descriptor, &chunk, min(chunk.count, limit + 1 - bytes.count))
            if count < 0, errno == EINTR { continue }
            guard count >= 0 else { throw failure("cannot read") }
            if count == 0 { break }
            bytes.append(contentsOf: chunk[..<count])
        }
        return bytes
    }

    private static func failure(_ what: String) -> Failure {
        Failure(description: "\(what): \(String(cString: strerror(errno)))")
    }
}
