/// What a `Server` is told at its start.
package struct ServerConfiguration: Sendable {
    /// How connections are secured.
    package enum Credentials: Sendable {
        /// Plain HTTP/2.
        case insecure
        /// HTTP/2 over TLS 1.2 or 1.3.
        case tls(TLSCredentials)
    }

    /// An IPv4 or IPv6 address (brackets not needed). `::` accepts both families where the system allows.
    package var bindAddress: String
    /// 0 takes any free port; `Server.port` tells which.
    package var port: Int
    /// Completion queues, with one thread each, where the server is given none. More than the cores that are free for
    /// them only costs.
    package var pollers: Int
    /// Calls that each poller asks for in advance. One is asked for anew with every arrival, so this is only the size of
    /// a burst that needs no waiting.
    package var requestsPerPoller: Int
    /// A received message that is longer ends its call with RESOURCE_EXHAUSTED.
    package var maxReceiveMessageBytes: Int
    /// As above, for messages sent; nil is unlimited.
    package var maxSendMessageBytes: Int?
    /// Streams over this number are refused with RESOURCE_EXHAUSTED at once, not queued.
    package var maxConcurrentStreams: Int
    package var credentials: Credentials
    /// A connection that has not said hello (TLS, then HTTP/2) by then is closed.
    package var handshakeTimeout: Duration
    package var keepalive: Keepalive

    /// Pings in both directions.
    ///
    /// Core's defaults punish a client that pings more often than every five minutes, which a proxy with
    /// `connection_keepalive` does: after two pings it gets GOAWAY. Ours tolerate any ping, and find dead peers.
    package struct Keepalive: Sendable {
        /// We ping a silent connection after this long.
        package var time: Duration
        /// A connection whose ping is not answered for this long is closed.
        package var timeout: Duration
        /// A client may ping this often without data; with `maxPingStrikes` 0 nothing happens if it pings more often.
        package var minPingInterval: Duration
        /// Pings too many before a connection gets GOAWAY; 0 is never.
        package var maxPingStrikes: Int

        package init(
            time: Duration = .seconds(60),
            timeout: Duration = .seconds(20),
            minPingInterval: Duration = .seconds(1),
            maxPingStrikes: Int = 0
        ) {
            self.time = time
            self.timeout = timeout
            self.minPingInterval = minPingInterval
            self.maxPingStrikes = maxPingStrikes
        }
    }

    package init(
        bindAddress: String = "0.0.0.0",
        port: Int = 0,
        pollers: Int = 1,
        requestsPerPoller: Int = 256,
        maxReceiveMessageBytes: Int = 4 << 20,
        maxSendMessageBytes: Int? = nil,
        maxConcurrentStreams: Int = 10_000,
        credentials: Credentials = .insecure,
        handshakeTimeout: Duration = .seconds(10),
        keepalive: Keepalive = Keepalive()
    ) {
        self.bindAddress = bindAddress
        self.port = port
        self.pollers = pollers
        self.requestsPerPoller = requestsPerPoller
        self.maxReceiveMessageBytes = maxReceiveMessageBytes
        self.maxSendMessageBytes = maxSendMessageBytes
        self.maxConcurrentStreams = maxConcurrentStreams
        self.credentials = credentials
        self.handshakeTimeout = handshakeTimeout
        self.keepalive = keepalive
    }

    /// Any free port on every IPv4 address, one poller, 4 MiB messages, 10,000 streams.
    package static let defaults = ServerConfiguration()

    /// `address:port`, with brackets around an IPv6 address.
    var hostPort: String {
        bindAddress.contains(":") && !bindAddress.hasPrefix("[")
            ? "[\(bindAddress)]:\(port)" : "\(bindAddress):\(port)"
    }
}
