/// Spans as OTLP's JSON has them: ids in hexadecimal, 64-bit numbers as text.
enum SpanJSON {
    /// What is taken over of a client's text.
    private static let textLimit = 512

    /// `gateway.request`, and within it, when the request was decided, `gateway.request_orchestration`, and one `apus.leg` for each sub-request.
    static func spans(of record: RequestRecord, _ trace: TraceContext) -> [[UInt8]] {
        var spans = [
            span("gateway.request", trace, id: trace.spanID, parent: trace.parentID, .server) { json in
                times(&json, record, from: record.receivedAt, to: record.finishedAt)
                json.array("attributes") { json in requestAttributes(&json, record) }
                if let code = record.errorCode {
                    json.object("status") { json in
                        json.member("code", 2)
                        json.member("message", code)
                    }
                }
            }
        ]
        if record.decidedAt > 0 {
            // Its id must differ from the other's and need not be guarded against being guessed.
            let id = trace.spanID ^ 0x9E37_79B9_7F4A_7C14
            spans.append(
                span("gateway.request_orchestration", trace, id: id, parent: trace.spanID, .internal) { json in
                    times(&json, record, from: max(record.bodyCompleteAt, record.receivedAt), to: record.decidedAt)
                    json.array("attributes") { json in
                        attribute(&json, "target_model", record.targetModel)
                        attribute(&json, "request_prio", record.priority)
                        if let pick = record.pick { attribute(&json, "apus.endpoint", pick.address) }
                    }
                }
            )
        }
        return spans + legs(of: record, trace)
    }

    private static func legs(of record: RequestRecord, _ trace: TraceContext) -> [[UInt8]] {
        var ids: Set<UInt64> = []
        return record.legs.prefix(legLimit).enumerated().map { index, leg in
            var id = trace.legSpanID(leg.leg, endpoint: leg.endpoint, attempt: leg.attempt)
            // Several images may be encoded at one endpoint at the same time.
            if !ids.insert(id).inserted { id = id &+ UInt64(index) }
            return span("apus.leg", trace, id: id, parent: trace.spanID, .client) { json in
                let length = UInt64(max(0, leg.seconds) * 1e9)
                times(&json, record, from: leg.endedAt - min(leg.endedAt, length), to: leg.endedAt)
                json.array("attributes") { json in
                    attribute(&json, "apus.leg", leg.leg)
                    attribute(&json, "apus.endpoint", leg.endpoint)
                    attribute(&json, "apus.attempt", leg.attempt)
                    attribute(&json, "apus.outcome", leg.outcome)
                }
                if leg.outcome != "ok" {
                    json.object("status") { json in
                        json.member("code", 2)
                        json.member("message", leg.outcome)
                    }
                }
            }
        }
    }

    /// More legs of one request than this are not told.
    private static let legLimit = 64

    /// As OTLP numbers them.
    private enum Kind: Int {
        case `internal` = 1
        case server = 2
        case client = 3
    }

    /// The body of an export.
    static func request(_ spans: [[UInt8]], resource: [(name: String, value: String)]) -> [UInt8] {
        var json = JSONWriter(reservingCapacity: 512 + spans.reduce(0) { $0 + $1.count + 1 })
        json.object { json in
            json.array("resourceSpans") { json in
                json.object { json in
                    json.object("resource") { json in
                        json.array("attributes") { json in
                            for (name, value) in resource { attribute(&json, name, value) }
                        }
                    }
                    json.array("scopeSpans") { json in
                        json.object { json in
                            json.object("scope") { json in json.member("name", "apus") }
                            json.member(
                                "spans",
                                raw: { bytes in
                                    bytes.append(UInt8(ascii: "["))
                                    for (index, span) in spans.enumerated() {
                                        if index > 0 { bytes.append(UInt8(ascii: ",")) }
                                        bytes.append(contentsOf: span)
                                    }
                                    bytes.append(UInt8(ascii: "]"))
                                }
                            )
                        }
                    }
                }
            }
        }
        return json.bytes
    }

    private static func span(
        _ name: String,
        _ trace: TraceContext,
        id: UInt64,
        parent: UInt64,
        _ kind: Kind,
        _ members: (inout JSONWriter) -> Void
    ) -> [UInt8] {
        var json = JSONWriter(reservingCapacity: 640)
        json.object { json in
            json.member("traceId", TraceContext.hex(trace.traceID.high) + TraceContext.hex(trace.traceID.low))
            json.member("spanId", TraceContext.hex(id))
            if parent != 0 { json.member("parentSpanId", TraceContext.hex(parent)) }
            json.member("name", name)
            json.member("kind", kind.rawValue)
            members(&json)
        }
        return json.bytes
    }

    /// Monotonic times, told by the wall clock that the request began with.
    private static func times(_ json: inout JSONWriter, _ record: RequestRecord, from start: UInt64, to end: UInt64) {
        func wall(_ time: UInt64) -> String {
            String(record.wallNanoseconds &+ (max(time, record.receivedAt) - record.receivedAt))
        }
        json.member("startTimeUnixNano", wall(start))
        json.member("endTimeUnixNano", wall(max(start, end)))
    }

    private static func requestAttributes(_ json: inout JSONWriter, _ record: RequestRecord) {
        attribute(&json, "http.request.method", record.method)
        // Without the query, which may hold what is nobody's business.
        attribute(&json, "url.path", String(record.path.prefix { $0 != "?" }))
        if record.status != 0 { attribute(&json, "http.response.status_code", record.status) }
        attribute(&json, "apus.request_id", record.requestID)
        if !record.model.isEmpty { attribute(&json, "gen_ai.request.model", record.model) }
        if let tokens = record.usage.promptTokens { attribute(&json, "gen_ai.usage.input_tokens", tokens) }
        if let tokens = record.usage.completionTokens { attribute(&json, "gen_ai.usage.output_tokens", tokens) }
        attribute(&json, "apus.termination", record.termination.text)
    }

    private static func attribute(_ json: inout JSONWriter, _ key: String, _ value: String) {
        json.object { json in
            json.member("key", key)
            json.object("value") { json in json.member("stringValue", value.clipped(to: textLimit)) }
        }
    }

    private static func attribute(_ json: inout JSONWriter, _ key: String, _ value: Int) {
        json.object { json in
            json.member("key", key)
            json.object("value") { json in json.member("intValue", String(value)) }
        }
    }
}
