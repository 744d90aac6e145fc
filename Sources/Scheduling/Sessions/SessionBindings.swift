package import Bytes
internal import Pool

/// Which endpoint each session was given, for the sessions seen latest: bounded in number and in time. Safe to use from any thread.
package final class SessionBindings: Sendable {
    package static let defaultCapacity = 65_536

    private struct Binding {
        /// The endpoint's `number`.
        var endpoint: Int
        var seenAt: MonotonicTime
        /// Counts uses, so that a binding's place in the order of use can be told from its earlier places.
        var use: UInt64
    }

    private struct State {
        var bindings: [String: Binding] = [:]
        /// How many sessions each endpoint has, by its number.
        var sessions: [Int: Int] = [:]
        /// Uses, the oldest first, from `head` on; those that a later use of the same session made void included.
        var order: [(session: String, use: UInt64)] = []
        var head = 0
        var uses: UInt64 = 0
    }

    package let capacity: Int
    package let timeToLive: Duration
    private let state = Lock(State())

    package init(capacity: Int = defaultCapacity, timeToLive: Duration) {
        self.capacity = max(1, capacity)
        self.timeToLive = timeToLive
    }

    package var count: Int { state.withLock { $0.bindings.count } }

    /// The number of the session's endpoint; nil when it has none.
    package func endpoint(of session: String, at now: MonotonicTime) -> Int? {
        state.withLock { state in
            guard let binding = state.bindings[session], now.elapsed(since: binding.seenAt) <= timeToLive else {
                return nil
            }
            return binding.endpoint
        }
    }

    /// How many sessions each candidate has, by position.
    func sessionCounts(_ candidates: Candidates) -> [Int] {
        state.withLock { state in
            candidates.list.indices.map { state.sessions[candidates.endpoint($0).number] ?? 0 }
        }
    }

    /// Gives the session to an endpoint, or keeps it there.
    package func bind(_ session: String, to endpoint: Int, at now: MonotonicTime) {
        state.withLock { state in
            state.uses += 1
            let fresh = Binding(endpoint: endpoint, seenAt: now, use: state.uses)
            let earlier = state.bindings.updateValue(fresh, forKey: session)
            if earlier?.endpoint != endpoint {
                if let earlier { Self.leave(earlier.endpoint, &state) }
                state.sessions[endpoint, default: 0] += 1
            }
            state.order.append((session, state.uses))
            evict(&state, now)
        }
    }

    /// Makes this what `other` is. More than there is room for goes with the next binding.
    func copy(_ other: SessionBindings) {
        let known = other.state.withLock { $0 }
        state.withLock { $0 = known }
    }

    private func evict(_ state: inout State, _ now: MonotonicTime) {
        while state.head < state.order.count {
            let oldest = state.order[state.head]
            if let binding = state.bindings[oldest.session], binding.use == oldest.use {
                let isExpired = now.elapsed(since: binding.seenAt) > timeToLive
                guard isExpired || state.bindings.count > capacity else { break }
                state.bindings[oldest.session] = nil
                Self.leave(binding.endpoint, &state)
            }
            state.head += 1
        }
        // Void uses would pile up behind a session that is used all the time but for the oldest one's sake stays in front.
        if state.order.count - state.head > 2 * state.bindings.count + 64 || state.head > state.order.count / 2 {
            let bindings = state.bindings
            state.order = state.order[state.head...].filter { bindings[$0.session]?.use == $0.use }
            state.head = 0
        }
    }

    private static func leave(_ endpoint: Int, _ state: inout State) {
        let left = (state.sessions[endpoint] ?? 0) - 1
        state.sessions[endpoint] = left > 0 ? left : nil
    }
}
