/// Which requests are traced.
package struct TraceSampler: Sendable, Equatable {
    /// Whether a parent's word counts; the ratio then is for requests without one.
    let followsParent: Bool
    /// Share of the traces, 0 to 1.
    package let ratio: Double

    /// A tenth of the requests that come without a trace; of the others those that their trace samples.
    package static let standard = TraceSampler(followsParent: true, ratio: 0.1)

    init(followsParent: Bool, ratio: Double) {
        self.followsParent = followsParent
        self.ratio = ratio
    }

    /// `OTEL_TRACES_SAMPLER` and `OTEL_TRACES_SAMPLER_ARG`, empty where absent. Nil for names and numbers that are none.
    init?(name: String, argument: String) {
        var share = 0.1
        if !argument.isEmpty {
            guard let number = Double(argument), (0...1).contains(number) else { return nil }
            share = number
        }
        switch name {
        case "", "parentbased_traceidratio": self.init(followsParent: true, ratio: share)
        case "traceidratio": self.init(followsParent: false, ratio: share)
        case "always_on": self.init(followsParent: false, ratio: 1)
        case "always_off": self.init(followsParent: false, ratio: 0)
        case "parentbased_always_on": self.init(followsParent: true, ratio: 1)
        case "parentbased_always_off": self.init(followsParent: true, ratio: 0)
        default: return nil
        }
    }

    /// By the trace's id, as OpenTelemetry's SDKs do it, so that all who share a ratio sample the same traces.
    func samples(traceLow: UInt64, parent: TraceParent?) -> Bool {
        if followsParent, let parent { return parent.isSampled }
        if ratio >= 1 { return true }
        return traceLow >> 1 < UInt64(ratio * 0x1p63)
    }
}
