/// The messages of one HTTP request as Envoy 1.40 sends them with both bodies FULL_DUPLEX_STREAMED, encoded once.
struct Frames {
    /// The headers with `protocol_config`, the body, and an empty body with end_of_stream: Envoy tells the end of a
    /// request's body apart.
    let request: [[UInt8]]
    /// The headers, and the whole body with end_of_stream.
    let response: [[UInt8]]

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
        /// All members have numbers below this, except one that needs a mode not used here.
        static let limit: UInt64 = 8
        /// BodyResponse.response.body_mutation.streamed_response.end_of_stream.
        static func endOfStream(_ field: UInt8) -> [UInt64] { [UInt64(field), 1, 3, 3, 2] }
    }

    /// One of many conversations: all share a system prompt, each has words of its own.
    init(family: Int, bodyBytes: Int) {
        self.init(family: family, body: [Self.requestBody(family: family, byteCount: bodyBytes)])
    }

    /// The same with a body of its own, in pieces of which each is a frame.
    init(family: Int, body pieces: [[UInt8]]) {
        let bodyBytes = pieces.reduce(0) { $0 + $1.count }
        request =
            [
                ProtobufWriter.message { frame in
                    frame.message(RequestField.requestHeaders) { headers in
                        headers.message(1) { Self.write(Self.requestHeaders(family: family, bodyBytes), to: &$0) }
                    }
                    frame.message(RequestField.protocolConfiguration) { configuration in
                        configuration.integer(1, 4)
                        configuration.integer(2, 4)
                    }
                }
            ]
            + pieces.map { Self.body(RequestField.requestBody, $0, isLast: false) }
            + [Self.body(RequestField.requestBody, [], isLast: true)]
        let answer = Array(Self.responseText.utf8)
        response = [
            ProtobufWriter.message { frame in
                frame.message(RequestField.responseHeaders) { headers in
                    headers.message(1) { Self.write(Self.responseHeaders(answer.count), to: &$0) }
                }
            },
            Self.body(RequestField.responseBody, answer, isLast: true),
        ]
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

    private static func requestHeaders(family: Int, _ bodyBytes: Int) -> [(String, String)] {
        [
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
        ]
    }

    private static func responseHeaders(_ bodyBytes: Int) -> [(String, String)] {
        [
            (":status", "200"),
            ("date", "Fri, 20 Nov 2026 12:00:00 GMT"),
            ("server", "uvicorn"),
            ("content-length", "\(bodyBytes)"),
            ("content-type", "application/json"),
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
