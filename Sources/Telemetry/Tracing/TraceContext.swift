private import Bytes

/// Where a request stands in a trace: the trace, Apus's own span in it, and that span's parent.
package struct TraceContext: Sendable, Equatable {
    /// Sixteen bytes, the first eight of them first.
    var traceID: (high: UInt64, low: UInt64) { (traceHigh, traceLow) }
    private let traceHigh: UInt64
    private let traceLow: UInt64
    /// Of the span `gateway.request`.
    let spanID: UInt64
    /// 0 where the trace begins here.
    let parentID: UInt64
    /// Whether the spans are exported, here and, where they follow our word, at the servers behind.
    package let isSampled: Bool

    init(traceHigh: UInt64, traceLow: UInt64, spanID: UInt64, parentID: UInt64, isSampled: Bool) {
        self.traceHigh = traceHigh
        self.traceLow = traceLow
        self.spanID = spanID
        self.parentID = parentID
        self.isSampled = isSampled
    }

    /// The header `traceparent` for the servers behind: our span is their parent.
    package var header: String {
        "00-\(Self.hex(traceHigh))\(Self.hex(traceLow))-\(Self.hex(spanID))-\(isSampled ? "01" : "00")"
    }

    /// The same for a sub-request: its own span is the parent, so that what servers tell of several attempts can be told apart.
    package func header(ofLeg leg: String, endpoint: String, attempt: Int) -> String {
        let id = legSpanID(leg, endpoint: endpoint, attempt: attempt)
        return "00-\(Self.hex(traceHigh))\(Self.hex(traceLow))-\(Self.hex(id))-\(isSampled ? "01" : "00")"
    }

    /// The id of a sub-request's span. It need not be guarded against being guessed.
    func legSpanID(_ leg: String, endpoint: String, attempt: Int) -> UInt64 {
        max(1, XXH3.hash("\(leg)/\(attempt)/\(endpoint)", seed: spanID))
    }

    static func hex(_ number: UInt64) -> String {
        Hex.encode((0..<8).map { UInt8(truncatingIfNeeded: number >> UInt64(56 - $0 * 8)) })
    }
}

/// A client's `traceparent`, as W3C Trace Context has it.
struct TraceParent: Equatable {
    let traceHigh: UInt64
    let traceLow: UInt64
    let spanID: UInt64
    let isSampled: Bool

    /// Nil for what is none: a wrong length or alphabet, ids of zeros, version ff. Versions to come may be longer.
    init?(_ header: String) {
        let bytes = Array(header.utf8.prefix(56))
        guard bytes.count >= 55, bytes[2] == UInt8(ascii: "-"), bytes[35] == UInt8(ascii: "-"),
            bytes[52] == UInt8(ascii: "-"),
            let version = Self.number(bytes[0..<2]), version != 0xFF,
            let high = Self.number(bytes[3..<19]), let low = Self.number(bytes[19..<35]),
            let span = Self.number(bytes[36..<52]), let flags = Self.number(bytes[53..<55]),
            high | low != 0, span != 0
        else { return nil }
        if bytes.count > 55, version == 0 || bytes[55] != UInt8(ascii: "-") { return nil }
        traceHigh = high
        traceLow = low
        spanID = span
        isSampled = flags & 1 == 1
    }

    /// Lower-case hexadecimal, at most sixteen digits.
    private static func number(_ digits: ArraySlice<UInt8>) -> UInt64? {
        var number: UInt64 = 0
        for digit in digits {
            switch digit {
            case UInt8(ascii: "0")...UInt8(ascii: "9"): number = number << 4 | UInt64(digit - UInt8(ascii: "0"))
            case UInt8(ascii: "a")...UInt8(ascii: "f"): number = number << 4 | UInt64(digit - UInt8(ascii: "a") + 10)
            default: return nil
            }
        }
        return number
    }
}
