import TestSupport
import Testing

@Suite("Waiting in tests", .timeLimit(.minutes(1))) struct EventLogTests {
    @Test("Whoever waits for what never comes is let go when the test's time is up")
    func cancelled() async {
        let log = EventLog<Int>()
        let isWaiting = EventLog<Bool>()
        let waiter = Task {
            isWaiting.append(true)
            await log.wait { $0.contains(7) }
        }
        await isWaiting.wait(forCount: 1)
        waiter.cancel()
        await waiter.value
        // One that is cancelled before it waits, too.
        let late = Task {
            while !Task.isCancelled { await Task.yield() }
            await log.wait(forCount: 1)
        }
        late.cancel()
        await late.value
        log.append(7)
        await log.wait { $0 == [7] }
    }
}
