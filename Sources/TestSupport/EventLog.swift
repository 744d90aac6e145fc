internal import Bytes

/// What happened in a test, in order; a test awaits the entry it is about instead of sleeping.
package final class EventLog<Entry: Sendable>: Sendable {
    private struct Waiter {
        let number: Int
        let isMet: @Sendable ([Entry]) -> Bool
        let continuation: CheckedContinuation<Void, Never>
    }

    private struct State {
        var entries: [Entry] = []
        var waiters: [Waiter] = []
        var lastNumber = 0
    }

    private let state = Lock(State())

    package init() {}

    package var entries: [Entry] {
        state.withLock { $0.entries }
    }

    package func append(_ entry: Entry) {
        let met = state.withLock { state in
            state.entries.append(entry)
            let index = state.waiters.partition { $0.isMet(state.entries) }
            defer { state.waiters.removeSubrange(index...) }
            return state.waiters[index...].map(\.continuation)
        }
        for continuation in met { continuation.resume() }
    }

    /// Returns once the entries so far meet the condition, or when the task is cancelled: a test whose time is up ends.
    package func wait(until isMet: @escaping @Sendable ([Entry]) -> Bool) async {
        let number = state.withLock { state in
            state.lastNumber += 1
            return state.lastNumber
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let isOver = state.withLock { state in
                    // Cancelled meanwhile: `cancel` has found nobody, or finds nobody when it comes.
                    if Task.isCancelled || isMet(state.entries) { return true }
                    state.waiters.append(Waiter(number: number, isMet: isMet, continuation: continuation))
                    return false
                }
                if isOver { continuation.resume() }
            }
        } onCancel: {
            cancel(number)
        }
    }

    private func cancel(_ number: Int) {
        let waiter = state.withLock { state in
            state.waiters.firstIndex { $0.number == number }.map { state.waiters.remove(at: $0) }
        }
        waiter?.continuation.resume()
    }

    package func wait(forCount count: Int) async {
        await wait { $0.count >= count }
    }

    /// The first entry that matches, once it is there.
    package func first(where matches: @escaping @Sendable (Entry) -> Bool) async -> Entry? {
        await wait { $0.contains(where: matches) }
        return entries.first(where: matches)
    }
}
