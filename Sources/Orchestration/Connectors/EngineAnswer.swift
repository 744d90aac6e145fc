internal import Bytes
internal import Inference

/// A model server's answer of status 200, read as far as legs need it. It may still be a failure, which shows in the body only.
struct EngineAnswer {
    enum Name: Int, CaseIterable {
        case kvTransferParams, ecTransferParams, disaggregatedParams, promptTokenIDs, choices
        case error, status, object, type
    }

    /// The first choice's `finish_reason`; nil when it has none that is a text.
    let finishReason: String?
    /// The first choice; nil when there is none.
    let firstChoice: Range<Int>?
    let cachedTokens: Int?
    private let members: [JSONMember?]

    subscript(name: Name) -> JSONMember? { members[name.rawValue] }

    private static let reader = JSONReader(names: [
        "kv_transfer_params", "ec_transfer_params", "disaggregated_params", "prompt_token_ids", "choices",
        "error", "status", "object", "type",
    ])

    /// Throws for what is no JSON object, has one of the members twice, or says that the generation failed.
    init(reading bytes: RawSpan) throws(BadAnswer) {
        do {
            members = try Self.reader.read(bytes) { found in Name.allCases.map { found[$0.rawValue] } }
        } catch {
            throw BadAnswer("the answer is no JSON object: \(error)")
        }
        if members.contains(where: { ($0?.occurrences ?? 0) > 1 }) { throw BadAnswer("the answer has a member twice") }
        try Self.checkErrors(members, bytes)

        var first: (choice: Range<Int>, reason: String?)?
        var failure: String?
        if let choices = members[Name.choices.rawValue], choices.kind == .array {
            JSONParts.forEachElement(of: bytes, from: choices.valueRange.lowerBound) { choice in
                let reason = JSONParts.member("finish_reason", of: bytes, from: choice.lowerBound)
                    .flatMap { JSONParts.string($0.valueRange, in: bytes) }
                first = first ?? (choice, reason)
                if reason == "error" || reason == "abort" { failure = reason }
                return failure == nil
            }
        }
        if let failure { throw BadAnswer("the answer's finish_reason is \(failure)") }
        firstChoice = first?.choice
        finishReason = first?.reason
        cachedTokens = Self.cachedTokens(bytes)
    }

    /// Where the errors of the APIs stand when the status does not tell them.
    private static func checkErrors(_ members: [JSONMember?], _ bytes: RawSpan) throws(BadAnswer) {
        if let error = members[Name.error.rawValue], error.kind != .null { throw BadAnswer("the answer is an error") }
        for name in [Name.object, .type] {
            if let member = members[name.rawValue], bytes.extracting(member.contentRange).isEqual(to: "error") {
                throw BadAnswer("the answer is an error")
            }
        }
        if let status = members[Name.status.rawValue].flatMap({ JSONValue.string($0, in: bytes) }),
            status == "failed" || status == "cancelled"
        {
            throw BadAnswer("the answer's status is \(status)")
        }
    }

    private static func cachedTokens(_ bytes: RawSpan) -> Int? {
        var reader = UsageReader(format: .json)
        reader.consume(bytes)
        reader.finish()
        return reader.usage?.cachedTokens
    }

    /// Reads an answer that may be a stream of events as well, of which every one must be good.
    static func readEvents(_ bytes: RawSpan) throws(BadAnswer) -> Handover {
        var start = 0
        while start < bytes.byteCount, ASCII.isWhitespace(bytes[start]) { start += 1 }
        guard start < bytes.byteCount, bytes[start] != UInt8(ascii: "{") else {
            return Handover(cachedTokens: try EngineAnswer(reading: bytes).cachedTokens)
        }
        var cachedTokens: Int?
        var hasData = false
        while start < bytes.byteCount {
            let end = bytes.firstOffset(of: UInt8(ascii: "\n"), from: start) ?? bytes.byteCount
            if bytes.starts(with: "data:", at: start) {
                var payload = start + 5
                while payload < end, ASCII.isWhitespace(bytes[payload]) { payload += 1 }
                let event = bytes.extracting(payload..<end)
                hasData = true
                if !event.starts(with: "[DONE]") {
                    cachedTokens = try EngineAnswer(reading: event).cachedTokens ?? cachedTokens
                }
            }
            start = end + 1
        }
        guard hasData else { throw BadAnswer("the answer is neither JSON nor a stream of events") }
        return Handover(cachedTokens: cachedTokens)
    }
}

/// Checks of what one engine tells another through Apus.
enum HandedOver {
    /// Deeper values are none that an engine makes, and some JSON readers cannot take them.
    static let maxDepth = 32

    /// The bytes of an object, checked for depth.
    static func object(_ member: JSONMember?, _ name: String, in bytes: RawSpan) throws(BadAnswer) -> Range<Int> {
        guard let member else { throw BadAnswer("\(name) is missing") }
        guard member.kind == .object else { throw BadAnswer("\(name) is no object") }
        return try checked(member.valueRange, name, in: bytes)
    }

    static func checked(_ range: Range<Int>, _ name: String, in bytes: RawSpan) throws(BadAnswer) -> Range<Int> {
        guard JSONParts.depth(of: bytes.extracting(range)) <= maxDepth else { throw BadAnswer("\(name) is too deep") }
        return range
    }

    /// Whether the value is a list of whole numbers, and of such lists.
    static func isNumberList(_ member: JSONMember, in bytes: RawSpan) -> Bool {
        guard member.kind == .array, member.stringCount == 0 else { return false }
        return member.valueRange.allSatisfy { offset in
            let byte = bytes[offset]
            return ASCII.isDigit(byte) || ASCII.isWhitespace(byte) || byte == UInt8(ascii: ",")
                || byte == UInt8(ascii: "[") || byte == UInt8(ascii: "]")
        }
    }
}
