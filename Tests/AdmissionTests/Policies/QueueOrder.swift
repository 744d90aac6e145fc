import TestSupport

@testable import Admission

/// Queues requests behind a full pool and says in which order they go.
func order(
    _ configure: (inout BandSettings) -> Void,
    _ requests: [(flow: String, ttft: Duration?)]
) -> [Int] {
    let harness = Harness { configure(&$0.defaultBand) }
    harness.admit()
    let queued = requests.compactMap { request in
        harness.alarm.advance(by: .milliseconds(1))
        return harness.admit(flow: request.flow, ttft: request.ttft).queued
    }
    var order: [Int] = []
    for _ in queued {
        harness.endOne()
        for (index, request) in queued.enumerated() where request.outcome != nil && !order.contains(index) {
            order.append(index)
            harness.place(request)
        }
    }
    return order
}
