import Bytes
import EndpointPicker
import Inference
import Pool
import Scheduling

/// A decision, called as a function.
final class SelectInProcess {
    enum Scorers {
        /// What Apus does without a configuration.
        case builtIn
        /// The three of the reference's default.
        case reference
    }

    private let pool: Pool
    private let cache: ApproximatePrefixCache
    private let scheduler: Scheduler
    private var generator = SeededGenerator(seed: 11)

    init(endpoints: Int, _ scorers: Scorers = .builtIn) {
        pool = BenchPool.make(endpoints)
        let index = PrefixIndex()
        switch scorers {
        case .builtIn:
            scheduler = SchedulingSetup.builtIn(prefixIndex: index).scheduler
            cache = scheduler.prefixCache ?? ApproximatePrefixCache(index: index)
        case .reference:
            cache = ApproximatePrefixCache(index: index)
            scheduler = Scheduler(profiles: [ScorerSet.reference.profile], prefixCache: cache)
        }
    }

    /// A body that is read again and again.
    final class Prompt {
        let body: ByteBuffer
        let hashes: [UInt64]

        init(_ bytes: [UInt8]) throws {
            body = ByteBuffer(copying: bytes)
            hashes = SelectInProcess.hashes(of: try InferenceRequest.read(body, api: .completions), in: body)
        }
    }

    static func prompts(_ prompts: SelectPrompts) throws -> [Prompt] {
        try prompts.completions.map { try Prompt($0) }
    }

    fileprivate static func hashes(of request: InferenceRequest, in body: borrowing ByteBuffer) -> [UInt64] {
        PrefixBlocks.hashes(
            of: request,
            in: body,
            model: Frames.model,
            blockTokens: SelectPrompts.blockTokens,
            bytesPerToken: PrefixCacheSettings.bytesPerToken,
            maxBlocks: 8192
        )
    }

    /// Lets the endpoints hold more and more of a prompt: the first a part, the last all of it.
    func spread(_ prompt: Prompt) {
        let count = pool.snapshot.endpoints.count
        for position in 0..<count {
            let held = Array(prompt.hashes.prefix(prompt.hashes.count * (position + 1) / count))
            cache.record(
                PromptBlocks(hashes: held, blockTokens: SelectPrompts.blockTokens),
                pool.snapshot,
                index: position
            )
        }
    }

    /// Candidates, prefix match, scores, pick and reservation; the prompt is remembered only when asked for.
    func decide(_ hashes: [UInt64], remembers: Bool = false) throws {
        var request = SchedulingRequest(
            model: Frames.model,
            targetModel: Frames.model,
            prefix: PromptBlocks(hashes: hashes, blockTokens: SelectPrompts.blockTokens),
            estimatedTokens: hashes.count * SelectPrompts.blockTokens
        )
        request.now = .now()
        let candidates = pool.candidates(at: request.now)
        let result = try scheduler.schedule(request, candidates, using: &generator)
        pool.reserve(result.endpoint, tokens: 100).release()
        if remembers { scheduler.record(request, result) }
    }

    /// The same from the bytes of the body: JSON and block hashes, too, and the prompt remembered.
    func decide(reading prompt: Prompt) throws {
        let request = try InferenceRequest.read(prompt.body, api: .completions)
        try decide(Self.hashes(of: request, in: prompt.body), remembers: true)
    }
}
