package import Bytes
package import Pool

/// Decides where a request goes. Immutable; a new configuration makes a new one. One object, so that a decision takes one reference of it.
package final class Scheduler: Sendable {
    package let profiles: [SchedulingProfile]
    package let handler: any ProfileHandler
    /// Nil when no plugin asks how much of a prompt an endpoint holds.
    package let prefixCache: ApproximatePrefixCache?
    package let policies: RequestPolicies
    /// Says how much of a prompt is enough for a request that wants an endpoint only if it holds it; nil when any block is.
    package let conditionalDecider: PrefixBasedDecider?
    /// The handler's plugin, as metrics show it.
    package let handlerPlugin: (name: String, type: String)
    private let names: [String]

    package init(
        profiles: [SchedulingProfile],
        handler: any ProfileHandler = SingleProfileHandler(),
        prefixCache: ApproximatePrefixCache? = nil,
        policies: RequestPolicies = RequestPolicies(),
        conditionalDecider: PrefixBasedDecider? = nil,
        handlerPlugin: (name: String, type: String) = ("single-profile-handler", "single-profile-handler")
    ) {
        self.profiles = profiles
        self.handler = handler
        self.prefixCache = prefixCache
        self.policies = policies
        self.conditionalDecider = conditionalDecider
        self.handlerPlugin = handlerPlugin
        names = profiles.map(\.name)
    }

    /// Chooses among `candidates`. Changes nothing: reserve the load, then call `record`, once the pick is final.
    ///
    /// The order of the candidates plays no part, but for which of equals the generator meets first.
    package func schedule(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) throws(SchedulingError) -> SchedulingResult {
        guard !candidates.isEmpty else { throw .noEndpoints }
        var request = request
        if let prefixCache {
            request.prefixMatches = prefixCache.match(request.prefix, candidates)
        }
        var cycle = SchedulingCycle(request: request, profiles: names)
        // A handler asks for each profile at most once, so this ends.
        while true {
            let asked = handler.next(cycle).filter { profiles.indices.contains($0) && !cycle.ran.contains($0) }
            if asked.isEmpty { break }
            request.peer = handler.peer(cycle)
            for index in asked {
                cycle.results[index] = profiles[index].run(request, candidates, using: &generator)
                cycle.ran.append(index)
            }
        }
        let route = try handler.route(cycle)
        guard let primary = cycle.result(route.primary) else { throw .noEndpoints }
        try ConditionalDecode.check(request, at: primary.index, conditionalDecider)
        return SchedulingResult(
            primary: primary,
            prefill: cycle.result(route.prefill),
            encode: cycle.result(route.encode),
            primaryPort: route.primaryPort,
            results: cycle.ran.compactMap { cycle.results[$0] },
            prefixMatches: request.prefixMatches
        )
    }

    /// Chooses for one stage of a request alone, after the decision about the whole: when an endpoint failed, or when it is this stage's turn.
    ///
    /// - Parameters:
    ///   - candidates: without those that may not be chosen again.
    ///   - peer: the endpoint of the stage before it.
    /// - Returns: nil when the stage's profile finds nobody.
    package func pick(
        _ stage: Stage,
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        peer: Endpoint? = nil,
        using generator: inout SeededGenerator
    ) throws(SchedulingError) -> ProfileResult? {
        guard !candidates.isEmpty else { return nil }
        guard let profile = handler.profile(of: stage).flatMap({ name in profiles.first { $0.name == name } }) else {
            return stage == .decode ? try schedule(request, candidates, using: &generator).primary : nil
        }
        var request = request
        request.prefixMatches = prefixCache?.match(request.prefix, candidates)
        request.peer = peer
        return profile.run(request, candidates, using: &generator)
    }

    /// Whether there is a profile for endpoints that compute prompts for others.
    package var hasPrefill: Bool {
        handler.traits.disaggregates && handler.profile(of: .prefill).map { names.contains($0) } == true
    }

    /// Remembers that a stage of the request was given to `result`'s endpoint, which has the prompt in its cache from now on.
    package func record(_ request: SchedulingRequest, _ result: ProfileResult) {
        guard let prefixCache, !request.prefix.hashes.isEmpty else { return }
        prefixCache.record(request.prefix, result.candidates.snapshot, index: result.index)
    }

    /// Remembers that the request's prompt is now in the cache of every endpoint that was picked first, and tells who wants to learn.
    package func record(_ request: SchedulingRequest, _ result: SchedulingResult) {
        for observer in policies.observers { observer.decided(request, result) }
        guard let prefixCache, !request.prefix.hashes.isEmpty else { return }
        for profile in result.results {
            let snapshot = profile.candidates.snapshot
            prefixCache.record(request.prefix, snapshot, index: profile.candidates.list[profile.picked[0]].index)
        }
    }
}

extension SchedulingCycle {
    /// What the profile at `index` decided; nil when there is no such profile, or it decided nothing.
    func result(_ index: Int?) -> ProfileResult? {
        guard let index, results.indices.contains(index) else { return nil }
        return results[index]
    }
}

package struct SchedulingResult: Sendable {
    /// Where the request goes.
    package let primary: ProfileResult
    /// Where its prompt is computed first, and where its images are encoded; nil when the primary endpoint does it.
    package let prefill: ProfileResult?
    package let encode: ProfileResult?
    /// See `Route`.
    package let primaryPort: Int?
    /// Every profile that ran and found an endpoint, in order; `primary` is one of them.
    package let results: [ProfileResult]
    /// How much of the prompt each endpoint was thought to hold; nil without a prefix cache.
    package let prefixMatches: PrefixMatches?

    package var endpoint: Endpoint { primary.endpoint }

    /// The decision that a request stays with one endpoint.
    package init(alone primary: ProfileResult) {
        self.init(
            primary: primary,
            prefill: nil,
            encode: nil,
            primaryPort: nil,
            results: [primary],
            prefixMatches: nil
        )
    }

    init(
        primary: ProfileResult,
        prefill: ProfileResult?,
        encode: ProfileResult?,
        primaryPort: Int?,
        results: [ProfileResult],
        prefixMatches: PrefixMatches?
    ) {
        self.primary = primary
        self.prefill = prefill
        self.encode = encode
        self.primaryPort = primaryPort
        self.results = results
        self.prefixMatches = prefixMatches
    }

    /// The result of the profile with this name; nil when it did not run or found no endpoint.
    package func result(of profile: String) -> ProfileResult? {
        results.first { $0.profile.name == profile }
    }

    /// Blocks of the prompt that the picked endpoint was thought to hold, and blocks in all.
    package var predictedBlocks: (matched: Int, total: Int) {
        guard let prefixMatches else { return (0, 0) }
        let index = primary.candidates.list[primary.picked[0]].index
        return (prefixMatches.blocks(at: index), prefixMatches.totalBlocks)
    }
}
