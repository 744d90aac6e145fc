import Testing

@testable import Telemetry

private func record(_ id: String, time: UInt64 = 0) -> DecisionRecord {
    DecisionRecord(requestID: id, wallNanoseconds: time, model: "m", targetModel: "t", profiles: [])
}

@Suite("Decision log")
struct DecisionLogTests {
    @Test("A decision is rendered with candidates, scores, picks, legs, checkpoints and a null status at first")
    func rendering() {
        let endpoints = ["10.0.0.1:8000", "[fd00::1]:8000"]
        let decision = DecisionRecord(
            requestID: "r\"1",
            wallNanoseconds: 1_795_210_280_123_456_789,
            model: "m",
            targetModel: "t",
            profiles: [
                ProfileDecision(
                    name: "default",
                    scorers: ["queue-scorer", "prefix-cache-scorer"],
                    candidateCount: 2,
                    scores: [1, 0.5, 0, 0.25],
                    totals: [2, 1.75],
                    picked: [1],
                    endpoint: { endpoints[$0] }
                )
            ]
        )
        let log = DecisionLog()
        log.record(decision)
        let start =
            #"{"decisions":[{"requestId":"r\"1","time":"2026-11-20T21:31:20.123456Z","model":"m","targetModel":"t","#
            + #""profiles":[{"name":"default","candidates":["#
            + #"{"endpoint":"10.0.0.1:8000","scores":{"queue-scorer":1.0,"prefix-cache-scorer":0.0},"total":2.0},"#
            + #"{"endpoint":"[fd00::1]:8000","scores":{"queue-scorer":0.5,"prefix-cache-scorer":0.25},"total":1.75}"#
            + #"],"picked":["[fd00::1]:8000"]}],"#
        #expect(
            String(decoding: log.json(), as: UTF8.self) == start + #""legs":[],"checkpoints":[],"status":null}]}"#
        )
        decision.append(
            DecisionRecord.Leg(leg: "prefill", endpoint: "10.0.0.1:8000", attempt: 1, outcome: "ok", seconds: 0.25)
        )
        decision.append(DecisionRecord.Checkpoint(name: "prefilled", wallNanoseconds: 0))
        decision.responded(status: 200)
        #expect(
            String(decoding: log.json(), as: UTF8.self) == start
                + #""legs":[{"leg":"prefill","endpoint":"10.0.0.1:8000","attempt":1,"outcome":"ok","seconds":0.25}],"#
                + #""checkpoints":[{"name":"prefilled","at":"1970-01-01T00:00:00.000000Z"}],"status":200}]}"#
        )
    }

    @Test("A leg may be told again once it has ended, and the last checkpoint be taken back")
    func corrections() {
        let log = DecisionLog(capacity: 1)
        let decision = record("r-1")
        log.record(decision)
        func leg(_ attempt: Int, _ outcome: String) -> DecisionRecord.Leg {
            DecisionRecord.Leg(leg: "prefill", endpoint: "e", attempt: attempt, outcome: outcome, seconds: 1)
        }
        decision.append(leg(1, "http_500"))
        decision.append(leg(2, "unfinished"))
        decision.replace(leg(2, "reset"))
        decision.replace(leg(3, "ok"))
        for name in ["a", "b"] { decision.append(DecisionRecord.Checkpoint(name: name, wallNanoseconds: 0)) }
        decision.removeLast(named: "a")
        decision.removeLast(named: "b")
        let json = String(decoding: log.json(), as: UTF8.self)
        #expect(json.contains(#""attempt":1,"outcome":"http_500""#))
        #expect(json.contains(#""attempt":2,"outcome":"reset""#))
        #expect(!json.contains("unfinished") && !json.contains(#""attempt":3"#))
        #expect(json.contains(#""checkpoints":[{"name":"a""#) && !json.contains(#""name":"b""#))
    }

    @Test("The ring keeps the latest decisions, newest first")
    func ring() {
        let log = DecisionLog(capacity: 3)
        #expect(log.latest().isEmpty)
        for number in 1...2 { log.record(record("\(number)")) }
        #expect(log.latest().map(\.requestID) == ["2", "1"])
        for number in 3...7 { log.record(record("\(number)")) }
        #expect(log.latest().map(\.requestID) == ["7", "6", "5"])
        #expect(log.latest(1).map(\.requestID) == ["7"])
        #expect(log.latest(-1).isEmpty)
    }

    @Test("What a client sent is kept clipped, and legs are bounded")
    func bounds() {
        let long = String(repeating: "é", count: 1000)
        let decision = DecisionRecord(requestID: long, model: long, targetModel: long, profiles: [])
        #expect(decision.model == String(repeating: "é", count: 128) + "…")
        for attempt in 0..<1000 {
            decision.append(.init(leg: "prefill", endpoint: "e", attempt: attempt, outcome: "ok", seconds: 0))
        }
        var json = JSONWriter()
        decision.write(to: &json)
        #expect(String(decoding: json.bytes, as: UTF8.self).split(separator: "\"attempt\"").count == 65)
    }

    @Test("Rows that are shorter than promised are null, not a crash")
    func shortRows() {
        let profile = ProfileDecision(
            name: "p",
            scorers: ["a"],
            candidateCount: 2,
            scores: [1],
            totals: [],
            picked: [0],
            endpoint: { "e\($0)" }
        )
        let decision = DecisionRecord(requestID: "r", model: "", targetModel: "", profiles: [profile])
        var json = JSONWriter()
        decision.write(to: &json)
        let text = String(decoding: json.bytes, as: UTF8.self)
        #expect(text.contains(#"{"endpoint":"e1","scores":{"a":null},"total":null}"#))
    }

    @Test("Many threads may record while others read")
    func concurrency() async {
        let log = DecisionLog(capacity: 16)
        await withTaskGroup(of: Void.self) { group in
            for task in 0..<8 {
                group.addTask {
                    for number in 0..<500 {
                        let one = record("\(task)-\(number)")
                        log.record(one)
                        one.responded(status: 200)
                        if number % 100 == 0 { _ = log.json() }
                    }
                }
            }
        }
        #expect(log.latest().count == 16)
    }
}
