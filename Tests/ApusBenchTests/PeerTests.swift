import Foundation
import Testing

@testable import apus_bench

/// Programs that stand in for the peers go through all that the peers go through. On the main thread, which alone may start processes.
@MainActor
@Suite("What Apus is compared with", .serialized)
struct PeerTests {
    private static let standIns = URL(filePath: #filePath).deletingLastPathComponent().deletingLastPathComponent()
        .appending(path: "StandInPeers").path

    private func options(_ peers: Peers) -> EnvoyCommand.Options {
        var run = BenchRun()
        run.scale = .short
        var options = EnvoyCommand.Options(run)
        options.peers = peers
        options.contenders = ["vllm-router-round_robin", "sglang-router-cache_aware"]
        options.sizes = [2048]
        return options
    }

    @Test("Routers are started, awaited, loaded and reported, and their CPU is counted")
    func routers() throws {
        let section = try EnvoyCommand.measure(options(Peers(directory: Self.standIns))) { _ in }
        #expect(section.faults == [])
        for key in ["2048_json_cost", "2048_stream_cost"] {
            let table = try #require(section.tables.first { $0.key == key })
            #expect(
                table.rows.map(\.title) == [
                    "stand-in for vllm-router 0.1.17, round_robin", "stand-in for sglang-router 0.3.2, cache_aware",
                ]
            )
            let cpu = try #require(table.columns.firstIndex { $0.key == "picker_cpu_us" })
            for row in table.rows { #expect(try #require(row.values[cpu]).median > 0) }
        }
    }

    @Test("A goal that lacks a contender is there, as not measured, and says what is missing and what to do")
    func missing() throws {
        let section = try EnvoyCommand.measure(options(Peers(directory: "/nowhere"))) { _ in }
        #expect(section.faults == [])
        #expect(!section.goals.isEmpty)
        #expect(section.goals.allSatisfy { $0.outcome == .unmeasured && $0.reason != nil })
        let own = try #require(section.goals.first { $0.key == "apus_cpu_2048_us" })
        #expect(own.reason == "apus was left out.")
        #expect(section.method.contains { $0.contains("not installed: deploy/bench-peers.sh") })
    }

    @Test("The selection service is started, told its workers, and asked")
    func selection() throws {
        let peer = try #require(Peers(directory: Self.standIns)[DynamoService.venv])
        let service = try DynamoService(peer, workers: 3)
        let prompts = SelectPrompts(blocks: 2, count: 2)
        try service.learn(prompts.selections)
        for selections in [prompts.selections, prompts.hashedSelections] {
            let before = try processCPUNanoseconds(of: service.process.pid)
            let result = try service.load(selections).run(.closed(connections: 2), seconds: 60, limit: 20)
            #expect(result.failures.isEmpty)
            #expect(result.requests == 20)
            #expect(try processCPUNanoseconds(of: service.process.pid) > before)
        }
        #expect(Peers(directory: "/nowhere")[DynamoService.venv] == nil)
    }

    @Test("What two ways add is compared by medians, which every round is a part of")
    func addedRatio() {
        let all = AddedRatio([1, 2, 3], [1, 1, 1])
        #expect(all.value == 2)
        let noisy = AddedRatio([1, 2, 3], [-1, 1, 1])
        #expect(noisy.value == 2)
        #expect(noisy.remark.contains("In 1 of 3 rounds one of the two added nothing"))
        #expect(AddedRatio([1], [-1]).value == nil)
    }

    @Test("Contenders take turns, another one first each round")
    func turns() {
        #expect(["a", "b", "c"].inTurn(ofRound: 0) == ["a", "b", "c"])
        #expect(["a", "b", "c"].inTurn(ofRound: 2) == ["c", "a", "b"])
        #expect([Int]().inTurn(ofRound: 3).isEmpty)
    }
}
