package import Bytes

/// `fcfs-ordering-policy`: first come, first served.
package struct FCFSOrderingPolicy: OrderingPolicy {
    package init() {}

    package func key(of request: AdmissionRequest, queuedAt: MonotonicTime, expiresAt: MonotonicTime?) -> UInt64 {
        0
    }
}
