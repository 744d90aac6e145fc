/// What happens when; of what happens at one time, first what was put in first.
struct EventQueue<Occurrence> {
    private struct Entry {
        let time: Double
        let number: Int
        let occurrence: Occurrence

        func isBefore(_ other: Entry) -> Bool { time != other.time ? time < other.time : number < other.number }
    }

    private var entries: [Entry] = []
    private var nextNumber = 0

    var isEmpty: Bool { entries.isEmpty }
    var firstTime: Double? { entries.first?.time }

    mutating func insert(_ occurrence: Occurrence, at time: Double) {
        entries.append(Entry(time: time, number: nextNumber, occurrence: occurrence))
        nextNumber += 1
        var child = entries.count - 1
        while child > 0 {
            let parent = (child - 1) / 2
            guard entries[child].isBefore(entries[parent]) else { return }
            entries.swapAt(child, parent)
            child = parent
        }
    }

    mutating func removeFirst() -> (time: Double, occurrence: Occurrence)? {
        guard let last = entries.popLast() else { return nil }
        guard let first = entries.first else { return (last.time, last.occurrence) }
        entries[0] = last
        var parent = 0
        while true {
            var child = 2 * parent + 1
            guard child < entries.count else { break }
            if child + 1 < entries.count, entries[child + 1].isBefore(entries[child]) { child += 1 }
            guard entries[child].isBefore(entries[parent]) else { break }
            entries.swapAt(child, parent)
            parent = child
        }
        return (first.time, first.occurrence)
    }
}
