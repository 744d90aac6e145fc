import Bytes
import Glibc

/// Writes lines to a file descriptor from a thread of its own, in batches, so that no caller ever waits for a disk or a
/// slow reader. The first line after a pause wakes the thread, which then collects for a tenth of a second; further
/// lines wake nobody until there is a large batch. What does not fit the bounded buffer is dropped and counted.
///
/// The thread lives until `stop()`. A program that writes to pipes must ignore SIGPIPE.
package final class LineWriter: Sendable {
    private struct State {
        var pending: [UInt8] = []
        var pendingLines = 0
        var dropped = 0
        var stopping = false
    }

    /// A batch of this many bytes is written at once.
    private static let largeBatch = 64 * 1024
    private static let collectMilliseconds: Int32 = 100

    private let descriptor: Int32
    private let capacity: Int
    private let state = Lock(State())
    private let wake: Event
    private let done: Event

    /// - Parameter descriptor: where lines go; it is not closed.
    /// - Parameter capacity: the most bytes that may wait.
    package init(descriptor: Int32, capacity: Int = 4 << 20) {
        self.descriptor = descriptor
        self.capacity = capacity
        wake = Event()
        done = Event()
        // Without a thread nothing is ever written: the buffer fills and the rest is counted as dropped.
        if !BackgroundThread.start({ self.run() }) { done.signal() }
    }

    /// How many lines were dropped so far, because the reader was too slow or gone, or after `stop()`.
    package var droppedLines: Int { state.withLock { $0.dropped } }

    /// Takes one line, which ends in a newline. Never blocks on output.
    package func append(_ line: [UInt8]) {
        let signal = state.withLock { state in
            guard !state.stopping, state.pending.count + line.count <= capacity else {
                state.dropped += 1
                return false
            }
            let before = state.pending.count
            state.pending.append(contentsOf: line)
            state.pendingLines += 1
            return before == 0 || (before < Self.largeBatch && state.pending.count >= Self.largeBatch)
        }
        if signal { wake.signal() }
    }

    /// Writes what waits and ends the thread. Gives up after `timeout`, when the reader takes nothing. Returns whether
    /// everything was written.
    @discardableResult
    package func stop(timeout: Duration = .seconds(2)) -> Bool {
        state.withLock { $0.stopping = true }
        wake.signal()
        let (seconds, attoseconds) = timeout.components
        return done.wait(milliseconds: Int32(clamping: seconds * 1000 + attoseconds / 1_000_000_000_000_000))
    }

    private func run() {
        var batch: [UInt8] = []
        while true {
            wake.wait(milliseconds: -1)
            wake.clear()
            let collects = state.withLock { !$0.stopping && $0.pending.count < Self.largeBatch }
            if collects, wake.wait(milliseconds: Self.collectMilliseconds) { wake.clear() }
            batch.removeAll(keepingCapacity: batch.capacity <= 1 << 20)
            let (lines, stopping) = state.withLock { state in
                swap(&batch, &state.pending)
                defer { state.pendingLines = 0 }
                return (state.pendingLines, state.stopping)
            }
            if !write(batch) { state.withLock { $0.dropped += lines } }
            if stopping {
                done.signal()
                return
            }
        }
    }

    /// Writes all of `batch`; false when the descriptor is broken.
    private func write(_ batch: [UInt8]) -> Bool {
        var rest = batch[...]
        while !rest.isEmpty {
            let written = rest.withUnsafeBytes { Glibc.write(descriptor, $0.baseAddress, $0.count) }
            if written > 0 {
                rest.removeFirst(written)
            } else if errno == EAGAIN {
                var ready = pollfd(fd: descriptor, events: Int16(POLLOUT), revents: 0)
                poll(&ready, 1, -1)
            } else if errno != EINTR {
                return false
            }
        }
        return true
    }
}

/// A flag that one thread raises and another waits for: a byte in a pipe. Both ends stay -1 when the process has no
/// descriptor left; then nobody is woken, and waits without end do not return.
private final class Event: Sendable {
    private let reader: Int32
    private let writer: Int32

    init() {
        var ends: [Int32] = [-1, -1]
        if pipe(&ends) != 0 { ends = [-1, -1] }
        for end in ends {
            _ = fcntl(end, F_SETFL, O_NONBLOCK)
            _ = fcntl(end, F_SETFD, FD_CLOEXEC)
        }
        (reader, writer) = (ends[0], ends[1])
    }

    deinit {
        close(reader)
        close(writer)
    }

    func signal() {
        // A full pipe is a raised flag too.
        var byte: UInt8 = 1
        _ = write(writer, &byte, 1)
    }

    func clear() {
        var bytes: UInt64 = 0
        while read(reader, &bytes, 8) == 8 {}
    }

    /// Waits until the flag is up, which it then stays, or until the time is over; negative waits without end.
    @discardableResult
    func wait(milliseconds: Int32) -> Bool {
        var ready = pollfd(fd: reader, events: Int16(POLLIN), revents: 0)
        while true {
            let count = poll(&ready, 1, milliseconds)
            if count >= 0 { return count > 0 }
            // An interrupted wait starts again: both callers tolerate a longer one.
            if errno != EINTR { return false }
        }
    }
}
