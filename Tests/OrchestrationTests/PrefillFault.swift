import Orchestration
import Testing

/// A way in which a prefill goes wrong so that another endpoint may do better.
struct PrefillFault: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let reply: Reply
    let outcome: String
    var countsForBreaker = false
    /// Nil: every connector's.
    var connectors: Set<ConnectorName>?

    init(
        _ name: String,
        _ reply: Reply,
        _ outcome: String,
        breaker: Bool = false,
        _ connectors: Set<ConnectorName>? = nil
    ) {
        testDescription = name
        self.reply = reply
        self.outcome = outcome
        countsForBreaker = breaker
        self.connectors = connectors
    }

    func concerns(_ connector: ConnectorName) -> Bool { connectors?.contains(connector) ?? true }

    static let all =
        [
            PrefillFault("connection refused", .refused, "connect_failed", breaker: true),
            PrefillFault("reset before a byte", .failure(.reset, breaker: true), "reset", breaker: true),
            PrefillFault("early end", .failure(.reset), "reset"),
            PrefillFault("timeout", .failure(.timeout, breaker: true), "timeout", breaker: true),
            PrefillFault("too large", .failure(.tooLarge), "too_large"),
            PrefillFault("no HTTP", .failure(.badResponse), "bad_response"),
            PrefillFault("no JSON", .answer(200, "<html>"), "bad_response"),
            PrefillFault("cut JSON", .answer(200, #"{"choices":[{"finish_reason":"#), "bad_response"),
            PrefillFault("empty", .answer(200, ""), "bad_response"),
            PrefillFault("deep JSON", .answer(200, String(repeating: "[", count: 10_000)), "bad_response"),
            PrefillFault("error", .answer(200, #"{"choices":[{"finish_reason":"error"}]}"#), "bad_response"),
            PrefillFault("abort", .answer(200, #"{"choices":[{"finish_reason":"abort"}]}"#), "bad_response"),
            PrefillFault(
                "no parameters",
                .answer(200, #"{"choices":[{"finish_reason":"length"}]}"#),
                "bad_response",
                needy
            ),
            PrefillFault("null parameters", parameters("null"), "bad_response", [.nixlv2]),
            PrefillFault("parameters are no object", parameters("[]"), "bad_response", [.nixlv2]),
            PrefillFault("partial parameters", parameters(#"{"do_remote_prefill":true}"#), "bad_response", [.nixlv2]),
            PrefillFault(
                "engine id of null",
                parameters(Reply.nixlParameters().replacing(#""e0""#, with: "null")),
                "bad_response",
                [.nixlv2]
            ),
        ]
        + [408, 429, 500, 502, 503, 504, 599].map { PrefillFault("\($0)", .answer($0, "{}"), "http_\($0)") }
        + [201, 204, 301, 307].map { PrefillFault("\($0)", .answer($0, "{}"), "bad_response") }

    private static let needy: Set<ConnectorName> = [.nixlv2, .trtllm]

    private static func parameters(_ text: String) -> Reply {
        .answer(200, #"{"choices":[{"finish_reason":"length"}],"kv_transfer_params":\#(text)}"#)
    }
}
