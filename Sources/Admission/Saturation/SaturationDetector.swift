package import Pool

/// Says how full endpoints are.
///
/// A pool's saturation is the sum of its endpoints' loads divided by the sum of their capacities: at 1 it is full. Being sums, they can be
/// kept up to date one endpoint at a time.
package protocol SaturationDetector: Sendable {
    /// What one endpoint can take, above 0.
    var capacity: Double { get }
    /// Metrics older than this say nothing, and their endpoint counts as full; nil when metrics do not matter.
    var stalenessThreshold: Duration? { get }

    /// How much of its capacity an endpoint has in use.
    func load(of candidate: Candidates.Candidate, isFresh: Bool) -> Double
    /// What requests that were let in count for, with their tokens, until their own load is in the pool.
    func load(ofRequests count: Int, tokens: Int) -> Double

    /// Whether the candidate at `position` can take a request, when the detector is a filter in a profile. Of a page it is what it says:
    /// what was sent since may well run by now.
    func hasRoom(_ position: Int, of candidates: Candidates, isFresh: Bool) -> Bool
    /// Whether, as a filter, it keeps all when none has room.
    var failsOpen: Bool { get }
}
