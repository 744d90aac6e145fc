internal import Glibc

/// Tells systemd, or whoever else set NOTIFY_SOCKET, what becomes of the service: the protocol of sd_notify(3).
struct ServiceManager: Sendable {
    enum State: String {
        case ready = "READY=1"
        case stopping = "STOPPING=1"
        case alive = "WATCHDOG=1"
    }

    /// The bytes of `sun_path`; an abstract name begins with a zero.
    private let name: [UInt8]
    /// How long the manager waits for a sign of life before it takes us for dead; nil when it does not wait.
    let watchdogTimeout: Duration?

    /// Nil when nobody wants to be told, or at an address that we cannot reach: a manager's wish is no reason not to serve.
    ///
    /// - Parameter environment: the value of an environment variable.
    init?(environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } }) {
        guard let socket = environment("NOTIFY_SOCKET") else { return nil }
        var name = Array(socket.utf8)
        // One byte remains for the zero at the end.
        guard name.count > 1, name.count < MemoryLayout.size(ofValue: sockaddr_un().sun_path) else { return nil }
        switch name[0] {
        case UInt8(ascii: "/"): break
        case UInt8(ascii: "@"): name[0] = 0
        default: return nil
        }
        self.name = name
        let isForUs = environment("WATCHDOG_PID").map { Int32($0) == getpid() } ?? true
        let microseconds = environment("WATCHDOG_USEC").flatMap { Int64($0) } ?? 0
        watchdogTimeout = isForUs && microseconds > 0 ? .microseconds(microseconds) : nil
    }

    /// True when the manager has got it. Waits a second at most.
    @discardableResult
    func tell(_ state: State) -> Bool {
        let descriptor = socket(AF_UNIX, Int32(SOCK_DGRAM.rawValue) | Int32(SOCK_CLOEXEC.rawValue), 0)
        guard descriptor >= 0 else { return false }
        defer { close(descriptor) }
        var limit = timeval(tv_sec: 1, tv_usec: 0)
        setsockopt(descriptor, SOL_SOCKET, SO_SNDTIMEO, &limit, socklen_t(MemoryLayout<timeval>.size))
        var address = sockaddr_un()
        address.sun_family = sa_family_t(AF_UNIX)
        withUnsafeMutableBytes(of: &address.sun_path) { $0.copyBytes(from: name) }
        let start = MemoryLayout<sockaddr_un>.offset(of: \.sun_path) ?? 2
        // A path ends with a zero, an abstract name with its last byte.
        let length = socklen_t(start + name.count + (name[0] == 0 ? 0 : 1))
        let text = Array(state.rawValue.utf8)
        let sent = withUnsafePointer(to: &address) {
            $0.withMemoryRebound(to: sockaddr.self, capacity: 1) {
                sendto(descriptor, text, text.count, Int32(MSG_NOSIGNAL), $0, length)
            }
        }
        return sent == text.count
    }

    /// Gives signs of life, twice in the time that the manager waits, until the task is cancelled.
    ///
    /// They come from the threads on which requests are decided: when these hang, the signs stay away.
    func giveSignsOfLife() async {
        guard let watchdogTimeout else { return }
        while !Task.isCancelled {
            tell(.alive)
            try? await Task.sleep(for: watchdogTimeout / 2)
        }
    }
}
