internal import Bytes
internal import CCurl
internal import Glibc
internal import Synchronization

/// The thread that drives libcurl's multi handle: sockets by epoll, one wake-up for what other threads ask, timers.
///
/// Thread rule: `inbox`, `wakeUp` and `thread` may be used by all threads; everything else by the loop's own thread only, from `run()` to its end.
final class EventLoop: @unchecked Sendable {
    enum Command: Sendable {
        case start(PendingRequest)
        case cancel(UInt64)
        case resume(UInt64)
        case end(UInt64, at: MonotonicTime)
        case run(@Sendable () -> Void)
        case schedule(MonotonicTime, @Sendable () -> Void)
        case shutDown
    }

    private struct Inbox {
        var commands: [Command] = []
        var isClosed = false
    }

    private struct Timer {
        let deadline: MonotonicTime
        let action: @Sendable () -> Void
    }

    /// What a descriptor is registered for with the kernel, and what libcurl wants of it now.
    private struct Interest {
        var registered: UInt32 = 0
        var wanted: UInt32 = 0
        /// Opened by `openSocket`, so that its end is known too.
        var isOurs = false
        /// Whether no request uses it. One whose reader is behind does, though libcurl wants nothing of it meanwhile.
        var isKept = false
    }

    private static let maxIdleTransfers = 256
    private static let maxIdleConnections = 8192
    /// Between two looks at the deadlines of all streams.
    private static let sweepInterval = Duration.milliseconds(10)

    private let threadName: StaticString
    private let inbox = Lock(Inbox())
    private let wakeUp = apus_eventfd()
    private let thread = Atomic<UInt>(0)

    private let epoll = epoll_create1(Int32(EPOLL_CLOEXEC))
    private var multi: UnsafeMutableRawPointer?
    private var interests: [Interest] = []
    private var inFlight: [UInt64: Transfer] = [:]
    /// Those in flight whose response is streamed, and when their deadlines must be looked at.
    private var streams: [UInt64: Transfer] = [:]
    private var nextSweep: MonotonicTime?
    /// Within a call of libcurl, which must not be called again.
    private var isInLibrary = false
    private var idle: [Transfer] = []
    /// Requests that end without having been sent; answered by the loop so that no completion runs within `start`.
    private var refused: [(PendingRequest, HTTPClientError)] = []
    /// Latest first.
    private var timers: [Timer] = []
    private var libraryDeadline: MonotonicTime?
    private var isStopping = false

    init(threadName: StaticString) {
        self.threadName = threadName
    }

    var isCurrent: Bool {
        thread.load(ordering: .relaxed) == pthread_self()
    }

    deinit {
        close(wakeUp)
        close(epoll)
    }

    // MARK: From any thread

    /// False when the loop has ended and will not see the command.
    func submit(_ command: Command) -> Bool {
        if isCurrent, !isInLibrary {
            carryOut(command)
            return true
        }
        let (isAccepted, mustWake) = inbox.withLock { inbox in
            guard !inbox.isClosed else { return (false, false) }
            inbox.commands.append(command)
            return (true, inbox.commands.count == 1)
        }
        if mustWake {
            var one: UInt64 = 1
            _ = write(wakeUp, &one, 8)
        }
        return isAccepted
    }

    /// For a loop without a thread.
    func refuseAll() {
        inbox.withLock { $0.isClosed = true }
    }

    // MARK: The loop

    /// Runs until `shutDown`; every request accepted has been completed when it returns.
    func run() {
        thread.store(pthread_self(), ordering: .relaxed)
        threadName.withUTF8Buffer { name in
            name.withMemoryRebound(to: CChar.self) { apus_name_thread($0.baseAddress) }
        }
        setUp()
        var events = [apus_event](repeating: apus_event(), count: Int(APUS_EVENTS))
        while !isStopping {
            takeCommands()
            let now = MonotonicTime.now()
            runTimers(now)
            if let time = nextSweep, time <= now { sweep(now) }
            if let deadline = libraryDeadline, deadline <= now {
                libraryDeadline = nil
                act(CURL_SOCKET_BAD, 0)
            }
            completeFinished()
            guard !isStopping else { break }
            let count = Int(apus_epoll_wait(epoll, &events, millisecondsToWait()))
            for index in 0..<max(0, count) {
                handle(events[index])
            }
            completeFinished()
        }
        tearDown()
        thread.store(0, ordering: .relaxed)
    }

    private func setUp() {
        multi = curl_multi_init()
        let context = Unmanaged.passUnretained(self).toOpaque()
        apus_multi_set_socket(
            multi,
            { easy, socket, what, context, _ in
                EventLoop.from(context)?.want(socket, what, easy)
                return 0
            },
            context
        )
        apus_multi_set_timer(
            multi,
            { _, milliseconds, context in
                EventLoop.from(context)?.libraryDeadline =
                    milliseconds < 0 ? nil : MonotonicTime.now() + .milliseconds(milliseconds)
                return 0
            },
            context
        )
        apus_multi_set_long(multi, CURLMOPT_MAXCONNECTS, Self.maxIdleConnections)
        apus_multi_set_long(multi, CURLMOPT_PIPELINING, 0)
        // Each write wakes once, so that nothing has to be read.
        _ = apus_epoll_control(epoll, EPOLL_CTL_ADD, wakeUp, EPOLLIN.rawValue | EPOLLET.rawValue)
    }

    private func takeCommands() {
        let commands = inbox.withLock { inbox in
            guard !inbox.commands.isEmpty else { return [Command]() }
            return exchange(&inbox.commands, with: [])
        }
        for command in commands { carryOut(command) }
    }

    private func carryOut(_ command: Command) {
        switch command {
        case .start(let request): start(request)
        case .cancel(let number): cancel(number)
        case .resume(let number): resume(number)
        case .end(let number, let time): end(number, at: time)
        case .run(let action): action()
        case .schedule(let deadline, let action): schedule(Timer(deadline: deadline, action: action))
        case .shutDown: isStopping = true
        }
    }

    private func schedule(_ timer: Timer) {
        var low = 0
        var high = timers.count
        while low < high {
            let middle = (low + high) / 2
            if timers[middle].deadline > timer.deadline { low = middle + 1 } else { high = middle }
        }
        timers.insert(timer, at: low)
    }

    private func runTimers(_ now: MonotonicTime) {
        // Only those that are due now: a timer that schedules itself anew does not keep the sockets waiting.
        var due: [Timer] = []
        while let next = timers.last, next.deadline <= now, let timer = timers.popLast() { due.append(timer) }
        for timer in due { timer.action() }
    }

    private func millisecondsToWait() -> Int32 {
        guard let deadline = [timers.last?.deadline, libraryDeadline, nextSweep].compactMap(\.self).min() else {
            return -1
        }
        let left = deadline.elapsed(since: MonotonicTime.now()).nanoseconds
        return Int32(clamping: (left + 999_999) / 1_000_000)
    }

    // MARK: Requests

    private func start(_ pending: PendingRequest) {
        if pending.handle.isCancelled {
            refused.append((pending, .cancelled))
        } else if isStopping {
            refused.append((pending, .shutDown))
        } else if let problem = pending.request.problem {
            refused.append((pending, HTTPClientError(.badRequest, problem)))
        } else if let transfer = idle.popLast() ?? Transfer(loop: Unmanaged.passUnretained(self).toOpaque()) {
            transfer.prepare(pending)
            let number = pending.handle.number
            inFlight[number] = transfer
            if case .streaming = pending.receiver {
                streams[number] = transfer
                sweep(by: transfer.deadlines.next)
            }
            let code = curl_multi_add_handle(multi, transfer.easy)
            if code != CURLM_OK {
                forget(number)
                transfer.abandon()
                keep(transfer)
                refused.append((pending, HTTPClientError(.failed, String(cString: curl_multi_strerror(code)))))
            }
        } else {
            refused.append((pending, HTTPClientError(.failed, "no memory for another transfer")))
        }
    }

    /// Takes the request from libcurl, which closes a connection that is in use.
    private func cancel(_ number: UInt64) {
        guard let transfer = inFlight[number] else { return }
        end(
            number,
            transfer,
            HTTPClientError(.cancelled, "cancelled", responseStarted: transfer.responseStarted)
        )
    }

    private func end(_ number: UInt64, _ transfer: Transfer, _ error: HTTPClientError) {
        forget(number)
        curl_multi_remove_handle(multi, transfer.easy)
        transfer.complete(error)
        keep(transfer)
    }

    private func forget(_ number: UInt64) {
        inFlight[number] = nil
        streams[number] = nil
    }

    // MARK: Streams

    private func resume(_ number: UInt64) {
        guard let transfer = streams[number] else { return }
        isInLibrary = true
        transfer.resume()
        isInLibrary = false
        sweep(by: transfer.deadlines.next)
    }

    private func end(_ number: UInt64, at time: MonotonicTime) {
        guard let transfer = streams[number] else { return }
        transfer.end(at: time)
        sweep(by: time)
    }

    private func sweep(by time: MonotonicTime?) {
        guard let time else { return }
        nextSweep = min(nextSweep ?? time, time)
    }

    /// For `Transfer`, whose deadlines have changed otherwise than to a later time.
    static func deadlinesChanged(_ context: UnsafeMutableRawPointer, _ time: MonotonicTime?) {
        from(context)?.sweep(by: time)
    }

    /// Ends the streams whose time is over.
    private func sweep(_ now: MonotonicTime) {
        nextSweep = nil
        var next: MonotonicTime?
        for (number, transfer) in streams {
            guard let deadline = transfer.deadlines.next else { continue }
            if deadline <= now {
                end(number, transfer, transfer.timeoutError)
            } else {
                next = min(next ?? deadline, deadline)
            }
        }
        // Not for each stream alone, when there are many with times of their own.
        nextSweep = next.map { max($0, now + Self.sweepInterval) }
    }

    // MARK: Ends

    private func completeFinished() {
        var result = CURLE_OK
        while let easy = apus_multi_next_done(multi, &result) {
            curl_multi_remove_handle(multi, easy)
            guard let transfer = Transfer.from(apus_easy_get_private(easy)), let pending = transfer.pending else {
                continue
            }
            forget(pending.handle.number)
            transfer.complete(result)
            keep(transfer)
        }
        while !refused.isEmpty {
            for (pending, error) in exchange(&refused, with: []) {
                pending.fail(error)
            }
        }
    }

    private func keep(_ transfer: Transfer) {
        if transfer.isReusable, idle.count < Self.maxIdleTransfers { idle.append(transfer) }
    }

    private func tearDown() {
        let left = inbox.withLock { inbox in
            inbox.isClosed = true
            return exchange(&inbox.commands, with: [])
        }
        // Starts are refused from here on; what else was asked is still done.
        for command in left { carryOut(command) }
        while let (number, transfer) = inFlight.first {
            forget(number)
            curl_multi_remove_handle(multi, transfer.easy)
            transfer.complete(.shutDown)
        }
        completeFinished()
        timers.removeAll()
        idle.removeAll()
        curl_multi_cleanup(multi)
        multi = nil
    }

    // MARK: Sockets

    private func act(_ socket: curl_socket_t, _ events: Int32) {
        var running: Int32 = 0
        isInLibrary = true
        curl_multi_socket_action(multi, socket, events, &running)
        isInLibrary = false
    }

    private func handle(_ event: apus_event) {
        if event.descriptor == wakeUp { return }
        let index = Int(event.descriptor)
        guard index < interests.count, interests[index].wanted != 0 else {
            // A kept connection that the server ended, or on which it says what nobody asked for. libcurl would use it all the same, and the
            // request would be lost: only of a socket that is shut down in both directions it sees that it is dead.
            if index < interests.count, interests[index].isKept { shutdown(event.descriptor, Int32(SHUT_RDWR)) }
            forget(event.descriptor)
            return
        }
        var bits: Int32 = 0
        if event.events & (EPOLLIN.rawValue | EPOLLHUP.rawValue | EPOLLRDHUP.rawValue) != 0 { bits |= CURL_CSELECT_IN }
        if event.events & EPOLLOUT.rawValue != 0 { bits |= CURL_CSELECT_OUT }
        if event.events & EPOLLERR.rawValue != 0 { bits |= CURL_CSELECT_ERR }
        act(event.descriptor, bits)
    }

    /// libcurl names the events it wants of a socket. A kept connection stays registered between two requests: two system calls less for each.
    private func want(_ socket: curl_socket_t, _ what: Int32, _ easy: UnsafeMutableRawPointer?) {
        let index = Int(socket)
        guard index >= 0 else { return }
        if index >= interests.count {
            interests.append(contentsOf: repeatElement(Interest(), count: index + 1 - interests.count))
        }
        if what == CURL_POLL_REMOVE {
            interests[index].wanted = 0
            if interests[index].isOurs {
                interests[index].isKept = easy.flatMap { Transfer.from(apus_easy_get_private($0)) }?.isPaused != true
            } else {
                forget(socket)
            }
            return
        }
        interests[index].isKept = false
        var wanted: UInt32 = 0
        if what & CURL_POLL_IN != 0 { wanted |= EPOLLIN.rawValue }
        if what & CURL_POLL_OUT != 0 { wanted |= EPOLLOUT.rawValue }
        interests[index].wanted = wanted
        guard interests[index].registered != wanted else { return }
        let operation = interests[index].registered == 0 ? EPOLL_CTL_ADD : EPOLL_CTL_MOD
        interests[index].registered = wanted
        _ = apus_epoll_control(epoll, operation, socket, wanted)
    }

    private func forget(_ socket: curl_socket_t) {
        _ = apus_epoll_control(epoll, EPOLL_CTL_DEL, socket, 0)
        if Int(socket) < interests.count { interests[Int(socket)].registered = 0 }
    }

    /// For `CURLOPT_OPENSOCKETFUNCTION`: a new socket has no history under its number.
    static let openSocket:
        @convention(c) (UnsafeMutableRawPointer?, curlsocktype, UnsafeMutablePointer<curl_sockaddr>?) -> curl_socket_t =
            {
                context,
                _,
                address in
                guard let address = address?.pointee, let loop = from(context) else { return CURL_SOCKET_BAD }
                let type = address.socktype | Int32(SOCK_CLOEXEC.rawValue)
                let socket = Glibc.socket(address.family, type, address.protocol)
                if socket >= 0 {
                    loop.remember(socket, Interest(isOurs: true))
                    watchPeer(socket)
                }
                return socket
            }

    /// Lets the kernel find out that a host is gone without a word, so that an answer without a limit of time ends: nothing else would tell
    /// of it. A silent connection is asked after half a minute and given up after a minute.
    private static func watchPeer(_ socket: Int32) {
        func set(_ level: Int32, _ option: Int32, _ value: Int32) {
            var value = value
            setsockopt(socket, level, option, &value, socklen_t(MemoryLayout<Int32>.size))
        }
        let tcp = Int32(IPPROTO_TCP)
        set(SOL_SOCKET, SO_KEEPALIVE, 1)
        set(tcp, TCP_KEEPIDLE, 30)
        set(tcp, TCP_KEEPINTVL, 10)
        set(tcp, TCP_KEEPCNT, 3)
        // What was sent and is not acknowledged: milliseconds.
        set(tcp, TCP_USER_TIMEOUT, 60_000)
    }

    /// For `CURLOPT_CLOSESOCKETFUNCTION`.
    static let closeSocket: @convention(c) (UnsafeMutableRawPointer?, curl_socket_t) -> Int32 = { context, socket in
        from(context)?.remember(socket, Interest())
        return close(socket)
    }

    private func remember(_ socket: curl_socket_t, _ interest: Interest) {
        let index = Int(socket)
        if index >= interests.count {
            interests.append(contentsOf: repeatElement(Interest(), count: index + 1 - interests.count))
        }
        interests[index] = interest
    }

    private static func from(_ context: UnsafeMutableRawPointer?) -> EventLoop? {
        context.map { Unmanaged<EventLoop>.fromOpaque($0).takeUnretainedValue() }
    }
}
