import Bytes
import Synchronization
import TestSupport
import Testing

@testable import RPC

/// Runs `body` with a server on a free port of the loopback and shuts it down on every way out.
func withServer<R>(
    _ services: [String: Handler],
    configure: (inout ServerConfiguration) -> Void = { _ in },
    _ body: (Server) async throws -> sending R
) async throws -> sending R {
    var configuration = ServerConfiguration(bindAddress: "127.0.0.1", port: 0)
    configure(&configuration)
    let server = try Server(configuration: configuration, services: services)
    do {
        let result = try await body(server)
        await server.shutdown(grace: .seconds(5))
        return result
    } catch {
        await server.shutdown(grace: .zero)
        throw error
    }
}

/// Sends every message back until the peer is done.
let echoHandler: Handler = { call in
    do throws(RPCError) {
        while let message = try await call.receive() {
            try await call.send(byteCount: message.byteCount) { target in
                message.withUnsafeBytes { target.copyMemory(from: $0) }
            }
        }
        return .ok
    } catch {
        return error.status
    }
}

/// Something that happens once and can be awaited by many.
final class Event<Value: Sendable>: Sendable {
    private struct State {
        var value: Value?
        var waiters: [CheckedContinuation<Value, Never>] = []
    }

    private let state = Lock(State())

    func happen(_ value: Value) {
        let waiters: [CheckedContinuation<Value, Never>] = state.withLock { state in
            if state.value == nil { state.value = value }
            defer { state.waiters = [] }
            return state.waiters
        }
        for waiter in waiters { waiter.resume(returning: value) }
    }

    func value() async -> Value {
        await withCheckedContinuation { continuation in
            let value: Value? = state.withLock { state in
                if state.value == nil { state.waiters.append(continuation) }
                return state.value
            }
            if let value { continuation.resume(returning: value) }
        }
    }
}

/// Awaits cancellation of the current task, like a handler that waits for something which never comes.
func untilCancelled() async {
    let (never, continuation) = AsyncStream.makeStream(of: Void.self)
    for await _ in never {}
    continuation.finish()
}

extension ServerCall {
    func send(_ bytes: [UInt8], moreFollows: Bool = false) async throws(RPCError) {
        try await send(byteCount: bytes.count, moreFollows: moreFollows) { $0.copyBytes(from: bytes) }
    }
}

extension Message {
    var array: [UInt8] { withUnsafeBytes { Array($0) } }
}

/// A number that many tasks count up.
final class Count: Sendable {
    private let storage = Atomic<Int>(0)

    var value: Int { storage.load(ordering: .relaxed) }

    func increment() {
        storage.wrappingAdd(1, ordering: .relaxed)
    }
}
