package import Bytes
package import Pool
private import Synchronization

/// Lets requests in while the pool has room, and makes the others wait for their turn.
///
/// It acts on events only: a request comes, leaves, or has been placed; a reservation is given back; there is a new snapshot of the pool; the
/// alarm rings. Each event takes the lock, brings the saturation up to date and lets go as many requests as there is room for.
///
/// How it never lets in more than that: the saturation is made of what the pool knows, plus the grants that the pool does not know yet. Both
/// change under the lock, and a grant is given up only after the reservation it stood for is in the pool. In between, the request counts
/// twice for a moment, never not at all.
package final class AdmissionController: PoolObserver {
    struct State: ~Copyable {
        var settings: AdmissionSettings
        var saturation: PoolSaturation
        /// Those in which something waits, by falling priority.
        var bands: [Band] = []
        var requestCount = 0
        var byteCount = 0
        /// When those end that have a time to live of their own.
        var ownExpiries = ExpiryHeap()
        var nextNumber: UInt64 = 0
        /// Whether the pool had no endpoint when it was last looked at, and since when that or the opposite is so.
        var isPoolEmpty = false
        var regimeSince: MonotonicTime
        var alarmAt: MonotonicTime?
        var isDraining = false
        var pace = DispatchPace()
        var dispatched = DispatchedRequests()
    }

    let pool: Pool
    let state: Lock<State>
    let clock: @Sendable () -> MonotonicTime
    private let alarm: any AdmissionAlarm
    /// Told, in nanoseconds, how long it took to let requests go after an event.
    private let onCycle: @Sendable (UInt64) -> Void
    private let queueing: Atomic<Bool>

    package init(
        pool: Pool,
        settings: AdmissionSettings,
        alarm: any AdmissionAlarm,
        clock: @escaping @Sendable () -> MonotonicTime,
        onCycle: @escaping @Sendable (UInt64) -> Void = { _ in }
    ) {
        self.pool = pool
        self.alarm = alarm
        self.clock = clock
        self.onCycle = onCycle
        queueing = Atomic(settings.flowControl != nil)
        state = Lock(
            State(settings: settings, saturation: PoolSaturation(settings.detector), regimeSince: clock())
        )
        pool.observe(self)
    }

    // MARK: What is there

    /// Whether flow control is on: without it nothing has to be kept up to date.
    package var isQueueing: Bool { queueing.load(ordering: .acquiring) }

    /// How much waits.
    package var waiting: (requests: Int, bytes: Int) {
        state.withLock { ($0.requestCount, $0.byteCount) }
    }

    /// How full the pool is: 1 is full.
    package var saturation: Double {
        let now = clock()
        return state.withLock { state in
            update(&state, at: now)
            return state.saturation.value
        }
    }

    /// Seconds after which a client that was refused may try again: about how long what waits now will take, 1...60.
    package var retryAfter: Int {
        state.withLock { $0.pace.secondsToDrain($0.requestCount) }
    }

    // MARK: Requests

    /// Lets a request in, refuses it, or queues it.
    ///
    /// - Parameter candidates: where the request may go; asked for only without flow control, for a sheddable request.
    package func admit(_ request: AdmissionRequest, candidates: () -> Candidates) -> Admission {
        guard isQueueing else { return admitAtOnce(request, candidates()) }
        let now = clock()
        var wakes = Wakes()
        let entry = state.withLock { enqueue(request, at: now, &$0, &wakes) }
        wakes.run()
        switch entry {
        case .admitted: return .admitted(AdmissionGrant(self, tokens: request.tokens))
        case .queued(let queued): return .queued(queued)
        case .refused(let outcome): return .refused(outcome)
        }
    }

    /// The rule without flow control. Nobody to go to is not the same as nobody with room: the scheduler says so.
    private func admitAtOnce(_ request: AdmissionRequest, _ candidates: @autoclosure () -> Candidates) -> Admission {
        guard request.isSheddable else { return .admitted(AdmissionGrant(nil, tokens: 0)) }
        let candidates = candidates().preferred
        let now = clock()
        let detector = state.withLock { $0.settings.detector }
        guard !candidates.isEmpty, detector.saturation(of: candidates, at: now) >= 1 else {
            return .admitted(AdmissionGrant(nil, tokens: 0))
        }
        return .refused(.shed)
    }

    /// Waits for the end of a queued request's wait. To be called once per request. When the task is cancelled, the request leaves the queue.
    package func outcome(of queued: QueuedRequest) async -> AdmissionOutcome {
        await withTaskCancellationHandler {
            await withUnsafeContinuation { continuation in
                let known: AdmissionOutcome? = state.withLock { _ in
                    if queued.outcome == nil { queued.continuation = continuation }
                    return queued.outcome
                }
                if let known { continuation.resume(returning: known) }
            }
        } onCancel: {
            leave(queued)
        }
    }

    /// The grant of a queued request whose outcome is `dispatched`. To be called once, for the controller counts the request until the
    /// grant is dropped.
    package func grant(of queued: QueuedRequest) -> AdmissionGrant {
        AdmissionGrant(self, tokens: queued.request.tokens)
    }

    /// Takes a request out of the queue whose client has hung up. Does nothing when its wait is over.
    package func leave(_ queued: QueuedRequest) {
        event { state, now, wakes in
            guard queued.outcome == nil else { return }
            remove(queued, .cancelled, &state, &wakes)
            dispatch(&state, at: now, &wakes)
        }
    }

    /// A grant was given up.
    func settle(tokens: Int) {
        event { state, now, wakes in
            state.saturation.settle(tokens: tokens)
            dispatch(&state, at: now, &wakes)
        }
    }

    // MARK: Other events

    package func loadChanged(of endpoint: Endpoint) {
        guard isQueueing else { return }
        event { state, now, wakes in
            state.saturation.refresh(endpoint)
            dispatch(&state, at: now, &wakes)
        }
    }

    package func snapshotPublished() {
        guard isQueueing else { return }
        event { state, now, wakes in
            state.saturation.invalidate()
            dispatch(&state, at: now, &wakes)
            callBack(&state, &wakes)
        }
    }

    /// Ends the wait of those that have waited for too long. The alarm calls it; calling it more often does no harm.
    package func expire() {
        event { state, now, wakes in
            state.alarmAt = nil
            // What can go at the last moment goes.
            dispatch(&state, at: now, &wakes)
            endExpired(&state, at: now, &wakes)
            setAlarm(&state)
        }
    }

    /// Nothing waits any more from now on: what can go at once goes, the rest is refused.
    package func drain() {
        event { state, _, wakes in
            state.isDraining = true
            for request in takeAll(&state) { wakes.end(request, .shuttingDown) }
        }
    }

    /// Takes other settings. What waits keeps its turn as far as the new policies let it, whatever the new capacity is.
    package func update(settings: AdmissionSettings) {
        event { state, now, wakes in
            state.settings = settings
            queueing.store(settings.flowControl != nil, ordering: .releasing)
            state.saturation.adopt(settings.detector)
            let requests = takeAll(&state)
            guard let flowControl = settings.flowControl else {
                for request in requests {
                    state.saturation.grant(tokens: request.request.tokens)
                    wakes.end(request, .dispatched)
                }
                return
            }
            for request in requests {
                request.key = key(of: request, flowControl)
                insert(request, flowControl, &state)
            }
            dispatch(&state, at: now, &wakes)
            setAlarm(&state)
        }
    }

    // MARK: Events

    private func event(_ body: (inout State, MonotonicTime, inout Wakes) -> Void) {
        let now = clock()
        var wakes = Wakes()
        state.withLock { body(&$0, now, &wakes) }
        wakes.run()
    }

    /// The alarm, under the lock, so that two threads do not set it in the wrong order.
    func setAlarm(_ state: inout State) {
        let next = nextExpiry(&state)
        if let next, let set = state.alarmAt, set <= next { return }
        guard next != nil || state.alarmAt != nil else { return }
        state.alarmAt = next
        alarm.set(next) { [weak self] in self?.expire() }
    }

    func measured(_ body: () -> Void) {
        let start = clock()
        body()
        onCycle(UInt64(max(0, clock().elapsed(since: start).nanoseconds)))
    }
}
