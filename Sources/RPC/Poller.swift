import Bytes
import CGRPC
import Glibc
import Synchronization

/// A completion queue, the one thread that reads it, and the executor of what the events wake.
///
/// A handler is a `Task` that prefers its call's poller. Whatever resumes it on this thread (an event of its call) puts
/// it in `runQueue`, and it runs on this thread when the event has been handled: no lock, no system call, no context
/// switch. A job that comes from another thread is put in a locked queue and announced by the doorbell.
///
/// A queue must not be shut down before its last batch was started (core aborts the process): `Pollers` closes it when the
/// last server has gone, and the doorbell is silent from then on.
package final class Poller: TaskExecutor, @unchecked Sendable {
    // Sendable: `runQueue` and `next` are touched by the poller's thread alone; everything else is constant, atomic or
    // behind `foreign`'s lock; the thread functions of core are safe to call from anywhere.

    /// Jobs from other threads, and the state of the bell that announces them.
    private struct Foreign: ~Copyable {
        var jobs: [UnownedJob] = []
        /// A ring was posted and its event has not come yet: one is enough for any number of jobs.
        var isRinging = false
        /// The queue is or will be shut down: no ring may be posted any more.
        var isClosed = false
    }

    let queue: OpaquePointer
    private let doorbell: OpaquePointer
    private let foreign = Lock(Foreign())
    private let handedOver = Atomic<Int>(0)
    /// `pthread_self` of the poller's thread while it runs, else 0.
    private let threadID = Atomic<UInt>(0)
    private var runQueue: [UnownedJob] = []
    private var next = 0

    /// How many jobs run before the queue of events is looked at again.
    private static let jobsPerEvent = 256

    init() {
        grpc_init()
        queue = grpc_completion_queue_create_for_next(nil)
        doorbell = apus_doorbell_create(queue)
    }

    // MARK: Thread

    /// Starts the thread. `whenDone` is called on it as its last act, after the queue was shut down and drained.
    func start(name: String, whenDone: @escaping @Sendable () -> Void) throws(RPCError) -> pthread_t {
        try startThread(name: name) {
            self.run()
            whenDone()
        }
    }

    /// Empties a closed queue whose thread never started.
    func drainWithoutThread() {
        run()
    }

    private func run() {
        threadID.store(UInt(pthread_self()), ordering: .releasing)
        let forever = gpr_inf_future(GPR_CLOCK_MONOTONIC)
        let atOnce = gpr_inf_past(GPR_CLOCK_MONOTONIC)
        while true {
            let event = grpc_completion_queue_next(queue, next < runQueue.count ? atOnce : forever, nil)
            if event.type == GRPC_QUEUE_SHUTDOWN { break }
            if event.type == GRPC_OP_COMPLETE, let tag = event.tag {
                handle(tag, success: event.success != 0)
            }
            runJobs(atMost: Self.jobsPerEvent)
        }
        takeForeignJobs(answeringBell: false)
        while next < runQueue.count {
            runJobs(atMost: .max)
        }
        threadID.store(0, ordering: .releasing)
    }

    /// Destroys what is left. The thread must have been joined.
    func destroy() {
        grpc_completion_queue_destroy(queue)
        grpc_shutdown_blocking()
    }

    private func handle(_ tag: UnsafeMutableRawPointer, success: Bool) {
        let (object, kind) = Tag.split(tag)
        if kind == .request { _ = handedOver.load(ordering: .acquiring) }
        switch kind {
        case .doorbell:
            takeForeignJobs(answeringBell: true)
        case .shutdown:
            Unmanaged<Server>.fromOpaque(object).takeUnretainedValue().coreHasShutDown()
        default:
            // Retained here, for the call may release itself in the course.
            Unmanaged<ServerCall>.fromOpaque(object).takeUnretainedValue().complete(kind, success: success)
        }
    }

    // MARK: Calls

    /// To be called before a call is asked for on this queue.
    ///
    /// What the calling thread has written is visible to the poller's when the call arrives. Core orders the two as well,
    /// but ThreadSanitizer cannot see into core.
    func handOver() {
        handedOver.wrappingAdd(1, ordering: .releasing)
    }

    // MARK: End

    /// Shuts the queue down, now or when the last ring has been answered; the thread then ends. To be called once, when
    /// nobody will start an operation on the queue any more.
    func close() {
        let mayShutDown = foreign.withLock { foreign in
            foreign.isClosed = true
            return !foreign.isRinging
        }
        if mayShutDown { shutDownQueue() }
    }

    private func shutDownQueue() {
        grpc_call_unref(doorbell)
        grpc_completion_queue_shutdown(queue)
    }

    // MARK: Executor

    package func enqueue(_ job: consuming ExecutorJob) {
        let job = UnownedJob(job)
        if threadID.load(ordering: .acquiring) == UInt(pthread_self()) {
            runQueue.append(job)
            return
        }
        enum Action { case none, ring, elsewhere }
        let action: Action = foreign.withLock { foreign in
            if foreign.isClosed { return .elsewhere }
            foreign.jobs.append(job)
            if foreign.isRinging { return .none }
            foreign.isRinging = true
            return .ring
        }
        switch action {
        case .none: break
        case .ring: _ = apus_doorbell_ring(doorbell, Tag.doorbell)
        // A task that outlived its poller still ends, on the default executor.
        case .elsewhere: globalConcurrentExecutor.enqueue(ExecutorJob(job))
        }
    }

    private func takeForeignJobs(answeringBell: Bool) {
        let isLast = foreign.withLock { foreign in
            runQueue.append(contentsOf: foreign.jobs)
            foreign.jobs.removeAll(keepingCapacity: true)
            if answeringBell { foreign.isRinging = false }
            return answeringBell && foreign.isClosed
        }
        if isLast { shutDownQueue() }
    }

    private func runJobs(atMost limit: Int) {
        var left = limit
        while next < runQueue.count, left > 0 {
            let job = runQueue[next]
            next += 1
            left -= 1
            job.runSynchronously(on: asUnownedTaskExecutor())
        }
        if next == runQueue.count {
            runQueue.removeAll(keepingCapacity: runQueue.count <= 4096)
            next = 0
        } else if next >= 1024 {
            runQueue.removeSubrange(..<next)
            next = 0
        }
    }
}

/// What comes back with an event: an object's address with the kind of operation in the low bits that alignment leaves.
enum Tag {
    enum Kind: UInt {
        case request, receive, send, close, status, doorbell, shutdown
    }

    private static let mask: UInt = 0b111

    /// The doorbell's tag belongs to no object; any address will do.
    static var doorbell: UnsafeMutableRawPointer? {
        UnsafeMutableRawPointer(bitPattern: 16 | Kind.doorbell.rawValue)
    }

    static func make(_ object: UnsafeMutableRawPointer, _ kind: Kind) -> UnsafeMutableRawPointer {
        object + Int(kind.rawValue)
    }

    static func split(_ tag: UnsafeMutableRawPointer) -> (object: UnsafeMutableRawPointer, kind: Kind) {
        let low = UInt(bitPattern: tag) & mask
        return (tag - Int(low), Kind(rawValue: low) ?? .doorbell)
    }
}
