package import Bytes
package import Pool

// The four kinds of policy that make a decision. One is used by many requests at once and keeps no state of one of them.

/// What filters and scorers may want of those around them.
package protocol CandidatePolicy: Sendable {
    /// Whether it asks how much of a prompt an endpoint holds.
    var readsPrefixMatches: Bool { get }
    /// Who learns from decisions, if it decides by earlier ones.
    var observer: (any DecisionObserver)? { get }
    /// The response header that it reads back from the next request, if it does.
    var sessionToken: SessionToken? { get }
}

extension CandidatePolicy {
    package var readsPrefixMatches: Bool { false }
    package var observer: (any DecisionObserver)? { nil }
    package var sessionToken: SessionToken? { nil }
}

/// Says which candidates a request may go to.
package protocol Filter: CandidatePolicy {
    func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates
}

/// Says how well each candidate suits a request: 0 not at all, 1 as well as can be.
package protocol Scorer: CandidatePolicy {
    /// Writes the score of the candidate at each position. `scores` has one element per candidate and begins as zeros; what lies outside
    /// 0...1 is clamped, NaN is 0.
    func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>)
}

/// Chooses among scored candidates.
package protocol Picker: Sendable {
    /// Positions, the best first: at least one when there is a candidate; those after the first are where the gateway may fall back to.
    func pick(_ totals: [Float], using generator: inout SeededGenerator) -> [Int]
}

/// Says which profiles run, in which order, and what their results mean for the request.
package protocol ProfileHandler: Sendable {
    /// The indexes of the profiles to run next, given what ran before; empty when the decision is complete.
    func next(_ cycle: SchedulingCycle) -> [Int]

    /// What the profiles' picks are for, once all have run.
    func route(_ cycle: SchedulingCycle) throws(SchedulingError) -> Route

    /// The endpoint that the profiles which run next will work with: what topology is compared with.
    func peer(_ cycle: SchedulingCycle) -> Endpoint?

    /// The name of the profile that picks for a stage of a disaggregated request; nil when the handler knows no such stage.
    func profile(of stage: Stage) -> String?

    var traits: ProfileHandlerTraits { get }
}

extension ProfileHandler {
    package func peer(_ cycle: SchedulingCycle) -> Endpoint? { nil }

    package func profile(of stage: Stage) -> String? { nil }

    package var traits: ProfileHandlerTraits { ProfileHandlerTraits() }
}

/// The stages in which a request may be served by endpoints of their own.
package enum Stage: String, Sendable, CaseIterable {
    case encode, prefill, decode
}

/// What a profile handler means for those around it.
package struct ProfileHandlerTraits: Sendable, Equatable {
    /// Whether a request may be spread over several endpoints. Then clients may not set what the endpoints tell each other.
    package var disaggregates = false
    /// Whether somebody asks how much of a prompt an endpoint holds.
    package var readsPrefixMatches = false
    /// The header by which clients choose the profile, in lower case; nil when they cannot.
    package var profileHeader: String?

    package init() {}
}

/// Which profile's pick serves what.
package struct Route: Sendable, Equatable {
    /// The index of the profile whose pick the request goes to.
    package var primary: Int
    /// The profiles that picked where the prompt is computed and where images are encoded first, if they are.
    package var prefill: Int?
    package var encode: Int?
    /// The port that requests are sent to, whatever port the picked endpoint has (data parallel: a listener that passes them on to the rank).
    package var primaryPort: Int?

    package init(primary: Int, prefill: Int? = nil, encode: Int? = nil, primaryPort: Int? = nil) {
        self.primary = primary
        self.prefill = prefill
        self.encode = encode
        self.primaryPort = primaryPort
    }
}

/// Says whether a stage of a request runs on an endpoint of its own.
package protocol DisaggregationDecider: Sendable {
    /// - Parameter decode: the index, in the snapshot, of the endpoint that decodes; nil when it has not been picked.
    func disaggregates(_ request: SchedulingRequest, decode: Int?) -> Bool

    var readsPrefixMatches: Bool { get }
}

extension DisaggregationDecider {
    package var readsPrefixMatches: Bool { false }
}

/// A policy that learns from what was decided.
package protocol DecisionObserver: Sendable {
    /// The decision stands and its load is reserved.
    func decided(_ request: SchedulingRequest, _ result: SchedulingResult)

    /// Goes on with what the same policy of an earlier configuration has learnt. Called before the first decision.
    func takeOver(from earlier: any DecisionObserver)
}

extension DecisionObserver {
    package func takeOver(from earlier: any DecisionObserver) {}
}

/// A decision in the making.
package struct SchedulingCycle: Sendable {
    package let request: SchedulingRequest
    /// The names of the scheduler's profiles.
    package let profiles: [String]
    /// By profile: nil when it did not run or found no endpoint.
    package internal(set) var results: [ProfileResult?]
    /// Profiles that ran, in order.
    package internal(set) var ran: [Int] = []

    init(request: SchedulingRequest, profiles: [String]) {
        self.request = request
        self.profiles = profiles
        results = Array(repeating: nil, count: profiles.count)
    }

    /// The index of the profile with this name.
    package func index(of profile: String) -> Int? {
        profiles.firstIndex(of: profile)
    }
}

/// Why no endpoint was chosen.
package struct SchedulingError: Error, Equatable, CustomStringConvertible {
    package enum Code: Sendable {
        /// No endpoint may serve the request.
        case noEndpoints
        /// A profile that the decision cannot do without found nothing.
        case profileFailed
        /// The request names a profile that there is not.
        case unknownProfile
        /// The request wants an endpoint only if it holds the prompt, and none does.
        case notCached
    }

    package let code: Code
    package let message: String

    package init(_ code: Code, _ message: String) {
        self.code = code
        self.message = message
    }

    package static let noEndpoints = SchedulingError(.noEndpoints, "no endpoints available for the given request")

    package var description: String { message }
}
