internal import Admission
internal import Bytes

/// Calls exchanges now and then while the decodes that they handed off are silent, with one alarm for all of them.
///
/// Most decodes answer long before they would be looked at, so that being watched costs an entry and no timer.
final class SilenceWatch: Sendable {
    private struct Watched {
        /// When it is called next.
        var next: MonotonicTime
        let limit: MonotonicTime?
        let action: @Sendable () -> Void
    }

    private struct State {
        var watched: [UInt64: Watched] = [:]
        var lastNumber: UInt64 = 0
        var setFor: MonotonicTime?
    }

    /// Between two calls of one.
    static let period = Duration.seconds(1)
    /// The least time between two looks at all: nobody is called later than this.
    static let grain = Duration.milliseconds(10)

    private let state = Lock(State())
    private let alarm: any AdmissionAlarm
    private let now: @Sendable () -> MonotonicTime

    init(alarm: any AdmissionAlarm = TaskAlarm(), now: @escaping @Sendable () -> MonotonicTime = { .now() }) {
        self.alarm = alarm
        self.now = now
    }

    /// Calls `action` every `period`, and once at a certain time, on any thread, until what is returned is dropped.
    ///
    /// - Parameter limit: that time, from now; nil for none.
    func watch(until limit: Duration?, _ action: @escaping @Sendable () -> Void) -> WatchedDecode {
        let now = now()
        let next = now + min(limit ?? Self.period, Self.period)
        let number = state.withLock { state in
            state.lastNumber += 1
            state.watched[state.lastNumber] = Watched(next: next, limit: limit.map { now + $0 }, action: action)
            wake(by: next, &state)
            return state.lastNumber
        }
        return WatchedDecode(self, number)
    }

    /// How many are watched.
    var count: Int { state.withLock { $0.watched.count } }

    fileprivate func forget(_ number: UInt64) {
        // What its action holds is not let go under the lock.
        let watched = state.withLock { $0.watched.removeValue(forKey: number) }
        _ = consume watched
    }

    private func wake(by time: MonotonicTime, _ state: inout State) {
        if let setFor = state.setFor, setFor <= time { return }
        state.setFor = time
        alarm.set(time) { [weak self] in self?.look() }
    }

    private func look() {
        let now = now()
        let due = state.withLock { state in
            var due: [@Sendable () -> Void] = []
            var next: MonotonicTime?
            var index = state.watched.startIndex
            while index != state.watched.endIndex {
                var watched = state.watched.values[index]
                if watched.next <= now {
                    due.append(watched.action)
                    watched.next = now + Self.period
                    if let limit = watched.limit, limit > now { watched.next = min(watched.next, limit) }
                    state.watched.values[index] = watched
                }
                next = min(next ?? watched.next, watched.next)
                state.watched.formIndex(after: &index)
            }
            state.setFor = nil
            if let next { wake(by: max(next, now + Self.grain), &state) }
            return due
        }
        for action in due { action() }
    }
}

/// A decode that is watched until this is dropped.
struct WatchedDecode: ~Copyable {
    private let watch: SilenceWatch
    private let number: UInt64

    fileprivate init(_ watch: SilenceWatch, _ number: UInt64) {
        self.watch = watch
        self.number = number
    }

    deinit {
        watch.forget(number)
    }
}
