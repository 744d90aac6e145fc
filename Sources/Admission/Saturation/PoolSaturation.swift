internal import Bytes
internal import Pool

/// How full the pool is, kept up to date endpoint by endpoint.
///
/// A disaggregated pool is as full as the fuller of its stages, prefill and decode: endpoints are told apart by the label `llm-d.ai/role`, and one of several
/// roles counts in each.
struct PoolSaturation {
    static let roleLabel = "llm-d.ai/role"

    private struct Stages: OptionSet {
        var rawValue: UInt8
        static let decode = Stages(rawValue: 1)
        static let prefill = Stages(rawValue: 2)
        static let encode = Stages(rawValue: 4)

        /// Endpoints without a role, or with one that is not known, serve whole requests.
        init(role: String?) {
            switch role {
            case "prefill", "encode-prefill": self = .prefill
            case "prefill-decode", "encode-prefill-decode", "both": self = [.prefill, .decode]
            case "encode": self = .encode
            default: self = .decode
            }
        }

        init(rawValue: UInt8) { self.rawValue = rawValue }

        static let count = 3
        /// Requests without images need no encoder: one that is full holds nobody back, unless the pool has nothing else.
        static let deciding = 2
        func contains(stage: Int) -> Bool { rawValue & (1 << stage) != 0 }
    }

    private struct Member {
        var index: Int
        var stages: Stages
        var isFresh: Bool
        var load: Double
    }

    /// How long sums may be built upon: what grows old in it is seen then, and rounding errors do not add up.
    private static let longestUse = Duration.milliseconds(100)

    private var detector: any SaturationDetector
    private var snapshot = Snapshot.empty
    private var stages: [Stages] = []
    /// By endpoint number, those that count.
    private var members: [Int: Member] = [:]
    private var loads: [Double] = [0, 0, 0]
    private var capacities: [Double] = [0, 0, 0]
    private var builtAt: MonotonicTime?
    /// Requests that were admitted and are not in the pool yet.
    private var grantedRequests = 0
    private var grantedTokens = 0

    init(_ detector: any SaturationDetector) {
        self.detector = detector
    }

    /// Whether the pool has no endpoint at all.
    var isEmpty: Bool { snapshot.count == 0 }

    /// 0 idle, 1 full; above 1 when more was sent than should have been. 1 when there is nobody.
    var value: Double {
        let granted = detector.load(ofRequests: grantedRequests, tokens: grantedTokens)
        var value: Double?
        for stage in 0..<Stages.count where capacities[stage] > 0 && (stage < Stages.deciding || value == nil) {
            value = max(value ?? 0, (loads[stage] + granted) / capacities[stage])
        }
        return value ?? 1
    }

    mutating func grant(tokens: Int) {
        grantedRequests += 1
        grantedTokens += Self.bounded(tokens)
    }

    mutating func settle(tokens: Int) {
        grantedRequests = max(0, grantedRequests - 1)
        grantedTokens = max(0, grantedTokens - Self.bounded(tokens))
    }

    /// An estimate may come from a number that a client wrote: sums of them must fit an Int.
    private static func bounded(_ tokens: Int) -> Int { min(max(0, tokens), 1 << 40) }

    /// Measures in another way from now on. What was granted keeps counting until it is settled.
    mutating func adopt(_ detector: any SaturationDetector) {
        self.detector = detector
        invalidate()
    }

    /// The next `update` reads the whole pool.
    mutating func invalidate() { builtAt = nil }

    /// Reads the pool unless that was done a moment ago.
    mutating func update(_ pool: Pool, at now: MonotonicTime) {
        if let builtAt, now.elapsed(since: builtAt) < Self.longestUse { return }
        builtAt = now
        let candidates = pool.candidates(at: now).preferred
        if candidates.snapshot.membership != snapshot.membership || stages.count != candidates.snapshot.count {
            stages = candidates.snapshot.endpoints.map { Stages(role: $0.labels[Self.roleLabel]) }
        }
        snapshot = candidates.snapshot
        members.removeAll(keepingCapacity: true)
        for stage in 0..<Stages.count {
            loads[stage] = 0
            capacities[stage] = 0
        }
        for candidate in candidates.list {
            let isFresh = detector.stalenessThreshold.map { snapshot.isFresh(candidate.index, at: now, threshold: $0) }
            let member = Member(
                index: candidate.index,
                stages: stages[candidate.index],
                isFresh: isFresh ?? true,
                load: detector.load(of: candidate, isFresh: isFresh ?? true)
            )
            members[snapshot.endpoints[candidate.index].number] = member
            for stage in 0..<Stages.count where member.stages.contains(stage: stage) {
                loads[stage] += member.load
                capacities[stage] += detector.capacity
            }
        }
    }

    /// Reads one endpoint: something was sent there, or has ended there.
    mutating func refresh(_ endpoint: Endpoint) {
        guard builtAt != nil, var member = members[endpoint.number] else { return }
        let candidate = Candidates.candidate(at: member.index, of: snapshot)
        let load = detector.load(of: candidate, isFresh: member.isFresh)
        for stage in 0..<Stages.count where member.stages.contains(stage: stage) {
            loads[stage] += load - member.load
        }
        member.load = load
        members[endpoint.number] = member
    }
}

extension SaturationDetector {
    /// How full these endpoints are, read once.
    func saturation(of candidates: Candidates, at now: MonotonicTime) -> Double {
        guard !candidates.isEmpty else { return 1 }
        let load = candidates.list.reduce(0.0) { sum, candidate in
            let isFresh = stalenessThreshold.map {
                candidates.snapshot.isFresh(candidate.index, at: now, threshold: $0)
            }
            return sum + self.load(of: candidate, isFresh: isFresh ?? true)
        }
        return load / (capacity * Double(candidates.count))
    }
}
