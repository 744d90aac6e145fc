/// What one HTTP request is like.
struct LoadShape: Sendable {
    enum Response: Sendable {
        /// One JSON body.
        case json
        /// So many events, each in a frame of its own, and `[DONE]` in the last.
        case events(Int)
        /// Envoy keeps the body to itself, as the reply to the headers must ask for.
        case unseen
    }

    var bodyBytes = 2048
    var headerCount = 15
    var response = Response.json
    /// Whether a piece of the response is sent when the one before has been answered, as tokens come; else all at once.
    var isPaced = true
    /// The request's body whole in one frame, after the reply to its headers; else piece by piece with FULL_DUPLEX_STREAMED.
    var isBuffered = false
}

/// The messages of one HTTP request as Envoy 1.40 sends them, encoded once.
struct Frames {
    /// The headers with `protocol_config`, the body in pieces of at most 64 KiB, and an empty body with end_of_stream: Envoy
    /// tells the end of a request's body apart.
    let request: [[UInt8]]
    /// The headers, then the body, the last frame with end_of_stream.
    let response: [[UInt8]]
    /// Whether pieces of the response wait for the reply to the one before.
    let isPaced: Bool
    /// Whether the request's body waits for the reply to its headers, and is one frame.
    let isBuffered: Bool

    /// The model that the requests ask for.
    static let model = "food-review"
    static let method = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"

    /// Fields of ProcessingRequest's oneof.
    enum RequestField {
        static let requestHeaders: UInt8 = 2
        static let responseHeaders: UInt8 = 3
        static let requestBody: UInt8 = 4
        static let responseBody: UInt8 = 5
        static let protocolConfiguration: UInt8 = 11
    }

    /// Fields of ProcessingResponse's oneof.
    enum ReplyField {
        static let requestHeaders: UInt8 = 1
        static let responseHeaders: UInt8 = 2
        static let requestBody: UInt8 = 3
        static let responseBody: UInt8 = 4
        static let immediate: UInt8 = 7
        /// ProcessingMode.response_body_mode, which is NONE (and so absent) when bodies shall not be sent.
        static let modeOverride: UInt8 = 9
        /// All members have numbers below this, except one that needs a mode not used here.
        static let limit: UInt64 = 8
        /// BodyResponse.response.body_mutation.streamed_response.end_of_stream.
        static func endOfStream(_ field: UInt8) -> [UInt64] { [UInt64(field), 1, 3, 3, 2] }
    }

    /// Different conversations of one shape, at most 64. Of large bodies fewer: a client has to keep them all.
    static func families(_ shape: LoadShape, atMost count: Int = 64) -> [Frames] {
        let families = max(4, min(count, 8_000_000 / shape.bodyBytes))
        return (0..<families).map { Frames(family: $0, shape: shape) }
    }

    /// One of many conversations: all share a system prompt, each has words of its own.
    init(family: Int, shape: LoadShape) {
        let isStream = if case .events = shape.response { true } else { false }
        let body = Self.requestBody(family: family, byteCount: shape.bodyBytes, isStream: isStream)
        let pieceBytes = shape.isBuffered ? body.count : Self.pieceBytes
        let pieces = stride(from: 0, to: body.count, by: pieceBytes).map { start in
            Array(body[start..<min(body.count, start + pieceBytes)])
        }
        self.init(family: family, body: pieces, shape: shape)
    }

    /// The same with a body of its own, in pieces of which each is a frame.
    init(family: Int, body pieces: [[UInt8]], shape: LoadShape = LoadShape()) {
        isBuffered = shape.isBuffered
        isPaced = shape.isPaced
        let bodyBytes = pieces.reduce(0) { $0 + $1.count }
        let modes: (request: UInt64, response: UInt64) = shape.isBuffered ? (2, 1) : (4, 4)
        let head = ProtobufWriter.message { frame in
            frame.message(RequestField.requestHeaders) { headers in
                headers.message(1) {
                    Self.write(Self.requestHeaders(family: family, bodyBytes, count: shape.headerCount), to: &$0)
                }
            }
            frame.message(RequestField.protocolConfiguration) { configuration in
                configuration.integer(1, modes.request)
                configuration.integer(2, modes.response)
            }
        }
        if isBuffered {
            request = [head] + pieces.map { Self.body(RequestField.requestBody, $0, isLast: true) }
        } else {
            request =
                [head] + pieces.map { Self.body(RequestField.requestBody, $0, isLast: false) }
                + [Self.body(RequestField.requestBody, [], isLast: true)]
        }
        let answer: [[UInt8]] =
            switch shape.response {
            case .json: [Array(Self.responseText.utf8)]
            case .events(let count): Self.events(count)
            case .unseen: []
            }
        let isStream = if case .events = shape.response { true } else { false }
        let length = isStream ? nil : answer.first?.count ?? Self.responseText.utf8.count
        response =
            [
                ProtobufWriter.message { frame in
                    frame.message(RequestField.responseHeaders) { headers in
                        headers.message(1) { Self.write(Self.responseHeaders(length), to: &$0) }
                    }
                }
            ]
            + answer.enumerated().map { index, piece in
                Self.body(RequestField.responseBody, piece, isLast: index == answer.count - 1)
            }
    }

    private static let pieceBytes = 65_536

    /// Chunks of a streamed completion, the one before the last with usage.
    private static func events(_ count: Int) -> [[UInt8]] {
        let head =
            #"data: {"id":"cmpl-4f2c9a1b7d","object":"text_completion","created":1795176000,"model":"food-review","#
        let words = [" The", " kitchen", " is", " fast", " and", " the", " staff", " are", " kind", "."]
        var pieces = (0..<max(0, count - 2)).map { number in
            head
                + #""choices":[{"index":0,"text":"\#(words[number % words.count])","logprobs":null,"finish_reason":null}]}"#
        }
        if count > 1 {
            pieces.append(
                head + #""choices":[],"usage":{"prompt_tokens":512,"total_tokens":\#(512 + count),"#
                    + #""completion_tokens":\#(count),"prompt_tokens_details":{"cached_tokens":256}}}"#
            )
        }
        pieces.append("data: [DONE]")
        return pieces.map { Array(($0 + "\n\n").utf8) }
    }

    private static func body(_ field: UInt8, _ bytes: [UInt8], isLast: Bool) -> [UInt8] {
        ProtobufWriter.message { frame in
            frame.message(field) { body in
                if !bytes.isEmpty { body.data(1, bytes) }
                if isLast { body.integer(2, 1) }
            }
        }
    }

    /// Envoy puts values in `raw_value` (3), not in `value` (2).
    private static func write(_ headers: [(String, String)], to map: inout ProtobufWriter) {
        for (name, value) in headers {
            map.message(1) { header in
                header.string(1, name)
                header.data(3, Array(value.utf8))
            }
        }
    }

    private static func requestHeaders(family: Int, _ bodyBytes: Int, count: Int) -> [(String, String)] {
        let more = (0..<max(0, count - 15)).map { ("x-tenant-context-\($0)", "value-\($0 * 7919)-of-some-length") }
        return [
            (":authority", "inference.example.com"),
            (":path", "/v1/completions"),
            (":method", "POST"),
            (":scheme", "http"),
            ("user-agent", "OpenAI/Python 1.99.1"),
            ("accept", "application/json"),
            ("accept-encoding", "gzip, deflate"),
            ("content-type", "application/json"),
            ("content-length", "\(bodyBytes)"),
            ("authorization", "Bearer sk-0123456789abcdef0123456789abcdef"),
            ("x-stainless-lang", "python"),
            ("x-forwarded-for", "10.1.2.\(family % 250 + 1)"),
            ("x-forwarded-proto", "http"),
            ("x-envoy-expected-rq-timeout-ms", "600000"),
            ("x-request-id", "6f1de5c2-7a0b-4f6e-9d3c-0000000000\(family % 90 + 10)"),
        ] + more
    }

    /// Of an event stream where `bodyBytes` is nil.
    private static func responseHeaders(_ bodyBytes: Int?) -> [(String, String)] {
        [
            (":status", "200"),
            ("date", "Fri, 20 Nov 2026 12:00:00 GMT"),
            ("server", "uvicorn"),
            bodyBytes.map { ("content-length", "\($0)") } ?? ("transfer-encoding", "chunked"),
            ("content-type", bodyBytes == nil ? "text/event-stream; charset=utf-8" : "application/json"),
            ("x-envoy-upstream-service-time", "12"),
        ]
    }

    /// The body of a request of a conversation.
    static func requestBody(family: Int, byteCount: Int, isStream: Bool = false) -> [UInt8] {
        let head = #"{"model":"\#(model)","max_tokens":64,"temperature":0.7,"stream":\#(isStream),"prompt":""#
        let tail = #""}"#
        let words = ["request", "prompt", "answer", "model", "server", "token", "cache", "batch", "\(family)"]
        var text = "You are a helpful assistant that answers briefly and names its sources. "
        var index = 0
        let room = max(0, byteCount - head.utf8.count - tail.utf8.count)
        while text.utf8.count < room {
            // The first half is shared by all families.
            let word = text.utf8.count < room / 2 ? words[index % 8] : words[(index * (family + 1)) % 9]
            text += word + " "
            index += 1
        }
        return Array((head + String(text.prefix(room)) + tail).utf8)
    }

    /// The body of an answer that is not streamed.
    static let responseText =
        #"{"id":"cmpl-4f2c","object":"text_completion","created":1795176000,"model":"food-review","choices":[{"index":0,"#
        + #""text":""# + String(repeating: "The kitchen is fast and the staff are kind. ", count: 8)
        + #"","logprobs":null,"finish_reason":"length","stop_reason":null,"prompt_logprobs":null}],"#
        + #""usage":{"prompt_tokens":512,"total_tokens":576,"completion_tokens":64,"#
        + #""prompt_tokens_details":{"cached_tokens":256}},"kv_transfer_params":null}"#
}
