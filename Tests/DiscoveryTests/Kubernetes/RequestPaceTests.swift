import Bytes
import Testing

@testable import Discovery

@Suite("The pace of requests to a Kubernetes API")
struct RequestPaceTests {
    private let start = MonotonicTime(nanoseconds: 1_000_000_000_000)

    @Test("A burst goes at once; what follows waits for its turn, one interval after the other")
    func burst() {
        let pace = RequestPace(perSecond: 20, burst: 3)
        let waits = (0..<6).map { _ in pace.take(at: start) }
        #expect(waits == [.zero, .zero, .zero, .milliseconds(50), .milliseconds(100), .milliseconds(150)])
    }

    @Test("Idle time fills the bucket, and no further than a burst")
    func idle() {
        let pace = RequestPace(perSecond: 20, burst: 2)
        for _ in 0..<4 { _ = pace.take(at: start) }
        // Two turns are spent ahead of time and two are the burst: after three intervals one is there.
        let later = start + .milliseconds(150)
        #expect((0..<2).map { _ in pace.take(at: later) } == [.zero, .milliseconds(50)])
        let muchLater = start + .seconds(3600)
        #expect((0..<3).map { _ in pace.take(at: muchLater) } == [.zero, .zero, .milliseconds(50)])
    }
}
