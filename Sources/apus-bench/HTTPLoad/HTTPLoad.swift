import Glibc

/// What one run of an HTTP load saw.
struct HTTPLoadResult {
    var requests = 0
    /// From the first request to the last reply.
    var seconds = 0.0
    /// From when a request was sent, or in an open loop from when it should have been, to the end of its reply; sorted, in seconds.
    var latencies: [Double] = []
    /// The same to the first byte of the reply.
    var firstByteLatencies: [Double] = []
    /// How much later than they should have been requests of an open loop were sent; sorted, in seconds.
    var lateness: [Double] = []
    /// Requests that got no good reply, by what was wrong.
    var failures: [String: Int] = [:]
    /// CPU of the generator's one thread, in nanoseconds.
    var cpuNanoseconds = 0
}

/// Sends HTTP/1.1 requests over connections that are kept, from the thread that calls `run`.
final class HTTPLoad {
    enum Pace {
        /// So many connections, each of which sends its next request when it has the reply.
        case closed(connections: Int)
        /// So many requests a second, evenly, whether or not replies have come: a connection more for each that finds none idle. Their
        /// latencies count from when they should have been sent, so that a server that stalls is charged for all that it holds up.
        case open(rate: Double, connections: Int)
    }

    /// How long one request may take before the run gives up.
    private static let patience = 30.0

    private let port: Int
    private let requests: [[UInt8]]
    /// What a good reply's body has; nil takes any.
    var expectedBodyBytes: Int?

    private let queue: EventQueue
    private var connections: [HTTPConnection] = []
    private var idle: [Int] = []
    private var next = 0
    private var inFlight = 0
    private var result = HTTPLoadResult()
    private var buffer = [UInt8](repeating: 0, count: 262_144)

    /// `requests` are whole messages that are sent in turn.
    init(port: Int, requests: [[UInt8]]) throws {
        self.port = port
        self.requests = requests
        queue = try EventQueue()
    }

    // MARK: Running

    /// Sends requests for so long, and waits for their replies; at most `limit` requests.
    func run(_ pace: Pace, seconds: Double, limit: Int = .max) throws -> HTTPLoadResult {
        result = HTTPLoadResult()
        try dropClosed()
        let cpu = threadCPUNanoseconds()
        let start = monotonicSeconds()
        switch pace {
        case .closed(let count): try runClosed(count, until: start + seconds, limit)
        case .open(let rate, let count):
            try runOpen(OpenSchedule(start: start, rate: rate, seconds: seconds, limit: limit), count)
        }
        result.seconds = monotonicSeconds() - start
        result.cpuNanoseconds = threadCPUNanoseconds() - cpu
        result.latencies.sort()
        result.firstByteLatencies.sort()
        result.lateness.sort()
        return result
    }

    private func runClosed(_ count: Int, until end: Double, _ limit: Int) throws {
        var started = 0
        func start(_ now: Double) throws {
            guard started < limit, now < end else { return }
            started += 1
            try send(scheduled: now)
        }
        for _ in 0..<count { try start(monotonicSeconds()) }
        while inFlight > 0 {
            try step { now in try start(now) }
            if monotonicSeconds() > end + Self.patience { return giveUp() }
        }
    }

    private func runOpen(_ schedule: OpenSchedule, _ maximum: Int) throws {
        var schedule = schedule
        while true {
            let now = monotonicSeconds()
            while idleCount(maximum) > 0, let time = schedule.takeDue(at: now) {
                try send(scheduled: time)
                result.lateness.append(monotonicSeconds() - time)
            }
            if schedule.isOver, inFlight == 0 { break }
            // With no connection left, only a reply helps.
            queue.setTimer(at: idleCount(maximum) > 0 ? schedule.next : nil)
            try step { _ in }
            if now > schedule.end + Self.patience { return giveUp() }
        }
        queue.setTimer(at: nil)
    }

    private func idleCount(_ maximum: Int) -> Int {
        maximum - inFlight
    }

    private func giveUp() {
        result.failures["no reply within \(Int(Self.patience)) s", default: 0] += inFlight
        for connection in connections where connection.isBusy { connection.end() }
        inFlight = 0
    }

    /// Waits for sockets once; `replied` is told of each reply.
    private func step(_ replied: (Double) throws -> Void) throws {
        try queue.wait(milliseconds: 1000) { event in
            let connection = connections[event.key]
            guard !connection.isClosed else { return }
            if event.isWritable { try push(event.key) }
            guard event.isReadable else { return }
            if try pull(event.key) { try replied(monotonicSeconds()) }
        }
    }

    // MARK: One connection

    private func send(scheduled: Double) throws {
        let index = try idle.popLast() ?? connect()
        connections[index].begin(requests[next % requests.count].count, next % requests.count, scheduled)
        next += 1
        inFlight += 1
        try push(index)
    }

    private func connect() throws -> Int {
        let socket = try Loopback.connect(port: port)
        // Places of closed ones are taken again.
        if let index = connections.firstIndex(where: \.isClosed) {
            connections[index] = HTTPConnection(socket: socket)
            try queue.watch(socket, key: index)
            return index
        }
        connections.append(HTTPConnection(socket: socket))
        try queue.watch(socket, key: connections.count - 1)
        return connections.count - 1
    }

    private func dropClosed() throws {
        var byte: UInt8 = 0
        for index in idle where recv(connections[index].socket, &byte, 1, Int32(MSG_PEEK)) == 0 {
            connections[index].end()
        }
        idle.removeAll { connections[$0].isClosed }
    }

    /// Sends what is left of the request.
    private func push(_ index: Int) throws {
        let connection = connections[index]
        while connection.left > 0 {
            let count = requests[connection.request].withUnsafeBytes { bytes in
                Glibc.send(
                    connection.socket,
                    bytes.baseAddress.map { $0 + (bytes.count - connection.left) },
                    connection.left,
                    Int32(MSG_NOSIGNAL)
                )
            }
            if count < 0 && errno == EINTR { continue }
            if count < 0 && errno == EAGAIN {
                if !connection.awaitsRoom {
                    connection.awaitsRoom = true
                    try queue.change(connection.socket, key: index, writable: true)
                }
                return
            }
            // The reply, when there is one, says more than the error.
            guard count > 0 else { return }
            connection.left -= count
        }
        if connection.awaitsRoom {
            connection.awaitsRoom = false
            try queue.change(connection.socket, key: index, writable: false)
        }
    }

    /// Takes what has come; true when that was the end of a request, well or not.
    private func pull(_ index: Int) throws -> Bool {
        let connection = connections[index]
        let count = recv(connection.socket, &buffer, buffer.count, 0)
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return false }
        let now = monotonicSeconds()
        guard count > 0 else {
            let wasBusy = connection.isBusy
            if wasBusy { finish(index, now, failure: "the connection ended within a request") }
            connection.end()
            idle.removeAll { $0 == index }
            return wasBusy
        }
        if connection.reader.isUntouched { connection.firstByte = now }
        let taken: Int
        do {
            taken = try buffer.withUnsafeBytes {
                try connection.reader.read(UnsafeRawBufferPointer(rebasing: $0[..<count]))
            }
        } catch {
            finish(index, now, failure: "\(error)")
            connection.end()
            return true
        }
        guard connection.reader.isDone else { return false }
        let reader = connection.reader
        var failure: String?
        if !connection.isBusy || taken < count {
            failure = "more than was asked for"
        } else if reader.status != 200 {
            failure = "status \(reader.status)"
        } else if let expectedBodyBytes, reader.bodyBytes != expectedBodyBytes {
            failure = "a body of \(reader.bodyBytes) bytes instead of \(expectedBodyBytes)"
        }
        let isReusable = taken == count && connection.left == 0 && !reader.isLast
        finish(index, now, failure: failure)
        if isReusable { idle.append(index) } else { connection.end() }
        return true
    }

    private func finish(_ index: Int, _ now: Double, failure: String?) {
        let connection = connections[index]
        guard connection.isBusy else { return }
        connection.isBusy = false
        connection.reader.reset()
        inFlight -= 1
        result.requests += 1
        if let failure {
            result.failures[failure, default: 0] += 1
        } else {
            result.latencies.append(now - connection.scheduled)
            result.firstByteLatencies.append(connection.firstByte - connection.scheduled)
        }
    }
}

/// A kept connection and the request that is on it.
private final class HTTPConnection {
    let socket: Int32
    var reader = HTTPMessageReader(.reply)
    var isBusy = false
    private(set) var isClosed = false
    /// Which request, and how much of it is still to be sent.
    private(set) var request = 0
    var left = 0
    var awaitsRoom = false
    private(set) var scheduled = 0.0
    var firstByte = 0.0

    init(socket: Int32) {
        self.socket = socket
    }

    deinit {
        end()
    }

    func begin(_ byteCount: Int, _ request: Int, _ scheduled: Double) {
        self.request = request
        self.scheduled = scheduled
        left = byteCount
        isBusy = true
    }

    func end() {
        if !isClosed { close(socket) }
        isClosed = true
        isBusy = false
    }
}

/// What the calling thread has used of the CPU.
func threadCPUNanoseconds() -> Int {
    var time = timespec()
    clock_gettime(CLOCK_THREAD_CPUTIME_ID, &time)
    return Int(time.tv_sec) * 1_000_000_000 + Int(time.tv_nsec)
}
