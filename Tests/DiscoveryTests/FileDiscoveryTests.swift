import Configuration
import Discovery
import Foundation
import Pool
import TestSupport
import Testing

/// What a discovery said: the names it found, with their roles, or the first complaint.
private enum Said: Sendable, Equatable {
    case endpoints([String])
    case rejected(String)
}

extension [Said] {
    /// Whoever writes in place may be caught halfway, so a complaint in between is nobody's mistake.
    fileprivate var accepted: [[String]] {
        compactMap { if case .endpoints(let endpoints) = $0 { endpoints } else { nil } }
    }
}

/// A directory that goes with the test.
private final class Folder: Sendable {
    let url: URL

    init() throws {
        url = FileManager.default.temporaryDirectory.appending(path: "apus-discovery-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: url, withIntermediateDirectories: true)
    }

    deinit {
        try? FileManager.default.removeItem(at: url)
    }

    func path(_ name: String) -> String { url.appending(path: name).path }

    /// Writes in place, so that the file stays the same one.
    func write(_ name: String, _ text: String) throws {
        let handle = try FileHandle(forWritingTo: url.appending(path: name))
        try handle.truncate(atOffset: 0)
        try handle.write(contentsOf: Data(text.utf8))
        try handle.close()
    }

    func create(_ name: String, _ text: String) throws {
        try Data(text.utf8).write(to: url.appending(path: name))
    }

    func rename(_ name: String, over other: String) throws {
        guard Glibc.rename(path(name), path(other)) == 0 else { throw POSIXError(.EIO) }
    }
}

private func list(_ names: [String], role: String = "both") -> String {
    "endpoints: ["
        + names.enumerated()
        .map { "{name: \($1), address: 10.0.0.\($0), port: 80, labels: {role: \(role)}}" }
        .joined(separator: ", ") + "]\n"
}

@Suite("Endpoints from a file", .timeLimit(.minutes(2)))
struct FileDiscoveryTests {
    private let folder: Folder
    private let log = EventLog<Said>()

    init() throws {
        folder = try Folder()
        try folder.create("endpoints.yaml", list(["a"]))
    }

    private func discovery(_ name: String = "endpoints.yaml", watchFile: Bool = true) throws -> FileDiscovery {
        let log = log
        return try FileDiscovery(FileDiscoverySettings(path: folder.path(name), watchFile: watchFile)) { event in
            switch event {
            case .endpoints(let endpoints):
                log.append(.endpoints(endpoints.map { "\($0.name)/\($0.labels["role"] ?? "")" }))
            case .rejected(let diagnostics):
                log.append(.rejected(diagnostics.first?.message ?? ""))
            }
        }
    }

    @Test("The file's endpoints are there when the discovery is")
    func start() throws {
        let discovery = try discovery()
        #expect(log.entries == [.endpoints(["a/both"])])
        discovery.stop()
        discovery.stop()
    }

    @Test("A broken or missing file at the start is an error")
    func brokenStart() throws {
        try folder.create("broken.yaml", "endpoints: [{name: x}]")
        let broken = #expect(throws: FileDiscovery.Failure.self) { try discovery("broken.yaml") }
        #expect(broken?.diagnostics.count == 2)
        let missing = #expect(throws: FileDiscovery.Failure.self) { try discovery("missing.yaml", watchFile: false) }
        #expect(missing?.description.contains("missing.yaml:1:1: error: cannot open") == true)
        #expect(log.entries.isEmpty)
    }

    @Test("A file over a megabyte is an error")
    func tooLarge() throws {
        try folder.create("large.yaml", "#" + String(repeating: "x", count: 1 << 20))
        let failure = #expect(throws: FileDiscovery.Failure.self) { try discovery("large.yaml") }
        #expect(failure?.description.contains("larger than") == true)
    }

    @Test("Endpoints that are added, removed or labelled anew are seen")
    func rewrite() async throws {
        let discovery = try discovery()
        let versions = [
            (list(["a", "b"]), ["a/both", "b/both"]), (list(["b"]), ["b/both"]),
            (list(["b"], role: "decode"), ["b/decode"]),
        ]
        for (text, endpoints) in versions {
            try folder.write("endpoints.yaml", text)
            await log.wait { $0.last == .endpoints(endpoints) }
        }
        #expect(log.entries.accepted == [["a/both"]] + versions.map(\.1))
        discovery.stop()
    }

    @Test("A file that is renamed over is seen, also again and again")
    func renameOver() async throws {
        let discovery = try discovery()
        for name in ["b", "c", "d"] {
            try folder.create("new", list([name]))
            try folder.rename("new", over: "endpoints.yaml")
            await log.wait { $0.last == .endpoints(["\(name)/both"]) }
        }
        discovery.stop()
    }

    @Test("A broken change is rejected, and the next good one counts")
    func brokenChange() async throws {
        let discovery = try discovery()
        try folder.write("endpoints.yaml", "endpoints: [{name: a, address: x, port: 99999}]")
        await log.wait { $0.last == .rejected("key \"port\" must be at most 65535, not 99999") }
        try FileManager.default.removeItem(atPath: folder.path("endpoints.yaml"))
        await log.wait { entries in
            if case .rejected(let message) = entries.last { message.hasPrefix("cannot open") } else { false }
        }
        try folder.create("endpoints.yaml", list(["c"]))
        await log.wait { $0.last == .endpoints(["c/both"]) }
        #expect(log.entries.accepted == [["a/both"], ["c/both"]])
        discovery.stop()
    }

    @Test("Kubernetes' swap of the link ..data is seen")
    func linkSwap() async throws {
        let manager = FileManager.default
        func version(_ number: Int, _ names: [String]) throws {
            try manager.createDirectory(atPath: folder.path("..v\(number)"), withIntermediateDirectories: false)
            try folder.create("..v\(number)/pool.yaml", list(names))
            try manager.createSymbolicLink(atPath: folder.path("..data_tmp"), withDestinationPath: "..v\(number)")
            try folder.rename("..data_tmp", over: "..data")
        }
        try version(1, ["a"])
        try manager.createSymbolicLink(atPath: folder.path("pool.yaml"), withDestinationPath: "..data/pool.yaml")
        let discovery = try discovery("pool.yaml")
        for number in 2...4 {
            try version(number, ["a", "v\(number)"])
            try manager.removeItem(atPath: folder.path("..v\(number - 1)"))
            await log.wait { $0.last == .endpoints(["a/both", "v\(number)/both"]) }
        }
        discovery.stop()
    }

    @Test("A file behind a link into another directory is watched there")
    func linkElsewhere() async throws {
        let other = try Folder()
        try other.create("real.yaml", list(["a"]))
        try FileManager.default.createSymbolicLink(
            atPath: folder.path("link.yaml"),
            withDestinationPath: other.path("real.yaml")
        )
        let discovery = try discovery("link.yaml")
        try other.write("real.yaml", list(["b"]))
        await log.wait { $0.last == .endpoints(["b/both"]) }
        discovery.stop()
    }

    @Test("What happens to other files of the directory is no event, nor is anything when the file is not watched")
    func otherFiles() async throws {
        let watched = try discovery()
        let unwatched = EventLog<Void>()
        let settings = FileDiscoverySettings(path: folder.path("endpoints.yaml"), watchFile: false)
        let fixed = try FileDiscovery(settings) { _ in unwatched.append(()) }
        try folder.create("other", "x")
        try folder.write("endpoints.yaml", list(["b"]))
        await log.wait { $0.last == .endpoints(["b/both"]) }
        #expect(log.entries.accepted == [["a/both"], ["b/both"]])
        #expect(unwatched.entries.count == 1)
        watched.stop()
        fixed.stop()
    }
}
