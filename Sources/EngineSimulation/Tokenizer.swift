/// Cuts text into tokens of about four bytes, the same way every time, so that texts with a common beginning have tokens in common.
///
/// A token begins at white space that follows other bytes, and after four bytes; it never cuts a UTF-8 scalar in two.
package enum Tokenizer {
    private static let longestToken = 4

    /// One token: its number (a hash of its bytes) and its text.
    package struct Token: Sendable, Equatable {
        package let number: UInt32
        package let text: String

        package init(number: UInt32, text: String) {
            self.number = number
            self.text = text
        }
    }

    /// The numbers of the text's tokens.
    package static func numbers(of text: String) -> [UInt32] {
        var numbers: [UInt32] = []
        numbers.reserveCapacity(text.utf8.count / 3 + 1)
        cut(text) { numbers.append(number(of: $0)) }
        return numbers
    }

    /// Numbers and texts; the texts put together give the text again.
    package static func tokens(of text: String) -> [Token] {
        var tokens: [Token] = []
        cut(text) { tokens.append(Token(number: number(of: $0), text: String(decoding: $0, as: UTF8.self))) }
        return tokens
    }

    private static func cut(_ text: String, _ take: (Slice<UnsafeBufferPointer<UInt8>>) -> Void) {
        var text = text
        text.withUTF8 { bytes in
            var start = 0
            for index in bytes.indices where index > start {
                let byte = bytes[index]
                // A continuation byte belongs to the scalar before it.
                guard byte & 0xC0 != 0x80 else { continue }
                let beginsWord = isSpace(byte) && !isSpace(bytes[index - 1])
                if beginsWord || index - start >= longestToken {
                    take(bytes[start..<index])
                    start = index
                }
            }
            if start < bytes.count { take(bytes[start...]) }
        }
    }

    private static func isSpace(_ byte: UInt8) -> Bool {
        byte == 0x20 || byte == 0x0A || byte == 0x09 || byte == 0x0D
    }

    /// FNV-1a.
    private static func number(of bytes: Slice<UnsafeBufferPointer<UInt8>>) -> UInt32 {
        bytes.reduce(0x811C_9DC5) { ($0 ^ UInt32($1)) &* 0x0100_0193 }
    }
}
