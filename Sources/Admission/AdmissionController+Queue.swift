internal import Bytes
internal import Pool

// What happens under the lock. Whose wait has ended is woken by the caller, without the lock.
extension AdmissionController {
    /// Rounding must not make a full pool look as if it had room.
    private static let tolerance = 1e-9

    // MARK: The pool

    /// Brings the saturation up to date, and notes when the pool's endpoints come or go.
    func update(_ state: inout State, at now: MonotonicTime) {
        state.saturation.update(pool, at: now)
        if state.saturation.isEmpty != state.isPoolEmpty {
            state.isPoolEmpty = state.saturation.isEmpty
            // Another time to live counts from here on, and it begins anew.
            state.regimeSince = now
            setAlarm(&state)
        }
    }

    private func hasRoom(_ state: borrowing State, _ flowControl: FlowControlSettings, priority: Int) -> Bool {
        !state.isPoolEmpty
            && state.saturation.value < flowControl.usageLimit.ceiling(priority: priority) - Self.tolerance
    }

    // MARK: In

    enum Entry {
        /// The grant is counted.
        case admitted
        case queued(QueuedRequest)
        case refused(AdmissionOutcome)
    }

    func enqueue(
        _ request: AdmissionRequest,
        at now: MonotonicTime,
        _ state: inout State,
        _ wakes: inout Wakes
    ) -> Entry {
        guard let flowControl = state.settings.flowControl else {
            state.saturation.grant(tokens: request.tokens)
            return .admitted
        }
        update(&state, at: now)
        // Whoever waits at this priority or a higher one was here before.
        let isFirst = state.bands.first.map { $0.priority < request.priority } ?? true
        if isFirst, hasRoom(state, flowControl, priority: request.priority) {
            state.saturation.grant(tokens: request.tokens)
            return .admitted
        }
        if state.isDraining { return .refused(.refusedByShutdown) }
        guard makeRoom(for: request, flowControl, &state, &wakes) else {
            return .refused(state.isPoolEmpty ? .noEndpoints : .queueFull)
        }
        state.nextNumber += 1
        let queued = QueuedRequest(request, number: state.nextNumber, queuedAt: now)
        queued.key = key(of: queued, flowControl)
        insert(queued, flowControl, &state)
        dispatch(&state, at: now, &wakes)
        if queued.outcome == nil {
            setAlarm(&state)
            callBack(&state, &wakes)
        }
        return .queued(queued)
    }

    func key(of queued: QueuedRequest, _ flowControl: FlowControlSettings) -> UInt64 {
        let settings = flowControl.band(of: queued.request.priority)
        let timeToLive = queued.request.timeToLive ?? flowControl.requestTTL
        let expiresAt = timeToLive.map { queued.queuedAt + $0 }
        return settings.ordering.key(of: queued.request, queuedAt: queued.queuedAt, expiresAt: expiresAt)
    }

    /// Frees what the request needs of the queue's capacity; false when that cannot be.
    ///
    /// A full band refuses. When the queue as a whole is full, sheddable requests of a lower priority give way: the lowest priority first, and
    /// in it the one that came last. Nobody is displaced for a request that would not fit even then.
    private func makeRoom(
        for request: AdmissionRequest,
        _ flowControl: FlowControlSettings,
        _ state: inout State,
        _ wakes: inout Wakes
    ) -> Bool {
        let settings = flowControl.band(of: request.priority)
        let band = state.bands.first { $0.priority == request.priority }
        let bandBytes = (band?.byteCount ?? 0) + request.byteCount
        guard (band?.count ?? 0) < settings.maxRequests, bandBytes <= settings.maxBytes else { return false }

        var excessRequests = flowControl.maxRequests.map { state.requestCount + 1 - $0 } ?? 0
        var excessBytes = flowControl.maxBytes.map { state.byteCount + request.byteCount - $0 } ?? 0
        if excessRequests <= 0, excessBytes <= 0 { return true }

        let ceding = state.bands.filter { $0.priority < min(0, request.priority) }
        guard excessRequests <= ceding.reduce(0, { $0 + $1.count }),
            excessBytes <= ceding.reduce(0, { $0 + $1.byteCount })
        else { return false }
        while excessRequests > 0 || excessBytes > 0, let last = state.bands.last?.arrivals.last {
            remove(last, .displaced, &state, &wakes)
            excessRequests -= 1
            excessBytes -= last.request.byteCount
        }
        return true
    }

    func insert(_ request: QueuedRequest, _ flowControl: FlowControlSettings, _ state: inout State) {
        let priority = request.request.priority
        let index = state.bands.firstIndex { $0.priority <= priority } ?? state.bands.endIndex
        if index == state.bands.endIndex || state.bands[index].priority != priority {
            state.bands.insert(Band(priority: priority, settings: flowControl.band(of: priority)), at: index)
        }
        state.bands[index].append(request)
        if let timeToLive = request.request.timeToLive {
            state.ownExpiries.insert(request, at: request.queuedAt + timeToLive)
        }
        state.requestCount += 1
        state.byteCount += request.request.byteCount
    }

    // MARK: Out

    /// Lets go as many as there is room for: the highest priority first, and nobody before one of a higher priority that must wait.
    func dispatch(_ state: inout State, at now: MonotonicTime, _ wakes: inout Wakes) {
        guard state.requestCount > 0, let flowControl = state.settings.flowControl else { return }
        update(&state, at: now)
        guard let first = state.bands.first, hasRoom(state, flowControl, priority: first.priority) else { return }
        measured {
            while let band = state.bands.first, hasRoom(state, flowControl, priority: band.priority) {
                guard let request = band.popNext() else { break }
                forget(request, bandIndex: 0, &state)
                state.saturation.grant(tokens: request.request.tokens)
                state.pace.dispatched(at: now)
                wakes.end(request, .dispatched)
            }
        }
    }

    func remove(
        _ request: QueuedRequest,
        _ outcome: AdmissionOutcome,
        _ state: inout State,
        _ wakes: inout Wakes
    ) {
        wakes.end(request, outcome)
        guard let index = state.bands.firstIndex(where: { $0.priority == request.request.priority }) else { return }
        state.bands[index].remove(request)
        forget(request, bandIndex: index, &state)
    }

    /// Counts a request out that its band has let go.
    private func forget(_ request: QueuedRequest, bandIndex: Int, _ state: inout State) {
        state.requestCount -= 1
        state.byteCount -= request.request.byteCount
        if state.bands[bandIndex].isEmpty { state.bands.remove(at: bandIndex) }
    }

    /// Empties the queue, by arrival.
    func takeAll(_ state: inout State) -> [QueuedRequest] {
        var requests: [QueuedRequest] = []
        for band in state.bands { band.arrivals.forEach { requests.append($0) } }
        state.bands = []
        state.ownExpiries.removeAll()
        state.requestCount = 0
        state.byteCount = 0
        setAlarm(&state)
        return requests.sorted { $0.number < $1.number }
    }

    // MARK: Time

    /// How long the pool's state lets requests wait, and from when on that is counted.
    private func expiry(of request: QueuedRequest, _ state: borrowing State) -> MonotonicTime? {
        guard let flowControl = state.settings.flowControl else { return nil }
        let timeToLive = state.isPoolEmpty ? flowControl.noEndpointTTL : flowControl.requestTTL
        return timeToLive.map { max(request.queuedAt, state.regimeSince) + $0 }
    }

    /// All in a band but those with one of their own have the same time to live, so that the oldest expires first.
    func nextExpiry(_ state: inout State) -> MonotonicTime? {
        var next = state.ownExpiries.first()?.at
        for index in state.bands.indices {
            guard let first = state.bands[index].common.first, let expiry = expiry(of: first, state) else { continue }
            next = min(next ?? expiry, expiry)
        }
        return next
    }

    func endExpired(_ state: inout State, at now: MonotonicTime, _ wakes: inout Wakes) {
        for band in state.bands {
            while let first = band.common.first, let expiry = expiry(of: first, state), expiry <= now {
                remove(first, state.isPoolEmpty ? .noEndpointsCame : .expired, &state, &wakes)
            }
        }
        while let (at, request) = state.ownExpiries.first(), at <= now {
            remove(request, state.isPoolEmpty ? .noEndpointsCame : .expired, &state, &wakes)
        }
    }
}
