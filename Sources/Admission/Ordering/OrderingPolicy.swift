package import Bytes

/// Says which of the requests of one flow goes first.
package protocol OrderingPolicy: Sendable {
    /// The smallest goes first; among equals the one that came first. Constant while the request waits.
    ///
    /// - Parameter expiresAt: when the request will have waited for too long; nil is never.
    func key(of request: AdmissionRequest, queuedAt: MonotonicTime, expiresAt: MonotonicTime?) -> UInt64
}
