internal import Bytes
internal import Scheduling
internal import Synchronization
internal import Telemetry

extension Director {
    /// One decision in so many has its plugins timed, the first among them: looking at the clock around each would cost as much as some of them.
    private static let timedShare: UInt64 = 64

    /// What to time the plugins of one more decision by; nil for most.
    func pluginClock() -> (@Sendable () -> MonotonicTime)? {
        let number = decisions.wrappingAdd(1, ordering: .relaxed).oldValue
        guard number.isMultiple(of: Self.timedShare) else { return nil }
        return { MonotonicTime.now() }
    }

    /// Tells how long the plugins took, if they were timed. A profile that found no endpoint tells nothing.
    func notePluginTimes(of result: SchedulingResult) {
        for result in result.results where !result.pluginTimes.isEmpty {
            var times = result.pluginTimes.makeIterator()
            func note(_ use: PluginUse, _ type: String, _ name: String) {
                guard let time = times.next() else { return }
                telemetry.pluginWorked(use, type: type, name: name, nanoseconds: time)
            }
            let profile = result.profile
            for filter in profile.filters { note(.filter, filter.type, filter.name) }
            for scorer in profile.scorers { note(.scorer, scorer.type, scorer.name) }
            note(.picker, profile.pickerType, profile.pickerName)
        }
    }
}
