/// When requests of an open loop are due: evenly from the start, whatever becomes of those before.
struct OpenSchedule {
    let start: Double
    let rate: Double
    /// How many there are.
    let count: Int
    private(set) var taken = 0

    init(start: Double, rate: Double, seconds: Double, limit: Int = .max) {
        self.start = start
        self.rate = rate
        count = min(limit, max(1, Int((rate * seconds).rounded())))
    }

    var isOver: Bool { taken == count }
    /// When the next request is due; nil after the last.
    var next: Double? { isOver ? nil : start + Double(taken) / rate }
    /// When the last one is due.
    var end: Double { start + Double(count - 1) / rate }

    /// The due time of the next request if it has come by `now`.
    mutating func takeDue(at now: Double) -> Double? {
        guard let next, next <= now else { return nil }
        taken += 1
        return next
    }
}
