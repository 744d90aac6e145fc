import Orchestration
import Testing

/// A way in which a decode fails before its first byte.
struct DecodeFault: CustomTestStringConvertible, Sendable {
    let testDescription: String
    let reply: Reply
    let outcome: String
    /// Whether the decode may have seen what the prefill left.
    var arrived = true
    var countsForBreaker = false

    static let all =
        [
            DecodeFault(
                testDescription: "refused",
                reply: .refused,
                outcome: "connect_failed",
                arrived: false,
                countsForBreaker: true
            ),
            DecodeFault(
                testDescription: "reset",
                reply: .failure(.reset, breaker: true),
                outcome: "reset",
                countsForBreaker: true
            ),
            DecodeFault(testDescription: "early end", reply: .failure(.reset), outcome: "reset"),
            DecodeFault(
                testDescription: "timeout",
                reply: .failure(.timeout, breaker: true),
                outcome: "timeout",
                countsForBreaker: true
            ),
            DecodeFault(testDescription: "bad answer", reply: .failure(.badResponse), outcome: "bad_response"),
            DecodeFault(
                testDescription: "end after the head",
                reply: .pieces(200, [], end: LegFailure(.reset, "scripted")),
                outcome: "reset"
            ),
        ]
        + [408, 429, 500, 502, 503, 504].map {
            DecodeFault(testDescription: "\($0)", reply: .answer($0, "{}"), outcome: "http_\($0)")
        }
}
