internal import Admission
package import Bytes

/// Admission's alarm in the running service: a task that sleeps.
package final class TaskAlarm: AdmissionAlarm {
    private let task = Lock<Task<Void, Never>?>(nil)

    package init() {}

    deinit {
        task.withLock { $0?.cancel() }
    }

    package func set(_ time: MonotonicTime?, _ ring: @escaping @Sendable () -> Void) {
        task.withLock { task in
            task?.cancel()
            task = time.map { time in
                Task {
                    do {
                        try await Task.sleep(for: time.elapsed(since: .now()), clock: .suspending)
                        ring()
                    } catch {
                        // Called off.
                    }
                }
            }
        }
    }
}
