package import Bytes

/// `edf-ordering-policy`: the earliest deadline first, that is when the request was queued plus its TTL; one without goes last.
package struct EDFOrderingPolicy: OrderingPolicy {
    package init() {}

    package func key(of request: AdmissionRequest, queuedAt: MonotonicTime, expiresAt: MonotonicTime?) -> UInt64 {
        expiresAt?.nanoseconds ?? .max
    }
}
