/// One line per request. A line is made on the request's own thread, in about a microsecond, and written by another.
package final class AccessLog: Sendable {
    private let writer: LineWriter
    private let format: LogFormat

    package init(writer: LineWriter, format: LogFormat) {
        self.writer = writer
        self.format = format
    }

    package var droppedLines: Int { writer.droppedLines }

    func write(_ record: RequestRecord) {
        writer.append(Self.line(record, format))
    }

    /// The longest text that is taken over from a client.
    private static let clientTextLimit = 512

    static func line(_ record: RequestRecord, _ format: LogFormat) -> [UInt8] {
        switch format {
        case .json: jsonLine(record)
        case .text: textLine(record)
        }
    }

    /// The scores of the picked endpoint: each scorer's own, unweighted.
    private static func eachScore(_ record: RequestRecord, _ body: (String, Float) -> Void) {
        guard let profile = record.decision?.primary, let position = profile.picked.first else { return }
        for row in profile.scorers.indices {
            if let score = profile.score(scorer: row, position: position) { body(profile.scorers[row], score) }
        }
    }

    /// The weighted sum of the picked endpoint's scores.
    private static func total(_ record: RequestRecord) -> Float? {
        guard let profile = record.decision?.primary, let position = profile.picked.first else { return nil }
        return profile.total(position)
    }

    /// The times of the phases that were reached, in nanoseconds: each from the one before, the last two from the
    /// request's beginning.
    private static func eachPhase(_ record: RequestRecord, _ body: (StaticString, UInt64) -> Void) {
        func phase(_ name: StaticString, _ start: UInt64, _ end: UInt64) {
            if let time = record.time(from: start, to: end) { body(name, time) }
        }
        phase("bodyMs", record.receivedAt, record.bodyCompleteAt)
        if record.tokenTime > 0 { body("tokensMs", record.tokenTime) }
        if record.queueTime > 0 { body("queueMs", record.queueTime) }
        if let time = record.decisionTime { body("decisionMs", time) }
        phase("headersMs", record.decidedAt, record.responseHeadersAt)
        phase("firstByteMs", record.receivedAt, record.firstByteAt)
        phase("totalMs", record.receivedAt, record.finishedAt)
    }

    /// Whose turn it was, where the request says so.
    private static func fairnessID(_ record: RequestRecord) -> String? {
        record.fairnessID == RequestRecord.defaultFairnessID ? nil : record.fairnessID.clipped(to: clientTextLimit)
    }

    private static func jsonLine(_ record: RequestRecord) -> [UInt8] {
        var json = JSONWriter(reservingCapacity: 768)
        json.object { json in
            json.member("time", time: record.wallNanoseconds)
            json.member("requestId", record.requestID.clipped(to: clientTextLimit))
            json.member("method", record.method.clipped(to: clientTextLimit))
            json.member("path", record.path.clipped(to: clientTextLimit))
            json.member("model", record.model.clipped(to: clientTextLimit))
            json.member("targetModel", record.targetModel.clipped(to: clientTextLimit))
            if let id = fairnessID(record) { json.member("fairnessId", id) }
            if record.priority != 0 { json.member("priority", record.priority) }
            json.member("endpoint", record.pick?.address)
            json.member("total", total(record))
            json.object("scores") { json in
                eachScore(record) { json.member(.init($0), $1) }
            }
            eachPhase(record) { name, time in json.member(.init(name), raw: { $0.append(millisecondsOf: time) }) }
            json.member("status", record.status == 0 ? nil : record.status)
            json.member("promptTokens", record.usage.promptTokens)
            json.member("cachedTokens", record.usage.cachedTokens)
            json.member("completionTokens", record.usage.completionTokens)
            json.member("requestBytes", record.requestBytes)
            json.member("responseBytes", record.responseBytes)
            json.member("streaming", record.isStreaming)
            if let attempts = record.attempts {
                json.member("attempts", attempts)
                json.array("legs") { json in
                    for leg in record.legs {
                        json.object { json in
                            json.member("leg", leg.leg)
                            json.member("endpoint", leg.endpoint)
                            json.member("attempt", leg.attempt)
                            json.member("outcome", leg.outcome)
                        }
                    }
                }
            }
            json.member("termination", record.termination.text)
        }
        json.endLine()
        return json.bytes
    }

    private static func textLine(_ record: RequestRecord) -> [UInt8] {
        var bytes: [UInt8] = []
        bytes.reserveCapacity(512)
        func field(_ name: String, _ value: String?) {
            guard let value else { return }
            bytes.append(UInt8(ascii: " "))
            bytes.append(text: name)
            bytes.append(UInt8(ascii: "="))
            bytes.append(textValue: value.clipped(to: clientTextLimit))
        }
        func number(_ name: String, _ value: Int?) {
            guard let value else { return }
            bytes.append(UInt8(ascii: " "))
            bytes.append(text: name)
            bytes.append(UInt8(ascii: "="))
            bytes.append(decimal: value)
        }
        bytes.append(rfc3339: record.wallNanoseconds)
        bytes.append(text: " REQUEST")
        field("id", record.requestID)
        field("method", record.method)
        field("path", record.path)
        field("model", record.model)
        field("target", record.targetModel)
        field("fairness", fairnessID(record))
        number("priority", record.priority == 0 ? nil : record.priority)
        field("endpoint", record.pick?.address)
        field("total", total(record)?.description)
        eachScore(record) { field("score." + $0, $1.description) }
        eachPhase(record) { name, time in
            bytes.append(UInt8(ascii: " "))
            bytes.append(text: name)
            bytes.append(UInt8(ascii: "="))
            bytes.append(millisecondsOf: time)
        }
        number("status", record.status == 0 ? nil : record.status)
        number("prompt", record.usage.promptTokens)
        number("cached", record.usage.cachedTokens)
        number("completion", record.usage.completionTokens)
        number("in", record.requestBytes)
        number("out", record.responseBytes)
        number("attempts", record.attempts)
        for leg in record.legs { field("leg." + leg.leg, "\(leg.endpoint)/\(leg.outcome)") }
        field("end", record.termination.text)
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }
}
