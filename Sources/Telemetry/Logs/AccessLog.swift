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

    /// The scores of the picked endpoint: its weighted total, and each scorer's own.
    private static func scores(_ record: RequestRecord) -> (total: Float?, byScorer: [(name: String, score: Float)]) {
        guard let profile = record.decision?.primary, let position = profile.picked.first else { return (nil, []) }
        var byScorer: [(name: String, score: Float)] = []
        byScorer.reserveCapacity(profile.scorers.count)
        for (row, name) in profile.scorers.enumerated() {
            if let score = profile.score(scorer: row, position: position) { byScorer.append((name, score)) }
        }
        return (profile.total(position), byScorer)
    }

    /// The times of the phases in nanoseconds: each from the one before, the last two from the request's beginning.
    private static func phases(_ record: RequestRecord) -> [(name: String, time: UInt64?)] {
        [
            ("bodyMs", record.time(from: record.receivedAt, to: record.bodyCompleteAt)),
            ("decisionMs", record.time(from: record.bodyCompleteAt, to: record.decidedAt)),
            ("headersMs", record.time(from: record.decidedAt, to: record.responseHeadersAt)),
            ("firstByteMs", record.time(from: record.receivedAt, to: record.firstByteAt)),
            ("totalMs", record.time(from: record.receivedAt, to: record.finishedAt)),
        ]
    }

    private static func jsonLine(_ record: RequestRecord) -> [UInt8] {
        var json = JSONWriter(reservingCapacity: 768)
        let (total, byScorer) = scores(record)
        json.object { json in
            json.member("time", time: record.wallNanoseconds)
            json.member("requestId", record.requestID.clipped(to: clientTextLimit))
            json.member("method", record.method.clipped(to: clientTextLimit))
            json.member("path", record.path.clipped(to: clientTextLimit))
            json.member("model", record.model.clipped(to: clientTextLimit))
            json.member("targetModel", record.targetModel.clipped(to: clientTextLimit))
            json.member("endpoint", record.pick?.address)
            json.member("total", total)
            json.object("scores") { json in
                for (name, score) in byScorer { json.member(name, score) }
            }
            for (name, time) in phases(record) {
                guard let time else { continue }
                json.member(name, raw: { $0.append(millisecondsOf: time) })
            }
            json.member("status", record.status == 0 ? nil : record.status)
            json.member("promptTokens", record.usage.promptTokens)
            json.member("cachedTokens", record.usage.cachedTokens)
            json.member("completionTokens", record.usage.completionTokens)
            json.member("requestBytes", record.requestBytes)
            json.member("responseBytes", record.responseBytes)
            json.member("streaming", record.isStreaming)
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
        let (total, byScorer) = scores(record)
        bytes.append(rfc3339: record.wallNanoseconds)
        bytes.append(text: " REQUEST")
        field("id", record.requestID)
        field("method", record.method)
        field("path", record.path)
        field("model", record.model)
        field("target", record.targetModel)
        field("endpoint", record.pick?.address)
        field("total", total?.description)
        for (name, score) in byScorer { field("score." + name, score.description) }
        for (name, time) in phases(record) {
            guard let time else { continue }
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
        field("end", record.termination.text)
        bytes.append(UInt8(ascii: "\n"))
        return bytes
    }
}
