package import Bytes

/// `slo-deadline-ordering-policy`: first the one whose first token is due first (`x-llm-d-slo-ttft-ms`, from when it was received); one that
/// says nothing goes last.
package struct SLODeadlineOrderingPolicy: OrderingPolicy {
    package init() {}

    package func key(of request: AdmissionRequest, queuedAt: MonotonicTime, expiresAt: MonotonicTime?) -> UInt64 {
        request.timeToFirstToken.map { (request.receivedAt + $0).nanoseconds } ?? .max
    }
}
