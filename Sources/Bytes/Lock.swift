package import Glibc

/// A value that one thread at a time may touch.
///
/// The same face as `Synchronization.Mutex`, over a pthread mutex, for two reasons that hold on Linux with Swift 6.3:
/// ThreadSanitizer cannot see that `Mutex` synchronises once there is contention (the kernel hands the lock over) and
/// reports races that are none; and under contention `Mutex` spins for long before it sleeps. Uncontended, both cost
/// some ten nanoseconds; this one allocates.
package struct Lock<Value: ~Copyable>: ~Copyable, @unchecked Sendable {
    // Sendable: `value` is read and written between lock and unlock only.
    @usableFromInline package let mutex: UnsafeMutablePointer<pthread_mutex_t>
    @usableFromInline package let value: UnsafeMutablePointer<Value>

    @inlinable
    package init(_ value: consuming sending Value) {
        mutex = .allocate(capacity: 1)
        pthread_mutex_init(mutex, nil)
        self.value = .allocate(capacity: 1)
        self.value.initialize(to: value)
    }

    @inlinable
    deinit {
        value.deinitialize(count: 1)
        value.deallocate()
        pthread_mutex_destroy(mutex)
        mutex.deallocate()
    }

    /// Runs `body` with the value while no other thread can. Not recursive.
    @inlinable
    @inline(always)
    package borrowing func withLock<Result: ~Copyable, Failure>(
        _ body: (inout sending Value) throws(Failure) -> sending Result
    ) throws(Failure) -> sending Result {
        pthread_mutex_lock(mutex)
        defer { pthread_mutex_unlock(mutex) }
        return try body(&value.pointee)
    }
}
