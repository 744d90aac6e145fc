package import Bytes

/// A request that waits.
package final class QueuedRequest: @unchecked Sendable {
    // Sendable: what varies is touched under the lock of the controller that made it.

    package let request: AdmissionRequest
    package let queuedAt: MonotonicTime
    /// Grows with every request that is queued.
    let number: UInt64

    /// Where the ordering policy puts it.
    var key: UInt64 = 0
    var heapPlace = -1
    var arrivalPlace = -1
    var commonPlace = -1
    /// Set once, when the wait is over.
    var outcome: AdmissionOutcome?
    var continuation: UnsafeContinuation<AdmissionOutcome, Never>?

    init(_ request: AdmissionRequest, number: UInt64, queuedAt: MonotonicTime) {
        self.request = request
        self.number = number
        self.queuedAt = queuedAt
    }
}

/// Ends waits under the controller's lock, and wakes whoever waited after it.
struct Wakes: Sendable {
    private var waiting: [(continuation: UnsafeContinuation<AdmissionOutcome, Never>, outcome: AdmissionOutcome)] = []

    private var callBacks: [@Sendable () -> Void] = []

    mutating func callBack(_ body: @escaping @Sendable () -> Void) { callBacks.append(body) }

    /// One that nobody waits for yet finds its outcome when it asks.
    mutating func end(_ request: QueuedRequest, _ outcome: AdmissionOutcome) {
        request.outcome = outcome
        if let continuation = request.continuation.take() { waiting.append((continuation, outcome)) }
    }

    func run() {
        for (continuation, outcome) in waiting { continuation.resume(returning: outcome) }
        for callBack in callBacks { callBack() }
    }
}
