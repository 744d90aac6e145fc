import Pool
import Scheduling
import Testing

@Suite("header-profile-handler")
struct HeaderProfileHandlerTests {
    private let pool = makePool(count: 1)

    private func scheduler(
        _ names: [String] = ["encode", "prefill", "decode"],
        _ handler: HeaderProfileHandler = HeaderProfileHandler(),
        _ cache: ApproximatePrefixCache? = nil,
        decider: PrefixBasedDecider? = nil
    ) -> Scheduler {
        Scheduler(
            profiles: names.map { SchedulingProfile(name: $0, scorers: []) },
            handler: handler,
            prefixCache: cache,
            conditionalDecider: decider
        )
    }

    private func ran(_ headers: [String: String], _ scheduler: Scheduler) throws -> [String] {
        try decide(scheduler, pool.everyone, request(headers: headers)).results.map(\.profile.name)
    }

    @Test("The header names the one profile that runs; decode without it or with a blank one")
    func choice() throws {
        #expect(try ran(["epp-profile": " prefill "], scheduler()) == ["prefill"])
        #expect(try ran([:], scheduler()) == ["decode"])
        #expect(try ran(["epp-profile": "  "], scheduler()) == ["decode"])
        let other = HeaderProfileHandler(headerName: "X-Stage", defaultProfile: "encode")
        #expect(try ran(["x-stage": "decode"], scheduler(["encode", "decode"], other)) == ["decode"])
        #expect(try ran(["epp-profile": "decode"], scheduler(["encode", "decode"], other)) == ["encode"])
    }

    @Test("A profile that there is not is an error; with a single profile there is nothing to choose")
    func unknown() throws {
        let error = #expect(throws: SchedulingError.self) { try ran(["epp-profile": "train"], scheduler()) }
        #expect(error?.code == .unknownProfile)
        #expect(try ran(["epp-profile": "train"], scheduler(["only"])) == ["only"])
    }

    @Test("if-available is met by an endpoint that holds a block of the prompt, and only by one")
    func conditional() throws {
        let cache = ApproximatePrefixCache()
        let blocks = prompt(4, seed: 1)
        var request = SchedulingRequest(
            model: "m",
            targetModel: "m",
            prefix: PromptBlocks(hashes: blocks, blockTokens: 16),
            estimatedTokens: 64,
            header: { $0 == "prefer" ? "respond-async, If-Available; wait=1" : nil }
        )
        let scheduler = scheduler(["decode"], HeaderProfileHandler(), cache)
        let error = #expect(throws: SchedulingError.self) { try decide(scheduler, pool.everyone, request) }
        #expect(error?.code == .notCached)
        cache.record(PromptBlocks(hashes: [blocks[0]], blockTokens: 16), pool.snapshot, index: 0)
        #expect(try decide(scheduler, pool.everyone, request).endpoint.identity.name == "e0")

        // A decider says how much is enough: here, that fewer than 32 tokens remain to be computed.
        let strict = self.scheduler(
            ["decode"],
            HeaderProfileHandler(),
            ApproximatePrefixCache(index: cache.index),
            decider: PrefixBasedDecider(nonCachedTokens: 32)
        )
        request.prefix = PromptBlocks(hashes: blocks + prompt(4, seed: 2), blockTokens: 16)
        request.estimatedTokens = 128
        #expect(throws: SchedulingError.self) { try decide(strict, pool.everyone, request) }
        cache.record(
            PromptBlocks(hashes: Array(request.prefix.hashes.prefix(7)), blockTokens: 16),
            pool.snapshot,
            index: 0
        )
        #expect(try decide(strict, pool.everyone, request).endpoint.identity.name == "e0")
    }

    @Test(
        "Without the preference nothing is asked of the cache",
        arguments: ["", "if-available-soon", "handling=strict", "x;if-available"]
    )
    func unconditional(value: String) throws {
        #expect(try ran(["prefer": value], scheduler()) == ["decode"])
    }
}
