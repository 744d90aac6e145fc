/// How requests are orchestrated: the section `orchestration` of the configuration, with its defaults.
package struct OrchestrationSettings: Sendable, Equatable {
    package enum Mode: String, Sendable, CaseIterable {
        /// A sidecar makes the sub-requests; Apus only names the endpoints in headers.
        case headers
        /// Apus runs encode and prefill; the gateway sends the decode.
        case handoff
        /// Apus runs the decode, too, and streams its answer through the gateway.
        case relay
    }

    package enum ConnectorName: String, Sendable, CaseIterable {
        case nixlv2
        case sharedStorage = "shared-storage"
        case sglang, mooncake, offloading, trtllm
    }

    package enum EncodeConnectorName: String, Sendable, CaseIterable {
        case example = "ec-example"
        case nixl = "ec-nixl"
    }

    /// What becomes of a request that no prefill endpoint could serve.
    package enum Exhausted: String, Sendable, CaseIterable {
        /// 503, with the endpoints that failed and how.
        case fail
        /// The decode endpoint computes the prompt, too.
        case decodeLocal = "decode-local"
    }

    package struct BreakerSettings: Sendable, Equatable {
        /// Failures in a row that open it.
        package var failures = 3
        /// How long it stays open before one request may try.
        package var openFor = Duration.seconds(5)

        package init() {}
    }

    package struct Ports: Sendable, Equatable {
        /// Where prefill servers of SGLang and Mooncake meet their decode servers.
        package var bootstrap = 8998
        /// Where peers of the offloading connector listen; a rank adds its number.
        package var p2p = 7777

        package init() {}
    }

    package struct SubRequestSettings: Sendable, Equatable {
        /// Sub-requests under way at once, of all requests together. What comes over it is refused, not queued.
        package var maxConcurrent = 1024
        package var maxPerEndpoint = 128
        /// The longest answer of a prefill or encode endpoint, in bytes.
        package var maxResponseBytes = 1 << 20
        package var connectTimeout = Duration.seconds(1)
        package var usesTLS = false
        /// PEM file of the authorities that endpoints' certificates are checked against; empty: the system's.
        package var caFile = ""
        package var insecureSkipVerify = false

        package init() {}
    }

    package var mode = Mode.headers
    package var connector = ConnectorName.nixlv2
    package var encodeConnector: EncodeConnectorName?
    /// Prefill endpoints tried for one request, the first included.
    package var maxAttempts = 3
    /// The time that one prefill or encode attempt may take.
    package var attemptTimeout = Duration.seconds(30)
    /// The time that all sub-requests of one request may take, the decode's own answer not counted.
    package var deadline = Duration.seconds(120)
    package var onExhausted = Exhausted.fail
    package var breaker = BreakerSettings()
    package var ports = Ports()
    package var subRequests = SubRequestSettings()
    /// How long a decode may be silent before it is run again elsewhere. In handoff only for requests whose answer is no stream; nil there: for
    /// as long as the gateway waits, unless the endpoint is found dead. In relay for the first byte of any answer; nil there: the deadline.
    package var decodeTimeout: Duration?

    package init() {}
}
