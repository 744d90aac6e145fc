/// What part of disaggregated serving a request is, as its body and the server's role tell.
enum Leg: String, Sendable, CaseIterable {
    case prefill
    case decode
    case encode
    case monolithic
}

/// One way to misbehave, and when.
///
/// Written `[LEG-]KIND[=RATE][,key=value…]`, as in `prefill-503=0.01` or `decode-slow,delay=5ms,attempt=1`.
struct FaultRule: Sendable {
    enum Kind: Sendable, Equatable {
        case status(Int)
        case close, reset, hang, garbage
        case eofBody, resetBody, hangBody, slow, delay, cut
        case error200
        case parameters(ParameterFault)
        case truncatedJSON, deepJSON, duplicateMembers
        case hugeBody, endlessHeaders
        case crash, exit
    }

    /// What is wrong with the hand-off parameters of an answer.
    enum ParameterFault: String, Sendable, CaseIterable {
        case missing = "kv-missing"
        case null = "kv-null"
        /// A text in place of an object.
        case malformed = "kv-malformed"
        case array = "kv-array"
        case partial = "kv-partial"
        case empty = "kv-empty"
        /// Another engine's id.
        case wrong = "kv-wrong"
        /// The blocks are gone when the answer arrives.
        case expired = "kv-expired"
    }

    /// As it was written.
    let text: String
    let kind: Kind
    let leg: Leg?
    var rate = 1.0
    /// Value of `x-processor-attempt`; a request without it is the first attempt.
    var attempt: Int?
    /// Beginning of `x-request-id`.
    var requestID: String?
    /// How often it may still happen.
    var left = Int.max
    var delay: Duration?
    var tokens = 1
    var down: Duration?
    var hits = 0

    static let kinds: [(String, Kind)] =
        [
            ("close", .close), ("reset", .reset), ("hang", .hang), ("garbage", .garbage), ("eof-body", .eofBody),
            ("reset-body", .resetBody), ("hang-body", .hangBody), ("slow", .slow), ("delay", .delay), ("cut", .cut),
            ("error-200", .error200), ("truncated-json", .truncatedJSON), ("deep-json", .deepJSON),
            ("duplicate-members", .duplicateMembers), ("huge-body", .hugeBody), ("endless-headers", .endlessHeaders),
            ("crash", .crash), ("exit", .exit),
        ] + ParameterFault.allCases.map { ($0.rawValue, .parameters($0)) }

    /// Several with semicolons between.
    static func list(_ text: String) throws(OptionError) -> [FaultRule] {
        var rules: [FaultRule] = []
        for part in text.split(separator: ";") where !part.allSatisfy({ $0 == " " }) {
            rules.append(try FaultRule(String(part.drop { $0 == " " })))
        }
        return rules
    }

    init(_ text: String) throws(OptionError) {
        self.text = text
        var parts = text.split(separator: ",", omittingEmptySubsequences: false).map { $0.filter { $0 != " " } }
        let head = parts.removeFirst().split(separator: "=", maxSplits: 1).map(String.init)
        var name = head.first ?? ""
        let named = Leg.allCases.first { name.hasPrefix($0.rawValue + "-") }
        leg = named
        if let named { name.removeFirst(named.rawValue.count + 1) }
        if let status = Int(name), (400...599).contains(status) {
            kind = .status(status)
        } else if let found = Self.kinds.first(where: { $0.0 == name }) {
            kind = found.1
        } else {
            throw OptionError("\(name) is no fault; see --help")
        }
        if head.count > 1 {
            guard let rate = Double(head[1]), rate >= 0, rate <= 1 else {
                throw OptionError("\(head[1]) is no rate from 0 to 1")
            }
            self.rate = rate
        }
        for part in parts { try set(part) }
    }

    private mutating func set(_ text: String) throws(OptionError) {
        let pair = text.split(separator: "=", maxSplits: 1).map(String.init)
        guard pair.count == 2 else { throw OptionError("\(text) is no key=value") }
        switch pair[0] {
        case "attempt": attempt = try Setting.whole(pair[1], 0...1_000_000)
        case "count": left = try Setting.whole(pair[1], 1...Int.max)
        case "tokens": tokens = try Setting.whole(pair[1], 0...1_000_000_000)
        case "id": requestID = pair[1]
        case "delay", "down":
            guard let duration = DurationText.read(pair[1]) else {
                throw OptionError("\(pair[1]) is no duration such as 100ms")
            }
            if pair[0] == "delay" { delay = duration } else { down = duration }
        default: throw OptionError("\(pair[0]) is no key of a fault")
        }
    }

    /// Whether the rule is about such a request; chance and count aside.
    func matches(leg: Leg, attempt: Int, requestID: String) -> Bool {
        left > 0 && (self.leg == nil || self.leg == leg) && (self.attempt == nil || self.attempt == attempt)
            && (self.requestID.map { requestID.hasPrefix($0) } ?? true)
    }

    /// Whether the connection's bytes are written by hand.
    var needsSocket: Bool {
        switch kind {
        case .eofBody, .resetBody, .hangBody, .slow, .hugeBody, .endlessHeaders, .garbage, .cut: true
        default: false
        }
    }
}

extension [FaultRule] {
    /// Takes the first rule that is about such a request and that chance does not spare it.
    mutating func take(
        leg: Leg,
        attempt: Int,
        requestID: String,
        random: inout some RandomNumberGenerator
    ) -> FaultRule? {
        for index in indices where self[index].matches(leg: leg, attempt: attempt, requestID: requestID) {
            let rate = self[index].rate
            if rate < 1, Double.random(in: 0..<1, using: &random) >= rate { continue }
            self[index].hits += 1
            if self[index].left < Int.max { self[index].left -= 1 }
            return self[index]
        }
        return nil
    }
}
