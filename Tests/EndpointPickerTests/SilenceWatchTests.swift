import Admission
import Bytes
import TestSupport
import Testing

@testable import EndpointPicker

private final class Calls: Sendable {
    private let names = Lock<[String]>([])

    func add(_ name: String) { names.withLock { $0.append(name) } }

    var count: Int { names.withLock { $0.count } }

    func take() -> [String] { names.withLock { exchange(&$0, with: []) } }
}

@Suite("The watch over silent decodes")
struct SilenceWatchTests {
    private let alarm = ManualAlarm()
    private let calls = Calls()

    private func makeWatch() -> SilenceWatch {
        SilenceWatch(alarm: alarm, now: { [alarm] in alarm.now })
    }

    @Test("A decode is called every period, and once at its limit")
    func period() {
        let watch = makeWatch()
        let decode = watch.watch(until: .milliseconds(2500)) { [calls] in calls.add("a") }
        alarm.advance(by: .milliseconds(999))
        #expect(calls.take() == [])
        alarm.advance(by: .milliseconds(1))
        #expect(calls.take() == ["a"])
        alarm.advance(by: .milliseconds(1000))
        #expect(calls.take() == ["a"])
        alarm.advance(by: .milliseconds(500))
        #expect(calls.take() == ["a"], "its limit")
        alarm.advance(by: .milliseconds(999))
        #expect(calls.take() == [])
        alarm.advance(by: .milliseconds(1))
        #expect(calls.take() == ["a"], "what was not made good is looked at again")
        _ = consume decode
    }

    @Test("A limit before the one that the alarm is set for counts")
    func earlier() {
        let watch = makeWatch()
        let slow = watch.watch(until: nil) { [calls] in calls.add("slow") }
        let quick = watch.watch(until: .milliseconds(5)) { [calls] in calls.add("quick") }
        alarm.advance(by: .milliseconds(5))
        #expect(calls.take() == ["quick"])
        alarm.advance(by: .milliseconds(995))
        #expect(calls.take() == ["slow"])
        _ = consume slow
        _ = consume quick
    }

    @Test("Who is dropped is called no more, and the last one leaves the alarm unset")
    func dropped() {
        let watch = makeWatch()
        do {
            let decode = watch.watch(until: nil) { [calls] in calls.add("a") }
            let other = watch.watch(until: nil) { [calls] in calls.add("b") }
            #expect(watch.count == 2)
            _ = consume decode
            #expect(watch.count == 1)
            alarm.advance(by: .seconds(1))
            #expect(calls.take() == ["b"])
            _ = consume other
        }
        #expect(watch.count == 0)
        alarm.advance(by: .seconds(1))
        #expect(calls.take() == [])
        #expect(alarm.setFor == nil)
        let again = watch.watch(until: nil) { [calls] in calls.add("c") }
        alarm.advance(by: .seconds(1))
        #expect(calls.take() == ["c"])
        _ = consume again
    }

    @Test("However many there are, the alarm rings no more often than every ten milliseconds")
    func together() {
        let watch = makeWatch()
        var decodes: [Held] = []
        for _ in 0..<500 {
            decodes.append(Held(watch.watch(until: nil) { [calls] in calls.add("a") }))
            alarm.advance(by: .milliseconds(1))
        }
        // The first is due now + 500 ms; the other 499 within the half second after it.
        var rings = 0
        while calls.count < 500 {
            guard let time = alarm.setFor else { break }
            alarm.advance(by: time.elapsed(since: alarm.now))
            rings += 1
        }
        #expect(rings <= 51)
        #expect(calls.take().count == 500)
    }
}

private final class Held {
    private let decode: WatchedDecode
    init(_ decode: consuming WatchedDecode) { self.decode = decode }
}
