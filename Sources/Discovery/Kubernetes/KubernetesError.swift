internal import Bytes
internal import SubRequests

/// Why the Kubernetes API did not do what it was asked.
package struct KubernetesError: Error, Sendable, Equatable, CustomStringConvertible {
    package enum Code: String, Sendable {
        /// No connection, or one that broke.
        case unreachable
        /// 401: who we say we are is not believed, or no longer.
        case unauthorized
        /// 403: we may not.
        case forbidden
        /// 404: no such object, or no such kind of objects.
        case notFound
        /// 409: somebody else changed or made it first.
        case conflict
        /// 410: what was to be continued is too old.
        case gone
        /// 429: later.
        case throttled
        /// Any other 4xx.
        case refused
        /// 5xx.
        case server
        /// What came is not what the API says.
        case malformed
        case cancelled
    }

    package let code: Code
    package let message: String
    /// When to come back, where the server says so.
    package var retryAfter: Duration?

    package init(_ code: Code, _ message: String, retryAfter: Duration? = nil) {
        self.code = code
        self.message = message
        self.retryAfter = retryAfter
    }

    package var description: String { message }

    init(_ error: HTTPClientError) {
        switch error.code {
        case .cancelled, .shutDown: self.init(.cancelled, error.message)
        case .badResponse, .tooLarge: self.init(.malformed, error.description)
        default: self.init(.unreachable, error.description)
        }
    }

    /// The error that a response stands for. `body` is a `Status` object as a rule.
    init(_ head: HTTPResponseHead, body: [UInt8], request: String) {
        let status = try? JSONTree(body).root
        let text = status?["message"]?.string ?? String(decoding: body.prefix(200), as: UTF8.self)
        let seconds = head["retry-after"].flatMap { Int($0) } ?? status?["details"]?["retryAfterSeconds"]?.integer
        self.init(
            Self.code(of: head.status),
            "\(request): \(head.status)\(text.isEmpty ? "" : ": \(Self.oneLine(text))")",
            retryAfter: seconds.map { .seconds(min(max(0, $0), 300)) }
        )
    }

    /// The error that an `ERROR` event of a watch holds: a `Status` object.
    init(status: JSONNode?) {
        let number = status?["code"]?.integer ?? 500
        let seconds = status?["details"]?["retryAfterSeconds"]?.integer
        let isExpired = ["Expired", "Gone"].contains(status?["reason"]?.string)
        self.init(
            isExpired ? .gone : Self.code(of: number),
            "watch: \(number): \(Self.oneLine(status?["message"]?.string ?? ""))",
            retryAfter: seconds.map { .seconds(min(max(0, $0), 300)) }
        )
    }

    private static func code(of status: Int) -> Code {
        switch status {
        case 401: .unauthorized
        case 403: .forbidden
        case 404: .notFound
        case 409: .conflict
        case 410: .gone
        case 429: .throttled
        case 400..<500: .refused
        case 500...: .server
        default: .malformed
        }
    }

    /// Fit for a log: control characters are spaces, and no more than 300 characters.
    private static func oneLine(_ text: String) -> String {
        String(String.UnicodeScalarView(text.unicodeScalars.prefix(300).map { $0.value < 0x20 ? " " : $0 }))
    }
}
