import Bytes
import Foundation
package import Glibc

/// The system calls around child processes; the only place of this target where C strings are made by hand.
package enum Spawning {
    /// How a process ended.
    package enum Status: Sendable, Equatable {
        case exited(Int32)
        case signalled(Int32)
    }

    /// All processes are started from one thread that never ends: the kernel ties `PR_SET_PDEATHSIG` to the thread that
    /// started a child, and Swift's own threads come and go.
    private static let spawner = SpawnerThread()

    /// Starts `arguments[0]` with its outputs going to `output`, or what it complains of to `errors`, in a process group of its own, killed by
    /// the kernel when this process ends in whatever way. Returns its process id.
    package static func start(
        _ arguments: [String],
        environment: [String],
        output: Int32,
        errors: Int32? = nil
    ) throws -> pid_t {
        // posix_spawn cannot set the parent-death signal; setpriv sets it and becomes the program.
        let arguments = ["/usr/bin/setpriv", "--pdeathsig", "KILL", "--"] + arguments
        let result = spawner.run {
            spawn(arguments, environment: environment, output: output, errors: errors ?? output)
        }
        guard result.error == 0 else {
            throw TestFailure("cannot start \(arguments[4]): \(String(cString: strerror(result.error)))")
        }
        return result.pid
    }

    private static func spawn(
        _ arguments: [String],
        environment: [String],
        output: Int32,
        errors: Int32
    ) -> (error: Int32, pid: pid_t) {
        var actions = posix_spawn_file_actions_t()
        posix_spawn_file_actions_init(&actions)
        defer { posix_spawn_file_actions_destroy(&actions) }
        posix_spawn_file_actions_addopen(&actions, 0, "/dev/null", O_RDONLY, 0)
        posix_spawn_file_actions_adddup2(&actions, output, 1)
        posix_spawn_file_actions_adddup2(&actions, errors, 2)
        // Sockets of tests that run at the same time must not live on in the child. Closing what is not open is no error here.
        for descriptor in 3...max(64, highestDescriptor) + 64 {
            posix_spawn_file_actions_addclose(&actions, descriptor)
        }

        var attributes = posix_spawnattr_t()
        posix_spawnattr_init(&attributes)
        defer { posix_spawnattr_destroy(&attributes) }
        var none = sigset_t()
        sigemptyset(&none)
        var all = sigset_t()
        sigfillset(&all)
        posix_spawnattr_setsigmask(&attributes, &none)
        posix_spawnattr_setsigdefault(&attributes, &all)
        posix_spawnattr_setpgroup(&attributes, 0)
        posix_spawnattr_setflags(
            &attributes,
            Int16(POSIX_SPAWN_SETSIGMASK | POSIX_SPAWN_SETSIGDEF | POSIX_SPAWN_SETPGROUP)
        )

        let argv = arguments.map { strdup($0) } + [nil]
        let envp = environment.map { strdup($0) } + [nil]
        defer { for text in argv + envp { free(text) } }
        var pid: pid_t = 0
        let error = posix_spawn(&pid, arguments[0], &actions, &attributes, argv, envp)
        return (error, pid)
    }

    /// Not by Foundation, which copies whole entries: in a full buffer the last is shorter than the type.
    private static var highestDescriptor: Int32 {
        guard let directory = opendir("/proc/self/fd") else { return 0 }
        defer { closedir(directory) }
        var highest: Int32 = 0
        while let entry = readdir(directory) {
            guard let offset = MemoryLayout<dirent>.offset(of: \.d_name) else { break }
            let name = UnsafeRawPointer(entry).advanced(by: offset).assumingMemoryBound(to: CChar.self)
            highest = max(highest, Int32(atoi(name)))
        }
        return highest
    }

    /// Waits until the process has ended, and leaves it for `reap`: until then its number belongs to nobody else.
    package static func awaitEnd(_ pid: pid_t) {
        var info = siginfo_t()
        while waitid(P_PID, id_t(pid), &info, WEXITED | WNOWAIT) != 0, errno == EINTR {}
    }

    package static func reap(_ pid: pid_t) -> Status {
        var status: Int32 = 0
        while waitpid(pid, &status, 0) < 0, errno == EINTR {}
        let signal = status & 0x7F
        return signal == 0 ? .exited((status >> 8) & 0xFF) : .signalled(signal)
    }
}

/// A thread that runs what it is given, one after the other, for as long as the program lives.
private final class SpawnerThread: Sendable {
    private struct Queue {
        var jobs: [@Sendable () -> Void] = []
    }

    private let queue = Lock(Queue())
    private let available = DispatchSemaphore(value: 0)

    init() {
        Thread.detachNewThread { [self] in
            while true {
                available.wait()
                let job = queue.withLock { $0.jobs.isEmpty ? nil : $0.jobs.removeFirst() }
                job?()
            }
        }
    }

    /// Runs `body` there and waits for it, which takes about a millisecond.
    func run<Result: Sendable>(_ body: @escaping @Sendable () -> Result) -> Result {
        let result = Lock<Result?>(nil)
        let finished = DispatchSemaphore(value: 0)
        while true {
            queue.withLock { queue in
                queue.jobs.append {
                    let value = body()
                    result.withLock { $0 = value }
                    finished.signal()
                }
            }
            available.signal()
            finished.wait()
            if let value = result.withLock({ $0 }) { return value }
        }
    }
}
