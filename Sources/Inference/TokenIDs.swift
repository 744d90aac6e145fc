internal import Bytes

/// Reads what a server answers that was asked for the tokens of a prompt.
package enum TokenIDs {
    /// How many there are in all members `token_ids` of a JSON text; nil when there is none with a number in it. The text is not checked.
    package static func count(in bytes: RawSpan) -> Int? {
        let name: StaticString = "\"token_ids\""
        var count: Int?
        var offset = 0
        while let found = ByteScan.offset(of: name, in: bytes, from: offset) {
            offset = found + name.utf8CodeUnitCount
            if found > 0, bytes[found - 1] == UInt8(ascii: "\\") { continue }
            guard let numbers = numbers(in: bytes, from: &offset), numbers > 0 else { continue }
            count = (count ?? 0) + numbers
        }
        return count
    }

    /// The numbers of the list that follows a member's name; nil when none follows. Moves `offset` to where it stopped.
    private static func numbers(in bytes: RawSpan, from offset: inout Int) -> Int? {
        var isInList = false
        var isInNumber = false
        var count = 0
        while offset < bytes.byteCount {
            let byte = bytes[offset]
            offset += 1
            switch byte {
            case UInt8(ascii: ":") where !isInList:
                continue
            case UInt8(ascii: "[") where !isInList:
                isInList = true
            case UInt8(ascii: "0")...UInt8(ascii: "9") where isInList:
                if !isInNumber { count += 1 }
                isInNumber = true
            case UInt8(ascii: ",") where isInList:
                isInNumber = false
            case UInt8(ascii: "]") where isInList:
                return count
            case let byte where ASCII.isWhitespace(byte):
                continue
            default:
                return nil
            }
        }
        return nil
    }
}
