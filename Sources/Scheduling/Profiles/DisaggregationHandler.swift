package import Pool

/// `disagg-profile-handler`: a request's stages (encode, prefill, decode) on endpoints of their own.
///
/// Each stage has a profile. The request goes to the decode profile's pick, which is told of the others. A stage without a profile, without a
/// decider, or that its decider does not want is left to the endpoint that decodes.
package struct DisaggregationHandler: ProfileHandler {
    package enum StageOrder: Sendable {
        /// Decode, encode, prefill: deciders see what the endpoint that decodes holds.
        case decodeFirst
        /// Prefill, encode, decode: the decode profile sees where the prompt was computed. Prefill needs no decider, and has none.
        case prefillFirst
    }

    package struct Profiles: Sendable, Equatable {
        package var decode = "decode"
        package var prefill = "prefill"
        package var encode = "encode"

        package init() {}
    }

    package let stageOrder: StageOrder
    package let profiles: Profiles
    package let prefillDecider: (any DisaggregationDecider)?
    package let encodeDecider: (any DisaggregationDecider)?
    /// See `Route`; only the deprecated `pd-profile-handler` sets it.
    package let primaryPort: Int?
    package let traits: ProfileHandlerTraits

    package init(
        stageOrder: StageOrder = .decodeFirst,
        profiles: Profiles = Profiles(),
        prefillDecider: (any DisaggregationDecider)? = nil,
        encodeDecider: (any DisaggregationDecider)? = nil,
        primaryPort: Int? = nil
    ) {
        self.stageOrder = stageOrder
        self.profiles = profiles
        self.prefillDecider = prefillDecider
        self.encodeDecider = encodeDecider
        self.primaryPort = primaryPort
        let deciders = [prefillDecider, encodeDecider].compactMap { $0 }
        var traits = ProfileHandlerTraits()
        traits.disaggregates = true
        traits.readsPrefixMatches = deciders.contains { $0.readsPrefixMatches }
        self.traits = traits
    }

    package func next(_ cycle: SchedulingCycle) -> [Int] {
        let stages: [Int?] =
            switch stageOrder {
            case .decodeFirst: decodeFirst(cycle)
            case .prefillFirst: prefillFirst(cycle)
            }
        return stages.lazy.compactMap { $0 }.first { !cycle.ran.contains($0) }.map { [$0] } ?? []
    }

    /// The stages that the request needs, as far as that is known.
    private func decodeFirst(_ cycle: SchedulingCycle) -> [Int?] {
        guard let decode = cycle.index(of: profiles.decode) else { return [] }
        guard cycle.ran.contains(decode) else { return [decode] }
        guard let picked = cycle.result(decode)?.index else { return [] }
        return [
            wanted(profiles.encode, by: encodeDecider, decode: picked, cycle),
            wanted(profiles.prefill, by: prefillDecider, decode: picked, cycle),
        ]
    }

    private func prefillFirst(_ cycle: SchedulingCycle) -> [Int?] {
        let prefill = cycle.request.carriesPrompt ? cycle.index(of: profiles.prefill) : nil
        if let prefill, cycle.ran.contains(prefill), cycle.result(prefill) == nil { return [] }
        return [
            prefill, wanted(profiles.encode, by: encodeDecider, decode: nil, cycle), cycle.index(of: profiles.decode),
        ]
    }

    private func wanted(
        _ profile: String,
        by decider: (any DisaggregationDecider)?,
        decode: Int?,
        _ cycle: SchedulingCycle
    ) -> Int? {
        guard let decider, let index = cycle.index(of: profile) else { return nil }
        return decider.disaggregates(cycle.request, decode: decode) ? index : nil
    }

    package func peer(_ cycle: SchedulingCycle) -> Endpoint? {
        switch stageOrder {
        case .decodeFirst: cycle.result(cycle.index(of: profiles.decode))?.endpoint
        case .prefillFirst: cycle.result(cycle.index(of: profiles.prefill))?.endpoint
        }
    }

    package func profile(of stage: Stage) -> String? {
        switch stage {
        case .encode: profiles.encode
        case .prefill: profiles.prefill
        case .decode: profiles.decode
        }
    }

    package func route(_ cycle: SchedulingCycle) throws(SchedulingError) -> Route {
        // A prompt that should not be computed where it is decoded is not: that endpoint is not made for it.
        let prefill = cycle.index(of: profiles.prefill)
        if let prefill, cycle.ran.contains(prefill), cycle.result(prefill) == nil {
            throw SchedulingError(.profileFailed, "failed to find available prefill workers")
        }
        guard let decode = cycle.index(of: profiles.decode), cycle.result(decode) != nil else {
            throw SchedulingError(.profileFailed, "failed to find available decode workers")
        }
        let encode = cycle.index(of: profiles.encode)
        return Route(
            primary: decode,
            prefill: cycle.result(prefill) == nil ? nil : prefill,
            encode: cycle.result(encode) == nil ? nil : encode,
            primaryPort: primaryPort
        )
    }
}
