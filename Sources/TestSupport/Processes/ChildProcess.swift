import Bytes
import Foundation
import Glibc

/// A program that a test runs: its output is collected and can be awaited line by line, and it is gone when the object is
/// released, when the test process ends, and when the test process is killed.
package final class ChildProcess: Sendable {
    /// How a process ended.
    package enum ExitStatus: Sendable, Equatable {
        case exited(Int32)
        /// Ended by this signal.
        case signalled(Int32)
    }

    private let core: Core

    /// Starts a program. `environment` is added to this process' own.
    package init(_ executable: String, _ arguments: [String] = [], environment: [String: String] = [:]) throws {
        core = try Core([executable] + arguments, environment: environment)
    }

    deinit {
        core.send(SIGKILL)
    }

    package var pid: Int32 { core.pid }

    /// Standard output and standard error so far, mixed; the last two megabytes of them.
    package var output: String { core.output }

    package var isRunning: Bool { core.status == nil }

    /// The first line, of those written so far and from now on, that `matches` likes. Fails with the output when the
    /// program ends before, or when it takes too long.
    package func waitForLine(
        within limit: Duration = .seconds(60),
        where matches: @escaping @Sendable (String) -> Bool
    ) async throws -> String {
        try await withDeadline(limit, "a line", of: core) { try await self.core.line(where: matches) }
    }

    /// The first line that contains `text`.
    package func waitForLine(containing text: String, within limit: Duration = .seconds(60)) async throws -> String {
        try await withDeadline(limit, "a line with \"\(text)\"", of: core) {
            try await self.core.line { $0.contains(text) }
        }
    }

    /// Waits for the program's own end.
    @discardableResult
    package func waitForExit(within limit: Duration = .seconds(60)) async throws -> ExitStatus {
        try await withDeadline(limit, "the end", of: core) { try await self.core.exit() }
    }

    /// Sends a signal; nothing when the program has ended.
    package func send(signal: Int32) { core.send(signal) }

    /// Asks the program to end (SIGTERM) and waits for it; kills it when that takes too long.
    @discardableResult
    package func terminate(within limit: Duration = .seconds(30)) async throws -> ExitStatus {
        core.send(SIGTERM)
        do {
            return try await waitForExit(within: limit)
        } catch {
            core.send(SIGKILL)
            throw error
        }
    }

    /// Ends the program as a crash would (SIGKILL) and waits until it is gone.
    package func kill() async throws {
        core.send(SIGKILL)
        try await waitForExit()
    }

    private func withDeadline<Value: Sendable>(
        _ limit: Duration,
        _ what: String,
        of core: Core,
        _ body: @escaping @Sendable () async throws -> Value
    ) async throws -> Value {
        try await withThrowingTaskGroup(of: Value?.self) { group in
            group.addTask { try await body() }
            group.addTask {
                try await Task.sleep(for: limit)
                return nil
            }
            defer { group.cancelAll() }
            if let value = try await group.next() ?? nil { return value }
            throw TestFailure("\(core.name): \(what) did not come within \(limit). Its output:\n\(core.output)")
        }
    }
}

/// What the threads of a child process hold on to: its state, shared by the reader of its output, the one that waits for
/// its end, and the tests that wait for either.
private final class Core: Sendable {
    private struct State {
        var text: [UInt8] = []
        var outputEnded = false
        var status: ChildProcess.ExitStatus?
        var nextWaiter = 0
        var lineWaiters: [Int: LineWaiter] = [:]
        var exitWaiters: [Int: CheckedContinuation<ChildProcess.ExitStatus, any Error>] = [:]
    }

    private struct LineWaiter {
        let matches: @Sendable (String) -> Bool
        /// Up to here the output has been searched.
        var searched: Int
        let continuation: CheckedContinuation<String, any Error>
    }

    private static let outputLimit = 2 << 20

    let pid: pid_t
    let name: String
    private let state = Lock(State())
    private let outputEnd = DispatchSemaphore(value: 0)

    init(_ arguments: [String], environment: [String: String]) throws {
        var ends: [Int32] = [0, 0]
        guard pipe(&ends) == 0 else { throw TestFailure("no pipe: \(String(cString: strerror(errno)))") }
        let (reader, writer) = (ends[0], ends[1])
        _ = fcntl(reader, F_SETFD, FD_CLOEXEC)
        _ = fcntl(writer, F_SETFD, FD_CLOEXEC)
        defer { close(writer) }
        name = String(arguments[0].split(separator: "/").last ?? "")
        let merged = ProcessInfo.processInfo.environment.merging(environment) { $1 }
        do {
            pid = try Spawning.start(arguments, environment: merged.map { "\($0)=\($1)" }, output: writer)
        } catch {
            close(reader)
            throw error
        }
        Thread.detachNewThread { [self] in read(reader) }
        Thread.detachNewThread { [self] in reapAtEnd() }
    }

    var output: String { state.withLock { String(decoding: $0.text, as: UTF8.self) } }
    var status: ChildProcess.ExitStatus? { state.withLock { $0.status } }

    /// To the process alone, or to its whole group when it is to be killed: it may have started others.
    func send(_ signal: Int32) {
        state.withLock { state in
            guard state.status == nil else { return }
            Glibc.kill(signal == SIGKILL ? -pid : pid, signal)
        }
    }

    func line(where matches: @escaping @Sendable (String) -> Bool) async throws -> String {
        let number = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                state.withLock { state in
                    if Task.isCancelled { return continuation.resume(throwing: CancellationError()) }
                    let waiter = LineWaiter(matches: matches, searched: 0, continuation: continuation)
                    state.lineWaiters[number] = waiter
                    serveLineWaiters(&state)
                }
            }
        } onCancel: {
            let waiter = state.withLock { $0.lineWaiters.removeValue(forKey: number) }
            waiter?.continuation.resume(throwing: CancellationError())
        }
    }

    func exit() async throws -> ChildProcess.ExitStatus {
        let number = state.withLock { state in
            state.nextWaiter += 1
            return state.nextWaiter
        }
        return try await withTaskCancellationHandler {
            try await withCheckedThrowingContinuation { continuation in
                state.withLock { state in
                    if let status = state.status {
                        continuation.resume(returning: status)
                    } else if Task.isCancelled {
                        continuation.resume(throwing: CancellationError())
                    } else {
                        state.exitWaiters[number] = continuation
                    }
                }
            }
        } onCancel: {
            let waiter = state.withLock { $0.exitWaiters.removeValue(forKey: number) }
            waiter?.resume(throwing: CancellationError())
        }
    }

    /// Looks at the lines that are complete, and at the last one too once there will be no more.
    private func serveLineWaiters(_ state: inout State) {
        for (number, var waiter) in state.lineWaiters {
            var found: String?
            while found == nil {
                let rest = state.text[min(waiter.searched, state.text.count)...]
                let end = rest.firstIndex(of: UInt8(ascii: "\n")) ?? (state.outputEnded ? rest.endIndex : nil)
                guard let end, !rest.isEmpty else { break }
                let line = String(decoding: rest[..<end], as: UTF8.self)
                if waiter.matches(line) { found = line }
                waiter.searched = end + 1
            }
            if let found {
                state.lineWaiters[number] = nil
                waiter.continuation.resume(returning: found)
            } else if state.outputEnded {
                state.lineWaiters[number] = nil
                let text = String(decoding: state.text, as: UTF8.self)
                waiter.continuation.resume(
                    throwing: TestFailure("\(name) ended before the expected line. Its output:\n\(text)")
                )
            } else {
                state.lineWaiters[number] = waiter
            }
        }
    }

    private func read(_ reader: Int32) {
        var buffer = [UInt8](repeating: 0, count: 65_536)
        while true {
            let count = Glibc.read(reader, &buffer, buffer.count)
            if count < 0, errno == EINTR { continue }
            state.withLock { state in
                if count > 0 {
                    state.text.append(contentsOf: buffer[..<count])
                    forgetOldOutput(&state)
                } else {
                    state.outputEnded = true
                }
                serveLineWaiters(&state)
            }
            if count <= 0 { break }
        }
        close(reader)
        outputEnd.signal()
    }

    private func forgetOldOutput(_ state: inout State) {
        guard state.text.count > 2 * Self.outputLimit else { return }
        let removed = state.text.count - Self.outputLimit
        state.text.removeFirst(removed)
        for (number, waiter) in state.lineWaiters {
            state.lineWaiters[number]?.searched = max(0, waiter.searched - removed)
        }
    }

    private func reapAtEnd() {
        Spawning.awaitEnd(pid)
        // Who has waited for its end reads all that it said. A program that it started may keep the output open for longer.
        _ = outputEnd.wait(timeout: .now() + 1)
        let waiters = state.withLock { state in
            // Under the lock, so that nobody sends a signal to a number that may be another process' by then.
            let status: ChildProcess.ExitStatus =
                switch Spawning.reap(pid) {
                case .exited(let code): .exited(code)
                case .signalled(let signal): .signalled(signal)
                }
            state.status = status
            defer { state.exitWaiters = [:] }
            return state.exitWaiters.values.map { ($0, status) }
        }
        for (waiter, status) in waiters { waiter.resume(returning: status) }
    }
}
