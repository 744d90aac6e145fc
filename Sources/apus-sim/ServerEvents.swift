import HTTPServer

/// What happens in a server, counted from its start, so that tests can wait for it.
enum ServerEvent: String, CaseIterable, Sendable {
    case request, prefill, decode, encode, monolithic
    case answered, failed, disconnect, aborted, fault, hang
    case lease, claimed, redeemed, released, expired, heartbeat
    case joined, parked
    case transferFailed = "transfer_failed"
    case partialParameters = "partial_params"
    case localFallback = "local_fallback"
    case verbatim, altered
    case rendezvousTimeout = "rendezvous_timeout"
    case abortRequest = "abort_request"
    case afterExpiry = "after_expiry"
    case storeHit = "store_hit"
    case storeMiss = "store_miss"
    case embeddingHit = "ec_hit"
    case embeddingMiss = "ec_miss"
    case started, stopped, restart

    init(_ leg: Leg) {
        self =
            switch leg {
            case .prefill: .prefill
            case .decode: .decode
            case .encode: .encode
            case .monolithic: .monolithic
            }
    }
}

/// Numbers of a server that rise and fall.
enum ServerGauge: String, CaseIterable, Sendable {
    case active, waiting, running, leases, meetings, pinned
}

/// Somebody waits for a count.
struct EventWaiter: Sendable {
    enum Condition: Sendable {
        case event(ServerEvent, atLeast: Int)
        case gauge(ServerGauge, ClosedRange<Int>)
    }

    let condition: Condition
    let reply: HTTPLaterReply
    var deadline: Int?
}
