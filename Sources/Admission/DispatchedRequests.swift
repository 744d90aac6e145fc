internal import Bytes

/// Sheddable requests that are with a model server and may be called back, and those that have been.
struct DispatchedRequests {
    private struct Entry {
        var priority: Int
        var number: UInt64
        var callBack: @Sendable () -> Void
    }

    /// By falling priority and growing number: the last is called back first, the lowest priority and of those the newest.
    private var entries: [Entry] = []
    /// The priorities of those that were called back and have not ended.
    private var ending: [UInt64: Int] = [:]
    private var nextNumber: UInt64 = 0

    var isEmpty: Bool { entries.isEmpty }
    /// Of those that may be called back.
    var lowestPriority: Int? { entries.last?.priority }
    /// Called back and not gone yet.
    var endingCount: Int { ending.count }

    mutating func add(priority: Int, _ callBack: @escaping @Sendable () -> Void) -> UInt64 {
        nextNumber += 1
        var index = entries.count
        while index > 0, entries[index - 1].priority < priority { index -= 1 }
        entries.insert(Entry(priority: priority, number: nextNumber, callBack: callBack), at: index)
        return nextNumber
    }

    mutating func remove(_ number: UInt64) {
        if ending.removeValue(forKey: number) != nil { return }
        if let index = entries.lastIndex(where: { $0.number == number }) { entries.remove(at: index) }
    }

    mutating func takeLowest() -> (@Sendable () -> Void)? {
        guard let entry = entries.popLast() else { return nil }
        ending[entry.number] = entry.priority
        return entry.callBack
    }
}

/// The place of a dispatched request among those that may be called back; given up by dropping it.
package struct CallBackPlace: ~Copyable, Sendable {
    private let controller: AdmissionController
    private let number: UInt64

    init(_ controller: AdmissionController, number: UInt64) {
        self.controller = controller
        self.number = number
    }

    deinit {
        controller.state.withLock { $0.dispatched.remove(number) }
    }
}

// Calling back: a request that waits for room asks for one of a lower priority below 0 to be ended.
extension AdmissionController {
    /// Makes a dispatched request one that may be called back; nil when that is not wanted. Keep the place until the request's response begins
    /// or its reservation has been given back.
    ///
    /// - Parameter callBack: called at most once, on any thread, not from within this call: the request is to be ended.
    package func mayCallBack(priority: Int, _ callBack: @escaping @Sendable () -> Void) -> CallBackPlace? {
        guard priority < 0 else { return nil }
        let number: UInt64? = state.withLock { state in
            guard state.settings.flowControl?.evictsDispatched == true else { return nil }
            return state.dispatched.add(priority: priority, callBack)
        }
        return number.map { CallBackPlace(self, number: $0) }
    }

    /// Calls back one request for each that waits at a higher priority, those included that have been called back and are not gone yet.
    func callBack(_ state: inout State, _ wakes: inout Wakes) {
        guard !state.dispatched.isEmpty, !state.isPoolEmpty, state.settings.flowControl?.evictsDispatched == true else {
            return
        }
        while let lowest = state.dispatched.lowestPriority {
            let waiting = state.bands.reduce(0) { $0 + ($1.priority > lowest ? $1.count : 0) }
            guard state.dispatched.endingCount < waiting, let callBack = state.dispatched.takeLowest() else { return }
            wakes.callBack(callBack)
        }
    }
}
