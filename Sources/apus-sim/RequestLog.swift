import Bytes
import HTTPServer

/// The last requests that a server has seen, for tests that want to know what arrived.
struct RequestLog: Sendable {
    struct Entry: Sendable {
        let number: Int
        /// The request's `x-request-id`, or what the server gave it.
        let id: String
        let path: String
        /// Unix time.
        let arrived: Double
        let headers: [HTTPHeader]
        let bodyLength: Int
        let bodyHash: UInt64
        var body: [UInt8]?
        var model: String?
        var promptTokens: Int?
        var cachedTokens: Int?
        var completionTokens = 0
        /// `running`, `waiting` (for KV), `parked` (until its decode comes), `finished`, `aborted` (its client left), `failed` (an error
        /// was answered), `dropped`, `cut`, `hanging` or `lost` (the engine was restarted).
        var status = "running"
        var httpStatus: Int?
        var finishReason: String?
        /// `x-processor-attempt`; 1 without it.
        var attempt = 1
        var leg = Leg.monolithic
        /// What the request's or the answer's parameters call the KV: a room, a transfer or request id.
        var kvID: String?
        var externalTokens: Int?
        /// Of the answer's body, as far as the server has handed it out.
        var bytes = 0
        /// Whether the client left before the answer was complete.
        var disconnected = false
        /// The fault rule that was applied.
        var fault: String?
        /// Unix time.
        var ended: Double?
    }

    private static let kept = 1000
    private static let longestBody = 65_536
    /// Of all kept bodies; past it the oldest are forgotten.
    private static let mostBodyBytes = 16 << 20

    private var entries: [Entry] = []
    private var firstWithBody = 0
    private var bodyBytes = 0
    private var nextNumber = 0

    /// Notes an arrival and gives it a number.
    mutating func add(_ request: HTTPRequest, id: String, at time: Double) -> Int {
        let isKept = request.body.count < Self.longestBody
        var entry = Entry(
            number: nextNumber,
            id: id,
            path: request.path,
            arrived: time,
            headers: request.headers,
            bodyLength: request.body.count,
            bodyHash: XXH3.hash(request.body.span.bytes),
            body: isKept ? request.body : nil
        )
        nextNumber += 1
        entry.attempt = request.header("x-processor-attempt").flatMap { Int($0) } ?? 1
        entries.append(entry)
        bodyBytes += entry.body?.count ?? 0
        if entries.count > Self.kept { drop(entries.removeFirst().body) }
        var index = 0
        while bodyBytes > Self.mostBodyBytes, index < entries.count {
            drop(entries[index].body)
            entries[index].body = nil
            index += 1
        }
        return entry.number
    }

    /// Notes that a client has left.
    ///
    /// - Returns: false when that was known.
    mutating func disconnect(_ number: Int) -> Bool {
        guard let first = entries.first?.number, entries.indices.contains(number - first) else { return true }
        defer { entries[number - first].disconnected = true }
        return !entries[number - first].disconnected
    }

    /// `Entry.id` of a request; empty when it is forgotten.
    func id(of number: Int) -> String {
        guard let first = entries.first?.number, entries.indices.contains(number - first) else { return "" }
        return entries[number - first].id
    }

    /// Changes an entry that is still there.
    mutating func change(_ number: Int, _ change: (inout Entry) -> Void) {
        guard let first = entries.first?.number, entries.indices.contains(number - first) else { return }
        change(&entries[number - first])
    }

    /// The requests as legs of disaggregated serving, without headers and bodies.
    func legs(_ isWanted: (Entry) -> Bool) -> JSONValue {
        .array(entries.filter(isWanted).map(leg(of:)))
    }

    mutating func removeAll() {
        entries = []
        bodyBytes = 0
    }

    private mutating func drop(_ body: [UInt8]?) {
        bodyBytes -= body?.count ?? 0
    }

    var json: JSONValue {
        .array(entries.map(json(of:)))
    }

    private func leg(of entry: Entry) -> JSONValue {
        func optional(_ value: Int?) -> JSONValue { value.map { .integer($0) } ?? .null }
        func text(_ value: String?) -> JSONValue { value.map { .string($0) } ?? .null }
        return .object([
            ("number", .integer(entry.number)),
            ("time", .number(entry.arrived)),
            ("ended", entry.ended.map { .number($0) } ?? .null),
            ("request_id", .string(entry.id)),
            ("attempt", .integer(entry.attempt)),
            ("leg", .string(entry.leg.rawValue)),
            ("path", .string(entry.path)),
            ("kv_id", text(entry.kvID)),
            ("status", .string(entry.status)),
            ("http_status", optional(entry.httpStatus)),
            ("bytes", .integer(entry.bytes)),
            ("disconnect", .bool(entry.disconnected)),
            ("fault", text(entry.fault)),
            ("model", text(entry.model)),
            ("prompt_tokens", optional(entry.promptTokens)),
            ("cached_tokens", optional(entry.cachedTokens)),
            ("external_tokens", optional(entry.externalTokens)),
            ("completion_tokens", .integer(entry.completionTokens)),
            ("finish_reason", text(entry.finishReason)),
        ])
    }

    private func json(of entry: Entry) -> JSONValue {
        func optional(_ value: Int?) -> JSONValue { value.map { .integer($0) } ?? .null }
        let hash = String(entry.bodyHash, radix: 16)
        return .object([
            ("id", .string(entry.id)),
            ("path", .string(entry.path)),
            ("arrived", .number(entry.arrived)),
            ("status", .string(entry.status)),
            ("http_status", optional(entry.httpStatus)),
            ("finish_reason", entry.finishReason.map { .string($0) } ?? .null),
            ("model", entry.model.map { .string($0) } ?? .null),
            ("prompt_tokens", optional(entry.promptTokens)),
            ("cached_tokens", optional(entry.cachedTokens)),
            ("completion_tokens", .integer(entry.completionTokens)),
            ("headers", .array(entry.headers.map { .array([.string($0.name), .string($0.value)]) })),
            ("body_length", .integer(entry.bodyLength)),
            ("body_xxh3", .string(String(repeating: "0", count: 16 - hash.count) + hash)),
            ("body", entry.body.map { .string(String(decoding: $0, as: UTF8.self)) } ?? .null),
        ])
    }
}
