internal import Bytes

/// How a prompt's tokens can be told apart in its bytes.
package enum PromptForm: Sendable, Equatable {
    /// They cannot: so many bytes stand for one token.
    case text
    /// A JSON array of token ids.
    case list
    /// Token ids as protobuf has them, each `perID` numbers of variable length: one where they are packed, two where each has a tag.
    case varints(perID: Int)
}

/// Finds where tokens end that are given as ids.
struct TokenMarks {
    private enum Mark {
        /// Stands between two ids of a JSON array.
        case comma
        /// Ends a number of variable length: its highest bit is clear.
        case lastByte
    }

    private let mark: Mark
    private let marksPerID: Int

    /// Nil for text.
    init?(_ form: PromptForm) {
        switch form {
        case .text: return nil
        case .list: (mark, marksPerID) = (.comma, 1)
        case .varints(let perID): (mark, marksPerID) = (.lastByte, perID)
        }
    }

    /// The part of a prompt's range that ids stand in: without what is around a list.
    func ids(in bytes: RawSpan, _ range: Range<Int>) -> Range<Int> {
        guard mark == .comma else { return range }
        var (start, end) = (range.lowerBound, range.upperBound)
        while start < end, bytes[start] == UInt8(ascii: "[") || ASCII.isWhitespace(bytes[start]) { start += 1 }
        end = Self.trimmed(end, in: bytes, from: start)
        return start..<end
    }

    /// The end without what follows the last id.
    private static func trimmed(_ end: Int, in bytes: RawSpan, from start: Int) -> Int {
        var end = end
        while start < end, bytes[end - 1] == UInt8(ascii: "]") || ASCII.isWhitespace(bytes[end - 1]) { end -= 1 }
        return end
    }

    /// What joins ids of two ranges.
    var joint: [UInt8] { mark == .comma ? [UInt8(ascii: ",")] : [] }

    /// Where the next `count` ids of a range end, and where the one after them begins. Of fewer it says how many there are.
    func skip(_ count: Int, in bytes: RawSpan, _ range: Range<Int>) -> (end: Int, next: Int, found: Int) {
        guard !range.isEmpty else { return (range.upperBound, range.upperBound, 0) }
        var missing = count * marksPerID
        var offset = range.lowerBound
        while offset < range.upperBound {
            let marks: UInt64
            let width: Int
            if range.upperBound - offset >= 8 {
                marks = self.marks(
                    in: UInt64(littleEndian: bytes.unsafeLoadUnaligned(fromByteOffset: offset, as: UInt64.self))
                )
                width = 8
            } else {
                marks = self.marks(in: UInt64(bytes[offset]) | ~0xFF) & 0x80
                width = 1
            }
            // Each mark is the highest bit of its byte.
            let found = Int(((marks >> 7) &* 0x0101_0101_0101_0101) >> 56)
            if found < missing {
                missing -= found
                offset += width
                continue
            }
            var rest = marks
            for _ in 1..<missing { rest &= rest - 1 }
            let place = offset + rest.trailingZeroBitCount / 8
            let end = mark == .comma ? Self.trimmed(place, in: bytes, from: range.lowerBound) : place + 1
            return (end, place + 1, count)
        }
        // The last id of a list has no comma.
        if mark == .comma { missing -= 1 }
        return (range.upperBound, range.upperBound, count - (missing + marksPerID - 1) / marksPerID)
    }

    /// The highest bit of every byte of eight that is a mark.
    @inline(__always)
    private func marks(in word: UInt64) -> UInt64 {
        switch mark {
        case .comma:
            let other = word ^ 0x2C2C_2C2C_2C2C_2C2C
            return ~(((other & 0x7F7F_7F7F_7F7F_7F7F) &+ 0x7F7F_7F7F_7F7F_7F7F) | other | 0x7F7F_7F7F_7F7F_7F7F)
        case .lastByte:
            return ~word & 0x8080_8080_8080_8080
        }
    }
}
