import Bytes

/// `grpc.health.v1.Health`: Check, List and Watch over a table of services.
///
/// The empty name stands for the whole server. A new service answers for nothing: set "" at least.
package final class HealthService: Sendable {
    package enum ServingStatus: UInt8, Sendable {
        case unknown = 0
        case serving = 1
        case notServing = 2
        /// Only ever sent by Watch, for a name that nobody has set.
        case serviceUnknown = 3
    }

    private struct State {
        var statuses: [String: ServingStatus] = [:]
        var watchers: [Int: Watcher] = [:]
        var nextWatcher = 0
        var isShutDown = false
    }

    private struct Watcher {
        let service: String
        let changes: AsyncStream<ServingStatus>.Continuation
    }

    private let answersAnyService: Bool
    private let state = Lock(State())

    /// With `answersAnyService` a name that was not set gets the status of "", as kubelet and proxies ask for names of
    /// their own choice; otherwise it is NOT_FOUND.
    package init(answersAnyService: Bool = false) {
        self.answersAnyService = answersAnyService
    }

    // MARK: The table

    /// Sets the status of a service and tells its watchers. Without effect after `shutdown`.
    package func set(service: String, _ status: ServingStatus) {
        state.withLock { state in
            guard !state.isShutDown else { return }
            state.statuses[service] = status
            notify(&state)
        }
    }

    /// The status of a service; nil for one that is not known.
    package func status(of service: String) -> ServingStatus? {
        state.withLock { status(of: service, $0) }
    }

    /// Everything becomes NOT_SERVING for good, and the watchers' streams end with UNAVAILABLE, so that they do not hold
    /// up the server's shutdown.
    package func shutdown() {
        state.withLock { state in
            guard !state.isShutDown else { return }
            state.isShutDown = true
            for service in state.statuses.keys { state.statuses[service] = .notServing }
            notify(&state)
            for watcher in state.watchers.values { watcher.changes.finish() }
            state.watchers = [:]
        }
    }

    private func status(of service: String, _ state: borrowing State) -> ServingStatus? {
        state.statuses[service] ?? (answersAnyService ? state.statuses[""] : nil)
    }

    private func notify(_ state: inout State) {
        for watcher in state.watchers.values {
            watcher.changes.yield(status(of: watcher.service, state) ?? .serviceUnknown)
        }
    }

    // MARK: Methods

    /// The service's methods, to be merged into a server's.
    package func handlers() -> [String: Handler] {
        [
            "/grpc.health.v1.Health/Check": { await self.check($0) },
            "/grpc.health.v1.Health/List": { await self.list($0) },
            "/grpc.health.v1.Health/Watch": { await self.watch($0) },
        ]
    }

    private func check(_ call: ServerCall) async -> RPCStatus {
        do throws(RPCError) {
            let service = try await receiveService(call)
            guard let status = status(of: service) else {
                return RPCStatus(code: .notFound, message: "unknown service")
            }
            try await call.send(HealthMessages.encodeResponse(status))
            return .ok
        } catch {
            return error.status
        }
    }

    private func list(_ call: ServerCall) async -> RPCStatus {
        do throws(RPCError) {
            guard try await call.receive() != nil else { throw Self.noRequest }
            let statuses = state.withLock { $0.statuses.sorted { $0.key < $1.key } }
            try await call.send(HealthMessages.encodeList(statuses.map { (service: $0.key, status: $0.value) }))
            return .ok
        } catch {
            return error.status
        }
    }

    /// The status now and after each change; a watcher that reads slowly sees the newest only.
    private func watch(_ call: ServerCall) async -> RPCStatus {
        do throws(RPCError) {
            let service = try await receiveService(call)
            let (changes, continuation) = AsyncStream.makeStream(
                of: ServingStatus.self,
                bufferingPolicy: .bufferingNewest(1)
            )
            let id = state.withLock { state in
                continuation.yield(status(of: service, state) ?? .serviceUnknown)
                if state.isShutDown { continuation.finish() }
                state.nextWatcher += 1
                state.watchers[state.nextWatcher] = Watcher(service: service, changes: continuation)
                return state.nextWatcher
            }
            defer { state.withLock { _ = $0.watchers.removeValue(forKey: id) } }

            var last: ServingStatus?
            for await status in changes where status != last {
                try await call.send(HealthMessages.encodeResponse(status))
                last = status
            }
            return call.isCancelled
                ? RPCStatus(code: .cancelled, message: "the watcher left")
                : RPCStatus(code: .unavailable, message: "the server is shutting down")
        } catch {
            return error.status
        }
    }

    private static let noRequest = RPCError(code: .invalidArgument, message: "no request message")

    private func receiveService(_ call: ServerCall) async throws(RPCError) -> String {
        guard let message = try await call.receive() else { throw Self.noRequest }
        guard let service = HealthMessages.decodeRequest(message.bytes) else {
            throw RPCError(code: .invalidArgument, message: "not a HealthCheckRequest")
        }
        return service
    }
}

extension ServerCall {
    fileprivate func send(_ bytes: [UInt8]) async throws(RPCError) {
        try await send(byteCount: bytes.count) { $0.copyBytes(from: bytes) }
    }
}
