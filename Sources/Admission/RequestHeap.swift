/// Requests by key and arrival, the first one on top. Each knows its place, so that one that leaves is taken out in logarithmic time.
///
/// Four children per node: half the levels of a binary heap, and the children's keys lie side by side. Arrivals in order cost one comparison.
struct RequestHeap {
    private struct Entry {
        var key: UInt64
        var number: UInt64
        var request: QueuedRequest

        func precedes(_ other: Entry) -> Bool {
            key != other.key ? key < other.key : number < other.number
        }
    }

    private static let arity = 4
    private var entries: [Entry] = []

    var isEmpty: Bool { entries.isEmpty }
    var count: Int { entries.count }

    mutating func insert(_ request: QueuedRequest) {
        let entry = Entry(key: request.key, number: request.number, request: request)
        entries.append(entry)
        siftUp(from: entries.count - 1, entry)
    }

    mutating func popFirst() -> QueuedRequest? {
        guard let first = entries.first?.request else { return nil }
        removeEntry(at: 0)
        return first
    }

    /// False when it is not in here.
    @discardableResult
    mutating func remove(_ request: QueuedRequest) -> Bool {
        let place = request.heapPlace
        guard entries.indices.contains(place), entries[place].request === request else { return false }
        removeEntry(at: place)
        return true
    }

    private mutating func removeEntry(at place: Int) {
        entries[place].request.heapPlace = -1
        let last = entries.removeLast()
        guard place < entries.count else { return }
        if place > 0, last.precedes(entries[(place - 1) / Self.arity]) {
            siftUp(from: place, last)
        } else {
            siftDown(from: place, last)
        }
    }

    private mutating func siftUp(from start: Int, _ entry: Entry) {
        var place = start
        while place > 0 {
            let parent = (place - 1) / Self.arity
            guard entry.precedes(entries[parent]) else { break }
            put(entries[parent], at: place)
            place = parent
        }
        put(entry, at: place)
    }

    private mutating func siftDown(from start: Int, _ entry: Entry) {
        var place = start
        while true {
            let first = place * Self.arity + 1
            guard first < entries.count else { break }
            var least = first
            for child in (first + 1)..<max(first + 1, min(first + Self.arity, entries.count))
            where entries[child].precedes(entries[least]) {
                least = child
            }
            guard entries[least].precedes(entry) else { break }
            put(entries[least], at: place)
            place = least
        }
        put(entry, at: place)
    }

    private mutating func put(_ entry: Entry, at place: Int) {
        entries[place] = entry
        entry.request.heapPlace = place
    }
}
