import Bytes
import Foundation
import Testing

@testable import Telemetry

private func filled(_ telemetry: Telemetry) -> RequestRecord {
    let record = telemetry.begin(receivedAt: 1_000_000_000)
    record.requestID = "id-1"
    record.method = "POST"
    record.path = "/v1/completions?x=1"
    record.model = "m"
    record.targetModel = "t"
    record.requestBytes = 10
    record.responseBytes = 20
    record.bodyCompleteAt = 1_001_500_000
    record.decidedAt = 1_001_550_000
    record.responseHeadersAt = 1_100_000_000
    record.firstByteAt = 1_200_000_000
    record.finishedAt = 3_000_000_000
    record.status = 200
    record.usage = .init(promptTokens: 5, cachedTokens: 2, completionTokens: 3)
    record.pick = .init(address: "10.0.0.1:80", name: "a", namespace: "default", port: 80)
    record.decision = DecisionRecord(
        requestID: "id-1",
        model: "m",
        targetModel: "t",
        profiles: [
            ProfileDecision(
                name: "default",
                scorers: ["queue-scorer"],
                candidateCount: 2,
                scores: [0.5, 1],
                totals: [1, 2],
                picked: [1],
                endpoint: { "\($0)" }
            )
        ]
    )
    record.termination = .complete
    return record
}

private func json(_ line: [UInt8]) throws -> [String: Any] {
    try #require(try JSONSerialization.jsonObject(with: Data(line)) as? [String: Any])
}

/// A pipe whose reading end gives what was written once the writing end is closed.
private struct OutputPipe {
    let reader: Int32
    let writer: Int32

    init() {
        var ends: [Int32] = [0, 0]
        _ = pipe(&ends)
        (reader, writer) = (ends[0], ends[1])
    }

    func closeAndRead() -> String {
        close(writer)
        defer { close(reader) }
        return String(decoding: FileHandle(fileDescriptor: reader).readDataToEndOfFile(), as: UTF8.self)
    }
}

@Suite("Logs")
struct LogTests {
    @Test("An access log line in JSON names the request, the pick with its scores, times, tokens and the end")
    func accessJSON() {
        let line = String(decoding: AccessLog.line(filled(Telemetry()), .json), as: UTF8.self)
        let expected =
            #","requestId":"id-1","method":"POST","path":"/v1/completions?x=1","model":"m","targetModel":"t","#
            + #""endpoint":"10.0.0.1:80","total":2.0,"scores":{"queue-scorer":1.0},"bodyMs":1.500,"decisionMs":0.050,"#
            + #""headersMs":98.450,"firstByteMs":200.000,"totalMs":2000.000,"status":200,"promptTokens":5,"#
            + #""cachedTokens":2,"completionTokens":3,"requestBytes":10,"responseBytes":20,"streaming":false,"#
            + #""termination":"complete"}"# + "\n"
        #expect(line.hasPrefix("{\"time\":\""))
        #expect(line.hasSuffix(expected))
    }

    @Test("An access log line in text has the same")
    func accessText() {
        let line = String(decoding: AccessLog.line(filled(Telemetry()), .text), as: UTF8.self)
        #expect(
            line.hasSuffix(
                "Z REQUEST id=id-1 method=POST path=\"/v1/completions?x=1\" model=m target=t endpoint=10.0.0.1:80 "
                    + "total=2.0 score.queue-scorer=1.0 bodyMs=1.500 decisionMs=0.050 headersMs=98.450 "
                    + "firstByteMs=200.000 totalMs=2000.000 status=200 prompt=5 cached=2 completion=3 in=10 out=20 "
                    + "end=complete\n"
            )
        )
    }

    @Test("Phases that were not reached are left out, and an unpicked endpoint is null")
    func unreachedPhases() throws {
        let telemetry = Telemetry()
        let record = telemetry.begin()
        record.termination = .immediate(status: 400)
        let object = try json(AccessLog.line(record, .json))
        #expect(object["endpoint"] is NSNull)
        #expect(object["bodyMs"] == nil)
        #expect(object["termination"] as? String == "immediate:400")
    }

    @Test("The fairness id is in the line when the request has one of its own, and cut off when it is long")
    func fairness() throws {
        let record = filled(Telemetry())
        #expect(try json(AccessLog.line(record, .json))["fairnessId"] == nil)
        #expect(try json(AccessLog.line(record, .json))["priority"] == nil)
        record.fairnessID = "tenant 1"
        record.priority = -2
        #expect(try json(AccessLog.line(record, .json))["priority"] as? Int == -2)
        #expect(try json(AccessLog.line(record, .json))["fairnessId"] as? String == "tenant 1")
        let text = String(decoding: AccessLog.line(record, .text), as: UTF8.self)
        #expect(text.contains(#" target=t fairness="tenant 1" priority=-2 endpoint="#))
        record.fairnessID = String(repeating: "x", count: 1_000_000)
        #expect(AccessLog.line(record, .json).count < 4096)
        #expect(AccessLog.line(record, .text).count < 4096)
    }

    @Test("Hostile bytes stay inside one line and one JSON string")
    func hostile() throws {
        let telemetry = Telemetry()
        let record = telemetry.begin()
        let bytes: [UInt8] = [0, 10, 13, 27, 0x22, 0x5C, 0x7F, 0xC2, 0x9B, 0xC3, 0xA9, 0xFF, 0xC2]
        record.requestID = String(decoding: bytes, as: UTF8.self)
        record.path = String(repeating: "/\u{1F600}", count: 1_000_000)
        let line = AccessLog.line(record, .json)
        #expect(line.count < 4096)
        #expect(line.filter { $0 == 10 }.count == 1)
        #expect(!line.contains(27))
        let object = try json(line)
        #expect(object["requestId"] as? String == record.requestID)
        let text = AccessLog.line(record, .text)
        #expect(text.filter { $0 == 10 }.count == 1)
        let words = String(decoding: text, as: UTF8.self)
        #expect(words.contains(##"id="\u0000\n\r\u001b\"\\\u007f\u009bé"##))
    }

    @Test("The writer writes every line in order and has written all of them when it is stopped")
    func writerFlushes() {
        let pipe = OutputPipe()
        let writer = LineWriter(descriptor: pipe.writer)
        for number in 0..<1000 { writer.append(Array("line \(number)\n".utf8)) }
        #expect(writer.stop())
        writer.append(Array("late\n".utf8))
        #expect(writer.droppedLines == 1)
        #expect(pipe.closeAndRead() == (0..<1000).map { "line \($0)\n" }.joined())
    }

    @Test("Lines reach the reader without a stop", .timeLimit(.minutes(1)))
    func writerBatches() async {
        let pipe = OutputPipe()
        let writer = LineWriter(descriptor: pipe.writer)
        writer.append(Array("hello\n".utf8))
        let read = await withCheckedContinuation { continuation in
            Thread.detachNewThread {
                var bytes = [UInt8](repeating: 0, count: 64)
                let count = Glibc.read(pipe.reader, &bytes, bytes.count)
                continuation.resume(returning: Array(bytes.prefix(max(0, count))))
            }
        }
        #expect(read == Array("hello\n".utf8))
        #expect(writer.stop())
        _ = pipe.closeAndRead()
    }

    @Test("A reader that takes nothing costs lines, not time")
    func writerDrops() {
        let pipe = OutputPipe()
        let writer = LineWriter(descriptor: pipe.writer, capacity: 100_000)
        let line = [UInt8](repeating: 0x61, count: 999) + [10]
        for _ in 0..<1000 { writer.append(line) }
        #expect(writer.droppedLines >= 600)
        #expect(!writer.stop(timeout: .milliseconds(1)))
        // Reading lets the writer's thread end.
        let reader = FileHandle(fileDescriptor: pipe.reader)
        var read = 0
        while read < (1000 - writer.droppedLines) * 1000 { read += reader.availableData.count }
        #expect(writer.stop())
        _ = pipe.closeAndRead()
    }

    @Test("A finished request is in the access log once")
    func finishWrites() {
        let pipe = OutputPipe()
        let writer = LineWriter(descriptor: pipe.writer)
        do {
            let telemetry = Telemetry(accessLog: AccessLog(writer: writer, format: .json))
            let record = filled(telemetry)
            telemetry.decided(record)
            telemetry.finish(record, .clientGone)
            telemetry.finish(record, .complete)
        }
        writer.stop()
        let lines = pipe.closeAndRead().split(separator: "\n")
        #expect(lines.count == 1)
        #expect(lines.first?.contains("\"termination\":\"client_gone\"") == true)
    }

    @Test("A message below the level is not even made")
    func loggerLevels() {
        let lines = Lock<[String]>([])
        let log = Logger(verbosity: 1) { line in
            lines.withLock { $0.append(String(decoding: line, as: UTF8.self)) }
        }
        func expensive() -> String {
            Issue.record("a disabled level was evaluated")
            return ""
        }
        log.debug(expensive(), ["a": expensive()])
        log.trace(expensive())
        log.info("listening", ["port": 9002, "address": "0.0.0.0", "why": "no \"reason\""])
        log.warning("two\nlines")
        log.error("bad")
        let written = lines.withLock { $0.map { String($0.drop { $0 != " " }) } }
        #expect(
            written == [
                " INFO listening port=9002 address=0.0.0.0 why=\"no \\\"reason\\\"\"\n",
                " WARN two\\nlines\n",
                " ERROR bad\n",
            ]
        )
        #expect(!Logger(verbosity: -3).isEnabled(.info))
        #expect(Logger(verbosity: 9).isEnabled(.trace))
    }

    @Test("A JSON message keeps numbers and truths as such")
    func loggerJSON() {
        let line = Logger.line(
            "INFO",
            "m",
            ["n": 3, "d": 0.5, "t": true, "s": "x"],
            .json,
            at: 951_782_400_000_000_000
        )
        #expect(
            String(decoding: line, as: UTF8.self)
                == #"{"time":"2000-02-29T00:00:00.000000Z","level":"info","message":"m","n":3,"d":0.5,"t":true,"s":"x"}"#
                + "\n"
        )
    }
}
