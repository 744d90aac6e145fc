/// When each running request makes its next step; the earliest first, and in the order of their admission among equals.
struct TimerHeap: Sendable {
    struct Timer: Sendable {
        let nanoseconds: UInt64
        let order: Int
        let request: Int
        /// A request that was preempted or aborted leaves its timers behind; they are told by their number.
        let epoch: Int

        func isBefore(_ other: Timer) -> Bool {
            nanoseconds != other.nanoseconds ? nanoseconds < other.nanoseconds : order < other.order
        }
    }

    private var timers: [Timer] = []

    var first: Timer? { timers.first }
    var count: Int { timers.count }

    mutating func insert(_ timer: Timer) {
        timers.append(timer)
        var child = timers.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard timers[child].isBefore(timers[parent]) else { return }
            timers.swapAt(child, parent)
            child = parent
        }
    }

    @discardableResult
    mutating func removeFirst() -> Timer? {
        guard let last = timers.popLast() else { return nil }
        guard let first = timers.first else { return last }
        timers[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < timers.count else { return first }
            if child + 1 < timers.count, timers[child + 1].isBefore(timers[child]) { child += 1 }
            guard timers[child].isBefore(timers[parent]) else { return first }
            timers.swapAt(child, parent)
            parent = child
        }
    }
}
