package import Bytes
package import Pool

// The four kinds of policy that make a decision. One is used by many requests at once and keeps no state of one of them.

/// Says which candidates a request may go to.
package protocol Filter: Sendable {
    func filter(_ request: SchedulingRequest, _ candidates: Candidates) -> Candidates
}

/// Says how well each candidate suits a request: 0 not at all, 1 as well as can be.
package protocol Scorer: Sendable {
    /// Writes the score of the candidate at each position. `scores` has one element per candidate and begins as zeros; what lies outside
    /// 0...1 is clamped, NaN is 0.
    func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>)
}

/// Chooses among scored candidates.
package protocol Picker: Sendable {
    /// Positions, the best first: at least one when there is a candidate; those after the first are where the gateway may fall back to.
    func pick(_ totals: [Float], using generator: inout SeededGenerator) -> [Int]
}

/// Says which profiles run, in which order, and which of their results is the request's destination.
package protocol ProfileHandler: Sendable {
    /// The indexes of the profiles to run next, given what ran before; empty when the decision is complete.
    func next(_ cycle: SchedulingCycle) -> [Int]

    /// The index of the profile whose pick the request goes to.
    func primary(_ cycle: SchedulingCycle) throws(SchedulingError) -> Int
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
}

/// Why no endpoint was chosen.
package struct SchedulingError: Error, Equatable, CustomStringConvertible {
    package enum Code: Sendable {
        /// No endpoint may serve the request.
        case noEndpoints
        /// A profile that the decision cannot do without found nothing.
        case profileFailed
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
