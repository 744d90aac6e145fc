import Bytes
import CGRPC
import Glibc
import Testing

@testable import RPC

/// The calling thread's name, as /proc shows it.
func currentThreadName() -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16) { buffer in
        apus_thread_get_name(buffer.baseAddress)
        return buffer.baseAddress.map { String(cString: $0) } ?? ""
    }
}

@Suite("Poller")
struct PollerTests {
    /// Runs `body` with a poller whose thread runs, and ends it.
    private func withPoller(_ body: (Poller) async throws -> Void) async throws {
        let poller = Poller()
        let done = Event<Void>()
        let thread = try poller.start(name: "poller-test") { done.happen(()) }
        try await body(poller)
        poller.releaseQueue()
        await done.value()
        pthread_join(thread, nil)
        poller.destroy()
    }

    @Test("A task made on another thread wakes the poller and runs on its thread")
    func wakes() async throws {
        try await withPoller { poller in
            for _ in 0..<100 {
                let name = await Task(executorPreference: poller) { currentThreadName() }.value
                #expect(name == "poller-test")
            }
        }
    }

    @Test("Jobs from many threads at once all run, each once")
    func manyThreads() async throws {
        try await withPoller { poller in
            let count = Count()
            await withTaskGroup { group in
                for _ in 0..<2000 {
                    group.addTask(executorPreference: globalConcurrentExecutor) {
                        await Task(executorPreference: poller) {
                            await Task.yield()
                            count.increment()
                        }.value
                    }
                }
            }
            #expect(count.value == 2000)
        }
    }

    @Test("A task that outlives its poller ends elsewhere")
    func outlives() async throws {
        let gate = Event<Void>()
        let task = Lock<Task<String, Never>?>(nil)
        try await withPoller { poller in
            let started = Event<Void>()
            task.withLock {
                $0 = Task(executorPreference: poller) {
                    started.happen(())
                    await gate.value()
                    return currentThreadName()
                }
            }
            await started.value()
        }
        gate.happen(())
        let name = await task.withLock { $0 }?.value
        #expect(name != nil)
        #expect(name != "poller-test")
    }
}
