internal import Bytes

/// Waiting requests that have a time to live of their own, the earliest end first.
///
/// Those that left stay until they come to the top or half of all have left, so that its size is bounded by what waits.
struct ExpiryHeap {
    private var entries: [(at: MonotonicTime, request: QueuedRequest)] = []
    private var sizeAfterSweep = 0

    mutating func insert(_ request: QueuedRequest, at time: MonotonicTime) {
        if entries.count >= 2 * sizeAfterSweep + 64 { sweep() }
        entries.append((time, request))
        var place = entries.count - 1
        while place > 0, entries[place].at < entries[(place - 1) / 2].at {
            entries.swapAt(place, (place - 1) / 2)
            place = (place - 1) / 2
        }
    }

    /// The one that ends first of those that still wait.
    mutating func first() -> (at: MonotonicTime, request: QueuedRequest)? {
        while let first = entries.first {
            if first.request.outcome == nil { return first }
            removeFirst()
        }
        return nil
    }

    mutating func removeAll() {
        entries = []
        sizeAfterSweep = 0
    }

    var count: Int { entries.count }

    private mutating func removeFirst() {
        let last = entries.removeLast()
        guard !entries.isEmpty else { return }
        entries[0] = last
        siftDown(from: 0)
    }

    private mutating func siftDown(from start: Int) {
        var place = start
        while true {
            var least = place
            for child in [2 * place + 1, 2 * place + 2]
            where child < entries.count && entries[child].at < entries[least].at {
                least = child
            }
            guard least != place else { return }
            entries.swapAt(place, least)
            place = least
        }
    }

    private mutating func sweep() {
        entries.removeAll { $0.request.outcome != nil }
        sizeAfterSweep = entries.count
        for place in stride(from: entries.count / 2 - 1, through: 0, by: -1) { siftDown(from: place) }
    }
}
