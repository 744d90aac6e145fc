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
        /// `running`, `finished`, `aborted` (its client left), `failed` (an error was answered), `dropped`, `cut` or
        /// `hanging`.
        var status = "running"
        var httpStatus: Int?
        var finishReason: String?
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
        let entry = Entry(
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

    /// Changes an entry that is still there.
    mutating func change(_ number: Int, _ change: (inout Entry) -> Void) {
        guard let first = entries.first?.number, entries.indices.contains(number - first) else { return }
        change(&entries[number - first])
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
