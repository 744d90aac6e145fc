package import Bytes
package import Pool
package import Scheduling

/// One sub-request, as far as it is Apus's own: a transport adds the client's header fields, the request id and the trace.
package struct LegRequest: Sendable {
    package var stage: Stage
    package var endpoint: Endpoint
    /// Nil: the endpoint's own.
    package var port: Int?
    package var method: String
    /// With the query.
    package var path: String
    package var body: PiecedBytes
    /// Header fields of the leg's own.
    package var headers: [(name: String, value: String)]
    package var requestID: String
    /// 1 for the first; the value of `X-Processor-Attempt`.
    package var attempt: Int
    /// To the last byte of the answer; of one whose body follows piece by piece, to its head.
    package var timeout: Duration
    /// Whether `timeout` is what the request as a whole has left: running out of it says nothing of the endpoint.
    package var isLastMoment: Bool
    /// Whether a connection that turns out to be dead may be replaced and the leg sent again; not where an engine may act on it only once.
    package var mayResend: Bool
    /// Whether it waits for no permit: what ends another leg must not be refused because there are too many.
    package var isUrgent = false

    package init(
        stage: Stage,
        endpoint: Endpoint,
        port: Int? = nil,
        method: String = "POST",
        path: String,
        body: PiecedBytes,
        headers: [(name: String, value: String)] = [],
        requestID: String,
        attempt: Int,
        timeout: Duration,
        isLastMoment: Bool = false,
        mayResend: Bool = true
    ) {
        self.stage = stage
        self.endpoint = endpoint
        self.port = port
        self.method = method
        self.path = path
        self.body = body
        self.headers = headers
        self.requestID = requestID
        self.attempt = attempt
        self.timeout = timeout
        self.isLastMoment = isLastMoment
        self.mayResend = mayResend
    }
}

/// A whole answer to a leg.
package struct LegAnswer: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: SharedBytes
    package var seconds: Double

    package init(status: Int, headers: [(name: String, value: String)], body: SharedBytes, seconds: Double) {
        self.status = status
        self.headers = headers
        self.body = body
        self.seconds = seconds
    }
}

/// Why a leg has no answer.
package struct LegFailure: Error, Sendable, Equatable {
    /// As logs, metrics and `/debug/decisions` name it.
    package enum Code: String, Sendable {
        case connectFailed = "connect_failed"
        case reset
        case timeout
        case badResponse = "bad_response"
        case tooLarge = "too_large"
        case cancelled
        case noPermit = "no_permit"
    }

    package var code: Code
    package var message: String
    /// Whether it speaks against the endpoint as such: refused, unreachable, silent, or gone before a byte of an answer. Breakers count these.
    package var countsForBreaker: Bool
    /// Whether the request can have arrived.
    package var mayHaveArrived: Bool
    /// Of `noPermit`: whether no other endpoint would do either.
    package var isOverall: Bool
    package var seconds: Double

    package init(
        _ code: Code,
        _ message: String,
        countsForBreaker: Bool = false,
        mayHaveArrived: Bool = true,
        isOverall: Bool = false,
        seconds: Double = 0
    ) {
        self.code = code
        self.message = message
        self.countsForBreaker = countsForBreaker
        self.mayHaveArrived = mayHaveArrived
        self.isOverall = isOverall
        self.seconds = seconds
    }
}

/// Sends legs. Cancelling the task that waits closes the leg's connection, so that the engine notices.
package protocol LegTransport: Sendable {
    /// Sends a leg and waits for its whole answer, whatever its status.
    func send(_ leg: LegRequest) async -> Result<LegAnswer, LegFailure>

    /// Sends a leg and waits for the head of its answer; the body follows piece by piece.
    func open(_ leg: LegRequest) async -> Result<OpenLeg, LegFailure>

    /// Whether there is an endpoint that could get no leg now for want of a permit.
    var isFullSomewhere: Bool { get }

    /// Whether a leg to the endpoint could start now.
    func hasRoom(at endpoint: Endpoint) -> Bool
}

/// An answer whose body is still on its way. One task reads it. Dropping it closes the connection.
package protocol LegBody: AnyObject, Sendable {
    /// The next piece; nil at the end. Throws when the body breaks off before its end.
    func next() async throws(LegFailure) -> SharedBytes?

    /// Closes the connection; a `next` that waits throws `cancelled`. From any thread.
    func cancel()
}

package struct OpenLeg: Sendable {
    package var status: Int
    package var headers: [(name: String, value: String)]
    package var body: any LegBody

    package init(status: Int, headers: [(name: String, value: String)], body: any LegBody) {
        self.status = status
        self.headers = headers
        self.body = body
    }
}

/// Chooses endpoints for legs, each time with what is known of the pool now, and puts the request's load on them.
///
/// It belongs to the request's own task.
package protocol StagePicker: AnyObject {
    /// - Parameters:
    ///   - isExcluded: endpoints that may not be chosen.
    ///   - peer: the endpoint of the stage before.
    /// - Returns: nil when nobody is left.
    func pick(_ stage: Stage, peer: Endpoint?, excluding isExcluded: (Endpoint) -> Bool) -> StagePick?

    /// Whether `pick` would find an endpoint now. Reserves and notes nothing.
    func canPick(_ stage: Stage, excluding isExcluded: (Endpoint) -> Bool) -> Bool
}

/// An endpoint that was chosen for a leg, with the load that it was given.
package final class StagePick {
    package let endpoint: Endpoint
    package var reservation: Reservation?
    /// Of a decode after a prefill whose pair has failed before.
    var pairPass: PairPass?

    package init(endpoint: Endpoint, reservation: consuming Reservation?) {
        self.endpoint = endpoint
        self.reservation = reservation
    }

    package init(_ reservation: consuming Reservation) {
        endpoint = reservation.endpoint
        self.reservation = consume reservation
    }
}
