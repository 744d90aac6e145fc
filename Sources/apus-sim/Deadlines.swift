import Bytes

/// What a server does later: timeouts, heartbeats, delayed answers.
struct Deadlines {
    typealias Action = @Sendable (inout SimulatedServer.State) -> Void

    private var actions: [Int: (time: MonotonicTime, action: Action)] = [:]
    private var nextNumber = 1
    /// Nothing is due before this; it may be earlier than the first that is.
    private var earliest: MonotonicTime?

    /// When to call `takeDue`; nil when there is nothing to wait for.
    var next: MonotonicTime? { actions.isEmpty ? nil : earliest }

    /// - Returns: a number for `cancel`.
    mutating func add(at time: MonotonicTime, _ action: @escaping Action) -> Int {
        defer { nextNumber += 1 }
        actions[nextNumber] = (time, action)
        earliest = min(earliest ?? time, time)
        return nextNumber
    }

    mutating func cancel(_ number: Int?) {
        guard let number else { return }
        actions[number] = nil
        if actions.isEmpty { earliest = nil }
    }

    mutating func takeDue(_ now: MonotonicTime) -> [Action] {
        guard let next, next <= now else { return [] }
        let due = actions.filter { $0.value.time <= now }.sorted { $0.value.time < $1.value.time }
        for (number, _) in due { actions[number] = nil }
        earliest = actions.values.map(\.time).min()
        return due.map(\.value.action)
    }
}
