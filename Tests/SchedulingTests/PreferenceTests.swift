import Bytes
import Pool
import Scheduling
import Testing

/// Keeps the endpoint with this name, or everybody when it is not there: as filters for sessions and caches do.
private struct StickyFilter: Filter {
    let name: String

    func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        let kept = candidates.filtered { candidates.endpoint($0).identity.name == name }
        return kept.isEmpty ? candidates : kept
    }
}

@Suite("Endpoints that cannot be relied on")
struct PreferenceTests {
    private let now = MonotonicTime(nanoseconds: 1)
    private let candidates: Candidates

    /// e0 is fresh, e1 and e2 say nothing, e3 refuses connections.
    init() {
        let pool = Pool(stalenessThreshold: .seconds(2))
        let roles = ["a", "a", "b", "c"]
        pool.replaceEndpoints(
            zip(descriptions(4), roles).map { description, role in
                var description = description
                description.labels = ["role": role]
                return description
            }
        )
        var update = MetricsUpdate()
        update.waitingQueueSize = 9
        let endpoints = pool.snapshot.endpoints
        pool.scrapeSucceeded(endpoints[0], pool.scrapeStarted(endpoints[0], at: now), update)
        pool.scrapeFailed(endpoints[3], .unreachable("refused"))
        pool.publish()
        candidates = pool.candidates(at: now)
    }

    /// Whom decisions with this filter pick, and whom they saw as candidates.
    private func picked(_ filter: (any Filter)?) throws -> (picked: Set<String>, candidates: Int) {
        let profile = SchedulingProfile(
            name: "p",
            filters: filter.map { [.init(name: "f", filter: $0)] } ?? [],
            scorers: [.init(name: "q", weight: 1, scorer: QueueScorer())]
        )
        let results = try (0..<20).map { seed in
            try decide(Scheduler(profiles: [profile]), candidates, request(), seed: seed)
        }
        return (Set(results.map(\.endpoint.identity.name)), results.first?.primary.candidates.count ?? 0)
    }

    @Test("They are told apart: fresh before stale before unreachable")
    func preference() {
        #expect(candidates.list.map(\.preference) == [.fresh, .stale, .stale, .unreachable])
        #expect(candidates.preferred.list.map(\.index) == [0])
        #expect(candidates.preferred(atLeast: .stale).list.map(\.index) == [0, 1, 2])
        #expect(candidates.filtered { $0 > 2 }.preferred.list.map(\.index) == [3])
        #expect(candidates.filtered { _ in false }.preferred.isEmpty)
    }

    @Test(
        "They take part where a profile's filters leave nobody else, though others are fresh",
        arguments: [("a", "e0"), ("b", "e2"), ("c", "e3")]
    )
    func byRole(role: String, expected: String) throws {
        let found = try picked(ByLabelFilter(label: "role", validValues: [role]))
        #expect(found.picked == [expected])
        #expect(found.candidates == 1)
    }

    @Test("Without filters the fresh one is picked, however full it is")
    func unfiltered() throws {
        #expect(try picked(nil).picked == ["e0"])
    }

    @Test("What a filter holds on to stays when it only is stale, and is left when it refuses connections")
    func sticky() throws {
        #expect(try picked(StickyFilter(name: "e1")).picked == ["e1"])
        #expect(try picked(StickyFilter(name: "e3")).picked == ["e0"])
    }

    @Test("Where the filters leave nobody there is nobody")
    func nobody() {
        #expect(throws: SchedulingError.noEndpoints) {
            try picked(ByLabelFilter(label: "role", validValues: ["d"]))
        }
    }
}
