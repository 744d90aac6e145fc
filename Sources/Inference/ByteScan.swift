internal import Bytes
private import CSimdJSON

/// The C target's helpers for strings, and for following text that is not at hand as a whole.
enum ByteScan {
    /// The text of a string's inside, escapes decoded.
    static func unescaped(_ content: RawSpan) -> String {
        String(unsafeUninitializedCapacity: content.byteCount) { output in
            content.withUnsafeBytes { input in
                apus_json_unescape(
                    input.baseAddress?.assumingMemoryBound(to: UInt8.self),
                    input.count,
                    output.baseAddress
                )
            }
        }
    }

    /// The offset of the first quote, bracket or brace at or after `start`, or the byte count.
    static func nextBracketOrQuote(_ bytes: RawSpan, from start: Int) -> Int {
        bytes.withUnsafeBytes {
            apus_json_next_bracket_or_quote($0.baseAddress?.assumingMemoryBound(to: UInt8.self), start, $0.count)
        }
    }

    /// The offset of the first quote or backslash at or after `start`, or the byte count.
    static func nextQuoteOrBackslash(_ bytes: RawSpan, from start: Int) -> Int {
        bytes.withUnsafeBytes {
            apus_json_next_quote_or_backslash($0.baseAddress?.assumingMemoryBound(to: UInt8.self), start, $0.count)
        }
    }

    /// The first offset at or after `start` where `text` stands, or nil.
    static func offset(of text: StaticString, in bytes: RawSpan, from start: Int = 0) -> Int? {
        let found = bytes.withUnsafeBytes {
            apus_find($0.baseAddress, start, $0.count, text.utf8Start, text.utf8CodeUnitCount)
        }
        return found < bytes.byteCount ? found : nil
    }

    /// The last offset that holds `byte`, or nil.
    static func lastOffset(of byte: UInt8, in bytes: RawSpan) -> Int? {
        let found = bytes.withUnsafeBytes { apus_find_last($0.baseAddress, $0.count, byte) }
        return found < bytes.byteCount ? found : nil
    }
}
