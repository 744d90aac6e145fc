internal import Pool

/// Where pickers put a prompt that they know nothing of, each for itself and yet all at the same endpoint.
///
/// Several pickers before one pool each remember only what they have decided themselves. Were each to place what is new to it by load, the pool
/// would hold every prefix once per picker, and caches that are large enough for one copy would be too small for all. So every prompt has a home:
/// the endpoint that a hash of its first block which this picker knows nowhere, and of the endpoint's address, ranks highest (rendezvous
/// hashing). The block before which prompts part is the same for all pickers that know what comes before it, so the conversations of one
/// application have different homes, and the turns of one conversation have one.
///
/// How much the home can be expected to hold depends on how much of the pool's load other pickers have sent; without others it is nothing.
struct PromptHome {
    /// Of the candidate.
    let position: Int
    /// Tokens of the prompt that no endpoint is known to hold, times the share of the pool's requests that this picker has not sent.
    let expectedTokens: Float

    /// Nil when there is nothing that others could know better.
    init?(_ request: SchedulingRequest, _ candidates: Candidates) {
        guard let matches = request.prefixMatches else { return nil }
        var foreign: Float = 0
        var all: Float = 0
        var known = 0
        for candidate in candidates.list {
            foreign += candidate.foreign
            all += candidate.foreign + Float(candidate.inFlightRequests)
            known = max(known, matches.blocks(at: candidate.index))
        }
        guard foreign > 0, known < request.prefix.hashes.count else { return nil }
        let unknown = request.tokens(ofBlocks: matches.totalBlocks - known, matches.blockTokens)
        expectedTokens = foreign / all * Float(unknown)
        position = Self.home(of: request.prefix.hashes[known], candidates)
    }

    private static func home(of block: UInt64, _ candidates: Candidates) -> Int {
        var home = 0
        var highest: UInt64 = 0
        let endpoints = candidates.snapshot.endpoints
        for position in 0..<candidates.count {
            let product = (block ^ endpoints[candidates.list[position].index].hash).multipliedFullWidth(
                by: 0x9E37_79B9_7F4A_7C15
            )
            let rank = product.high ^ product.low
            guard rank > highest else { continue }
            highest = rank
            home = position
        }
        return home
    }
}
