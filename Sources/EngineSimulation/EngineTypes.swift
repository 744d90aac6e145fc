package import Bytes

/// The limits of a simulated engine. The defaults are llm-d-inference-sim's.
package struct EngineConfiguration: Sendable, Equatable {
    /// How many requests run at the same time; at least 1.
    package var maxNumSeqs = 5
    package var maxWaitingQueueLength = 1000
    /// Tokens of prompt and output together.
    package var maxModelLen = 1024
    /// How many different LoRA adapters the running requests may use.
    package var maxLoras = 1
    /// Tokens per block of the KV cache.
    package var blockSize = 16
    /// Blocks of the KV cache.
    package var kvCacheSize = 1024
    /// Whether blocks are found again by later requests.
    package var cachesPrefixes = true
    package var latency = LatencyModel()
    package var seed: UInt64 = 0

    package init() {}
}

/// What is asked of the engine.
package struct EngineRequest: Sendable {
    package var promptTokens: [UInt32]
    /// The tokens that it will generate. Empty: only the prompt is computed, as for an embedding.
    package var outputTokens: [UInt32]
    /// Told in the `finished` event.
    package var finishReason: EngineFinishReason
    /// The LoRA adapter, nil for the base model.
    package var adapter: String?
    /// Requests share blocks only with those of the same salt.
    package var cacheSalt: String?
    /// Of the prompt's beginning: tokens whose KV comes from elsewhere; what is cached here is not fetched.
    package var externalTokens: Int
    /// Whether the blocks stay pinned after the request's end, until `release`.
    package var keepsBlocks: Bool

    package init(
        promptTokens: [UInt32],
        outputTokens: [UInt32],
        finishReason: EngineFinishReason = .length,
        adapter: String? = nil,
        cacheSalt: String? = nil,
        externalTokens: Int = 0,
        keepsBlocks: Bool = false
    ) {
        self.promptTokens = promptTokens
        self.outputTokens = outputTokens
        self.finishReason = finishReason
        self.adapter = adapter
        self.cacheSalt = cacheSalt
        self.externalTokens = externalTokens
        self.keepsBlocks = keepsBlocks
    }
}

package enum EngineFinishReason: String, Sendable {
    case stop
    case length
}

/// A request's name within its engine.
package struct EngineRequestID: Hashable, Sendable {
    let number: Int
}

/// Why a request was not taken.
package enum EngineRejection: Error, Equatable {
    /// The waiting queue is full.
    case queueFull
    /// Prompt and output need more tokens than the engine has room for.
    case contextTooLong(tokens: Int, limit: Int)
}

/// The times and counts of one finished or aborted request.
package struct EngineRequestRecord: Sendable, Equatable {
    package var arrived: MonotonicTime
    /// When it left the waiting queue for the first time.
    package var started: MonotonicTime?
    package var firstToken: MonotonicTime?
    package var ended: MonotonicTime
    package var promptTokens: Int
    package var cachedTokens: Int
    /// Prompt tokens whose KV came from elsewhere.
    package var externalTokens = 0
    package var generatedTokens: Int
    package var preemptions: Int
}

package struct EngineEvent: Sendable, Equatable {
    package enum Kind: Sendable, Equatable {
        /// The prompt begins to be computed; so many of its tokens were in the cache.
        case started(cachedTokens: Int)
        /// The first token of the output is there.
        case firstToken
        /// One more token, so long after the one before.
        case token(after: Duration)
        case finished(EngineFinishReason, EngineRequestRecord)
    }

    package let time: MonotonicTime
    package let id: EngineRequestID
    package let kind: Kind
}

/// What an engine's metrics page tells. Counters count from the engine's start.
package struct EngineStatistics: Sendable, Equatable {
    package var running = 0
    package var waiting = 0
    /// Of the waiting: those that wait for a LoRA adapter's turn only.
    package var deferred = 0
    /// Used blocks over all blocks; blocks that are only kept for later are not used.
    package var kvCacheUsage = 0.0
    package var usedBlocks = 0
    /// Blocks that nobody uses, kept for later requests.
    package var idleBlocks = 0
    /// Requests that have ended and whose blocks are still pinned.
    package var keeping = 0
    /// Sorted, each once.
    package var runningAdapters: [String] = []
    package var waitingAdapters: [String] = []
    /// Prompt tokens looked up in the prefix cache, and those found.
    package var prefixCacheQueries = 0
    package var prefixCacheHits = 0
    package var promptTokens = 0
    /// Of `prefixCacheQueries`: tokens that came from elsewhere.
    package var externalTokens = 0
    package var generatedTokens = 0
    package var preemptions = 0
    package var finishedByStop = 0
    package var finishedByLength = 0
    package var aborted = 0
    package var rejected = 0
}
