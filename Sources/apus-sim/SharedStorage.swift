import Bytes
import Glibc

/// Blocks that all engines can read, by name: a directory with a file for each, or the memory of those who share this object.
final class SharedStorage: Sendable {
    /// Past it all are forgotten; a directory is never cleaned up.
    private static let mostInMemory = 1 << 20

    private let path: String?
    private let blocks = Lock<Set<UInt64>>([])

    init(path: String?) {
        self.path = path
        if let path { mkdir(path, 0o777) }
    }

    func put(_ names: [UInt64]) {
        guard let path else {
            blocks.withLock { blocks in
                if blocks.count + names.count > Self.mostInMemory { blocks = [] }
                blocks.formUnion(names)
            }
            return
        }
        for name in names {
            let file = open(Self.file(name, path), O_WRONLY | O_CREAT | O_CLOEXEC, 0o666)
            if file >= 0 { close(file) }
        }
    }

    /// How many of the first of these are there.
    func countOfPrefix(_ names: [UInt64]) -> Int {
        guard let path else {
            return blocks.withLock { blocks in names.prefix { blocks.contains($0) }.count }
        }
        return names.prefix { access(Self.file($0, path), F_OK) == 0 }.count
    }

    private static func file(_ block: UInt64, _ path: String) -> String {
        "\(path)/\(String(block, radix: 16)).kv"
    }
}
