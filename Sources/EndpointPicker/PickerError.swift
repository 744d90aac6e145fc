/// Why a request cannot be sent on: what its client is told, and whose fault it is.
///
/// This is the one place that maps errors to what Envoy answers in Apus's name.
package struct PickerError: Error, Equatable, Sendable {
    /// The reference's codes; the name is a metric label, so the set is small and fixed.
    package struct Code: Equatable, Sendable {
        package let name: String
        package let status: Int

        package static let badRequest = Code(name: "BadRequest", status: 400)
        package static let preconditionFailed = Code(name: "PreconditionFailed", status: 412)
        package static let payloadTooLarge = Code(name: "PayloadTooLarge", status: 413)
        package static let resourceExhausted = Code(name: "ResourceExhausted", status: 429)
        package static let `internal` = Code(name: "Internal", status: 500)
        package static let badGateway = Code(name: "BadGateway", status: 502)
        package static let serviceUnavailable = Code(name: "ServiceUnavailable", status: 503)
        package static let gatewayTimeout = Code(name: "GatewayTimeout", status: 504)
    }

    package enum Fault: Sendable {
        case client
        case upstream
        case picker
    }

    package let code: Code
    package let message: String
    package let fault: Fault
    /// The value of `x-llm-d-request-dropped-reason`, when the request was dropped for lack of room or of endpoints.
    package let droppedReason: String?
    /// The value of `retry-after`: seconds after which it makes sense to try again.
    package let retryAfter: Int?

    package init(
        _ code: Code,
        _ message: String,
        fault: Fault,
        droppedReason: String? = nil,
        retryAfter: Int? = nil
    ) {
        self.code = code
        self.message = message
        self.fault = fault
        self.droppedReason = droppedReason
        self.retryAfter = retryAfter
    }

    /// The body of the answer.
    package var body: String { "inference error: \(code.name) - \(message)" }

    package static let noEndpoints = PickerError(
        .serviceUnavailable,
        "failed to find endpoint candidates for serving the request",
        fault: .upstream,
        droppedReason: "rejected-no-endpoints",
        retryAfter: 1
    )

    /// A profile found nobody that the request cannot do without.
    package static func noEndpoints(_ reason: String) -> PickerError {
        PickerError(
            .serviceUnavailable,
            "failed to find target endpoint: \(reason)",
            fault: .upstream,
            droppedReason: "rejected-no-endpoints",
            retryAfter: 1
        )
    }

    package static func bodyTooLarge(limit: Int) -> PickerError {
        PickerError(.payloadTooLarge, "request body exceeds \(limit) bytes", fault: .client)
    }
}
