package import Bytes
package import Pool

/// What the scheduler knows of a request.
package struct SchedulingRequest: Sendable {
    /// The model that the client named, and the one that the request is sent on for (an adapter, a rewritten name).
    package var model: String
    package var targetModel: String
    /// The prompt's blocks; empty when nobody needs them or the prompt is shorter than one block.
    package var prefix: PromptBlocks
    /// The prompt's tokens, as far as they can be told.
    package var estimatedTokens: Int
    /// The most tokens that the client wants back; nil when it does not say.
    package var maxOutputTokens: Int?
    /// Images, videos and sounds in the prompt.
    package var multimodalParts = 0
    /// Whether there is a prompt at all; a request without a body has none.
    package var carriesPrompt = true
    /// When the request was looked at.
    package var now = MonotonicTime(nanoseconds: 0)
    /// What the plugins are timed by; nil when they are not.
    package var clock: (@Sendable () -> MonotonicTime)?
    /// Looks up a header of the request by its lower-case name.
    package var header: @Sendable (String) -> String?
    /// How much of the prompt each endpoint holds; the scheduler fills it in before the profiles run.
    package internal(set) var prefixMatches: PrefixMatches?
    /// The endpoint that was picked for another stage of the request; the scheduler fills it in.
    package var peer: Endpoint?

    package init(
        model: String,
        targetModel: String,
        prefix: PromptBlocks = PromptBlocks(),
        estimatedTokens: Int = 0,
        header: @escaping @Sendable (String) -> String? = { _ in nil }
    ) {
        self.model = model
        self.targetModel = targetModel
        self.prefix = prefix
        self.estimatedTokens = estimatedTokens
        self.header = header
    }

    /// The tokens of `count` blocks of the prompt.
    package func tokens(ofBlocks count: Int, _ blockTokens: Int) -> Int {
        prefix.exactTokens.map { Int((Double(count) * $0).rounded()) } ?? count * blockTokens
    }
}

/// The chained hashes of a prompt's blocks: each stands for its block and all before it.
package struct PromptBlocks: Sendable, Equatable {
    package var hashes: [UInt64]
    /// Tokens that one block stands for.
    package var blockTokens: Int
    /// The same, where the number of the prompt's tokens is known better than by its bytes.
    package var exactTokens: Double?

    package init(hashes: [UInt64] = [], blockTokens: Int = 0, exactTokens: Double? = nil) {
        self.hashes = hashes
        self.blockTokens = blockTokens
        self.exactTokens = exactTokens
    }
}

/// How many of a request's blocks each endpoint holds, counted from the first without a gap.
package struct PrefixMatches: Sendable, Equatable {
    package let totalBlocks: Int
    package let blockTokens: Int
    /// By the endpoint's index in the snapshot; 0 for endpoints that were not asked for.
    package let matchedBlocks: [Int32]

    package init(totalBlocks: Int, blockTokens: Int, matchedBlocks: [Int32]) {
        self.totalBlocks = totalBlocks
        self.blockTokens = blockTokens
        self.matchedBlocks = matchedBlocks
    }

    /// The blocks that the endpoint at `index` of the snapshot holds.
    package func blocks(at index: Int) -> Int {
        index < matchedBlocks.count ? Int(matchedBlocks[index]) : 0
    }
}
