import Bytes
import Pool
import Scheduling
import Testing

/// Wants its stage always or never.
private struct Fixed: DisaggregationDecider {
    let answer: Bool
    func disaggregates(_ request: SchedulingRequest, decode: Int?) -> Bool { answer }
}

@Suite("disagg-profile-handler")
struct DisaggregationHandlerTests {
    private static func roles(_ roles: String...) -> Pool {
        makePool(labels: roles.map { ["llm-d.ai/role": $0, "kubernetes.io/hostname": "h-\($0.last ?? "x")"] })
    }

    private let pool = roles("decode", "prefill", "encode")

    private func profile(_ name: String, _ stage: RoleFilter.Stage, _ more: [any Filter] = []) -> SchedulingProfile {
        SchedulingProfile(
            name: name,
            filters: ([RoleFilter(stage)] + more).map { .init(name: "f", filter: $0) },
            scorers: [],
            picker: MaxScorePicker(maxNumOfEndpoints: 3)
        )
    }

    private func scheduler(
        _ handler: DisaggregationHandler,
        prefill: [any Filter] = [],
        decode: [any Filter] = []
    ) -> Scheduler {
        Scheduler(
            profiles: [
                profile("prefill", .prefill, prefill), profile("encode", .encode), profile("decode", .decode, decode),
            ],
            handler: handler
        )
    }

    @Test(
        "Stages run as the deciders want them; the request goes to the endpoint that decodes",
        arguments: [true, false]
    )
    func stages(isWanted: Bool) throws {
        let handler = DisaggregationHandler(
            prefillDecider: Fixed(answer: isWanted),
            encodeDecider: Fixed(answer: isWanted)
        )
        let result = try decide(scheduler(handler), pool.everyone, request())
        #expect(result.endpoint.identity.name == "e0")
        #expect(result.prefill?.endpoint.identity.name == (isWanted ? "e1" : nil))
        #expect(result.encode?.endpoint.identity.name == (isWanted ? "e2" : nil))
        #expect(result.results.map(\.profile.name) == (isWanted ? ["decode", "encode", "prefill"] : ["decode"]))
    }

    @Test("A stage without a decider does not run")
    func withoutDecider() throws {
        let result = try decide(scheduler(DisaggregationHandler()), pool.everyone, request())
        #expect(result.results.map(\.profile.name) == ["decode"])
        #expect(result.prefill == nil && result.encode == nil)
    }

    @Test("Prefill first: it runs without a decider, and before the others")
    func prefillFirst() throws {
        let handler = DisaggregationHandler(stageOrder: .prefillFirst, encodeDecider: Fixed(answer: true))
        let result = try decide(scheduler(handler), pool.everyone, request())
        #expect(result.results.map(\.profile.name) == ["prefill", "encode", "decode"])
        #expect(result.endpoint.identity.name == "e0")
        #expect(result.prefill?.endpoint.identity.name == "e1")
        var bare = request()
        bare.carriesPrompt = false
        #expect(try decide(scheduler(handler), pool.everyone, bare).prefill == nil)
    }

    @Test("A wanted prefill that finds nobody fails the request; so does a decode")
    func nobody() {
        let wanting = DisaggregationHandler(prefillDecider: Fixed(answer: true))
        let withoutPrefill = #expect(throws: SchedulingError.self) {
            try decide(scheduler(wanting), Self.roles("decode", "encode").everyone, request())
        }
        #expect(withoutPrefill == SchedulingError(.profileFailed, "failed to find available prefill workers"))
        let first = #expect(throws: SchedulingError.self) {
            try decide(
                scheduler(DisaggregationHandler(stageOrder: .prefillFirst)),
                Self.roles("decode").everyone,
                request()
            )
        }
        #expect(first == withoutPrefill)
        let withoutDecode = #expect(throws: SchedulingError.self) {
            try decide(scheduler(wanting), Self.roles("prefill").everyone, request())
        }
        #expect(withoutDecode == SchedulingError(.profileFailed, "failed to find available decode workers"))
    }

    @Test("A wanted encode that finds nobody is left to the endpoint that decodes")
    func withoutEncoder() throws {
        let handler = DisaggregationHandler(encodeDecider: Fixed(answer: true))
        let result = try decide(scheduler(handler), Self.roles("decode", "prefill").everyone, request())
        #expect(result.encode == nil)
        #expect(result.endpoint.identity.name == "e0")
    }

    @Test("The profile that runs later sees where the earlier one's pick stands")
    func peer() throws {
        let pool = makePool(
            labels: [("decode", "a"), ("prefill", "b"), ("prefill", "a"), ("prefill", "c")].map {
                ["llm-d.ai/role": $0.0, "kubernetes.io/hostname": $0.1]
            }
        )
        let near = TopologyAffinityFilter()
        let after = scheduler(DisaggregationHandler(prefillDecider: Fixed(answer: true)), prefill: [near])
        #expect(try decide(after, pool.everyone, request()).prefill?.endpoint.identity.name == "e2")

        let two = makePool(
            labels: [("decode", "a"), ("decode", "b"), ("prefill", "b")].map {
                ["llm-d.ai/role": $0.0, "kubernetes.io/hostname": $0.1]
            }
        )
        let before = scheduler(DisaggregationHandler(stageOrder: .prefillFirst), decode: [near])
        for seed in 0..<10 {
            #expect(try decide(before, two.everyone, request(), seed: UInt64(seed)).endpoint.identity.name == "e1")
        }
    }

    @Test("Profiles may have other names; an encode profile names all its picks")
    func names() throws {
        var names = DisaggregationHandler.Profiles()
        names.decode = "d"
        names.prefill = "p"
        let scheduler = Scheduler(
            profiles: [profile("d", .decode), profile("p", .prefill), profile("encode", .encode)],
            handler: DisaggregationHandler(
                profiles: names,
                prefillDecider: Fixed(answer: true),
                encodeDecider: Fixed(answer: true)
            )
        )
        let pool = Self.roles("decode", "prefill", "encode", "encode")
        let result = try decide(scheduler, pool.everyone, request())
        #expect(result.endpoint.identity.name == "e0")
        #expect(Set(result.encode?.endpoints.map(\.identity.name) ?? []) == ["e2", "e3"])
    }

    @Test("A prompt is remembered where it is computed and where it is decoded")
    func recorded() throws {
        let cache = ApproximatePrefixCache()
        let scheduler = Scheduler(
            profiles: [profile("prefill", .prefill), profile("decode", .decode)],
            handler: DisaggregationHandler(prefillDecider: Fixed(answer: true)),
            prefixCache: cache
        )
        let blocks = prompt(5, seed: 1)
        try decide(scheduler, pool.everyone, request(hashes: blocks))
        let matches = cache.match(PromptBlocks(hashes: blocks, blockTokens: 16), pool.everyone)
        #expect(matches.matchedBlocks == [5, 5, 0])
    }
}
