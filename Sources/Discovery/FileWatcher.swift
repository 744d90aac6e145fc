private import Bytes
private import Glibc

/// Tells when the file under a path has become another one or has been written, on a thread of its own.
///
/// The directory is watched, not the file: a file that is renamed over, and the symbolic link `..data` that Kubernetes swaps, show up there. Where the
/// path is a link, the directory of the file it leads to is watched as well. Which event it was does not matter: the file's identity,
/// size and times are compared with those of the last look.
package final class FileWatcher: Sendable {
    /// After the last of several events this long, so that a file is not read half written; and after the first of them at most.
    private static let quiet: Duration = .milliseconds(50)
    private static let longest: Duration = .milliseconds(500)
    /// A directory that is gone is looked for this often.
    private static let retry: Int32 = 1000

    private struct Look: Equatable {
        var device: UInt = 0
        var inode: UInt = 0
        var size = 0
        var modified: [Int] = []
    }

    private let path: String
    private let events: Int32
    /// Closing the writing end stops the thread.
    private let stopReader: Int32
    private let stopWriter: Lock<Int32>
    private let thread = Lock<pthread_t?>(nil)
    private let seen: Lock<Look>

    /// Watches from now on; changes are told after `start`.
    package init(path: String) {
        self.path = path
        events = inotify_init1(Int32(IN_NONBLOCK | IN_CLOEXEC))
        var ends: [Int32] = [-1, -1]
        pipe(&ends)
        for end in ends { _ = fcntl(end, F_SETFD, FD_CLOEXEC) }
        stopReader = ends[0]
        stopWriter = Lock(ends[1])
        seen = Lock(Look())
        watchDirectories()
        seen.withLock { $0 = look() }
    }

    deinit {
        stopWriter.withLock { writer in _ = writer >= 0 ? close(writer) : 0 }
        close(events)
        close(stopReader)
    }

    /// Starts the thread, which runs until `stop()`.
    ///
    /// - Parameter onChange: called on that thread.
    package func start(_ onChange: @escaping @Sendable () -> Void) {
        // The thread holds the watcher until it is stopped.
        let work = Unmanaged.passRetained(Work { self.run(onChange) })
        thread.withLock { thread in
            var created = pthread_t()
            let code = pthread_create(
                &created,
                nil,
                { context in
                    if let context { Unmanaged<Work>.fromOpaque(context).takeRetainedValue().body() }
                    return nil
                },
                work.toOpaque()
            )
            if code == 0 { thread = created } else { work.release() }
        }
    }

    /// Ends the thread; no call comes after it has returned. Must not be called by `onChange`.
    package func stop() {
        stopWriter.withLock { writer in
            if writer >= 0 { close(writer) }
            writer = -1
        }
        if let thread = thread.withLock({ exchange(&$0, with: nil) }) { pthread_join(thread, nil) }
    }

    // MARK: The thread

    private func run(_ onChange: () -> Void) {
        var isWatching = watchDirectories()
        while true {
            guard let isEvent = wait(isWatching ? -1 : Self.retry) else { return }
            if isEvent {
                let first = MonotonicTime.now()
                drain()
                while MonotonicTime.now().elapsed(since: first) < Self.longest {
                    guard let isAnother = wait(Int32(Self.quiet.nanoseconds / 1_000_000)) else { return }
                    guard isAnother else { break }
                    drain()
                }
            }
            isWatching = watchDirectories()
            let now = look()
            if seen.withLock({ exchange(&$0, with: now) }) != now { onChange() }
        }
    }

    /// Whether there is an event; nil when the watcher is to stop.
    private func wait(_ milliseconds: Int32) -> Bool? {
        var entries = [
            pollfd(fd: events, events: Int16(POLLIN), revents: 0),
            pollfd(fd: stopReader, events: Int16(POLLIN), revents: 0),
        ]
        let count = poll(&entries, 2, milliseconds)
        if entries[1].revents != 0 { return nil }
        return count > 0 && entries[0].revents != 0
    }

    private func drain() {
        var bytes = [UInt8](repeating: 0, count: 16 << 10)
        while read(events, &bytes, bytes.count) > 0 {}
    }

    /// Watches the path's directory and that of the file behind it. Watching one again changes nothing. False when there is no such directory.
    @discardableResult
    private func watchDirectories() -> Bool {
        let target = realpath(path, nil).map { resolved in
            defer { free(resolved) }
            return String(cString: resolved)
        }
        if let target { _ = watch(Self.directory(of: target)) }
        return watch(Self.directory(of: path))
    }

    private func watch(_ directory: String) -> Bool {
        let mask =
            IN_CREATE | IN_MOVED_TO | IN_MOVED_FROM | IN_DELETE | IN_CLOSE_WRITE | IN_MODIFY | IN_ATTRIB
            | IN_DELETE_SELF
            | IN_MOVE_SELF | IN_ONLYDIR
        return inotify_add_watch(events, directory, UInt32(mask)) >= 0
    }

    private static func directory(of path: String) -> String {
        guard let slash = path.utf8.lastIndex(of: UInt8(ascii: "/")) else { return "." }
        return slash == path.startIndex ? "/" : String(path[..<slash])
    }

    private func look() -> Look {
        var status = stat()
        guard stat(path, &status) == 0 else { return Look() }
        return Look(
            device: UInt(status.st_dev),
            inode: UInt(status.st_ino),
            size: Int(status.st_size),
            modified: [status.st_mtim.tv_sec, status.st_mtim.tv_nsec, status.st_ctim.tv_sec, status.st_ctim.tv_nsec]
        )
    }
}

private final class Work: Sendable {
    let body: @Sendable () -> Void

    init(_ body: @escaping @Sendable () -> Void) {
        self.body = body
    }
}
