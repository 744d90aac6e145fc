import Foundation
import Glibc
import TestSupport
import Testing

@testable import apus

/// The manager's end: a datagram socket, bound to a path or to an abstract name.
private final class ManagerSocket {
    let descriptor: Int32
    let name: String

    init(_ name: String) throws {
        self.name = name
        descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue), 0)
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        var bytes = Array(name.utf8)
        if name.hasPrefix("@") { bytes[0] = 0 }
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: bytes) }
        let length = socklen_t(MemoryLayout<sa_family_t>.size + bytes.count)
        let result = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) { bind(descriptor, $0, length) }
        }
        try #require(result == 0)
        var limit = timeval(tv_sec: 20, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_RCVTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
    }

    deinit { close(descriptor) }

    func next() -> String? {
        var buffer = [UInt8](repeating: 0, count: 256)
        let count = recv(descriptor, &buffer, buffer.count, 0)
        return count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self)
    }

    /// Waits on a thread of its own: whoever is to send may need the one that asks.
    func nextOfAnother() async -> String? {
        let descriptor = descriptor
        return await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var buffer = [UInt8](repeating: 0, count: 256)
                let count = recv(descriptor, &buffer, buffer.count, 0)
                continuation.resume(returning: count < 0 ? nil : String(decoding: buffer[..<count], as: UTF8.self))
            }
        }
    }
}

@Suite("What systemd is told")
struct ServiceManagerTests {
    private func made(_ variables: [String: String]) -> ServiceManager? {
        ServiceManager { variables[$0] }
    }

    @Test("A manager at a path is told the states, one datagram each")
    func path() throws {
        let folder = FileManager.default.temporaryDirectory.appendingPathComponent("apus-\(UUID().uuidString)")
        try FileManager.default.createDirectory(at: folder, withIntermediateDirectories: true)
        defer { try? FileManager.default.removeItem(at: folder) }
        let socket = try ManagerSocket(folder.appendingPathComponent("n").path)
        let manager = try #require(made(["NOTIFY_SOCKET": socket.name]))
        #expect(manager.tell(.ready))
        #expect(manager.tell(.stopping))
        #expect(socket.next() == "READY=1")
        #expect(socket.next() == "STOPPING=1")
    }

    @Test("A manager with an abstract name is told as well")
    func abstractName() throws {
        let socket = try ManagerSocket("@apus-\(UUID().uuidString)")
        let manager = try #require(made(["NOTIFY_SOCKET": socket.name]))
        #expect(manager.tell(.ready))
        #expect(socket.next() == "READY=1")
    }

    @Test("Without a socket, or with an address of another kind, nobody is told")
    func nobody() {
        #expect(made([:]) == nil)
        for address in ["", "/", "@", "relative", "vsock:2:1", "/" + String(repeating: "x", count: 107)] {
            #expect(made(["NOTIFY_SOCKET": address]) == nil, "\(address)")
        }
    }

    @Test("A manager that is gone costs nothing but the answer")
    func gone() throws {
        let manager = try #require(made(["NOTIFY_SOCKET": "@apus-\(UUID().uuidString)"]))
        #expect(!manager.tell(.ready))
    }

    @Test("Signs of life are given to a manager that waits for ours")
    func watchdog() async throws {
        let socket = try ManagerSocket("@apus-\(UUID().uuidString)")
        var variables = ["NOTIFY_SOCKET": socket.name, "WATCHDOG_USEC": "20000", "WATCHDOG_PID": "\(getpid())"]
        let waiting = try #require(made(variables))
        #expect(waiting.watchdogTimeout == .milliseconds(20))
        let task = Task { await waiting.giveSignsOfLife() }
        #expect(await socket.nextOfAnother() == "WATCHDOG=1")
        #expect(await socket.nextOfAnother() == "WATCHDOG=1")
        task.cancel()
        await task.value

        variables["WATCHDOG_PID"] = "1"
        #expect(try #require(made(variables)).watchdogTimeout == nil)
        variables["WATCHDOG_USEC"] = "soon"
        variables["WATCHDOG_PID"] = nil
        #expect(try #require(made(variables)).watchdogTimeout == nil)
    }
}
