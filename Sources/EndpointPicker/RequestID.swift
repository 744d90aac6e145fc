internal import Bytes

/// Ids for requests that came without `x-request-id`.
enum RequestID {
    /// A random UUID (version 4), lower case. Unique, but guessable: it is a name, not a secret.
    static func make(_ generator: inout SeededGenerator) -> String {
        var high = generator.next()
        var low = generator.next()
        high = high & ~0xF000 | 0x4000
        low = low & ~(0b11 << 62) | (0b10 << 62)
        let bytes = (0..<16).map { index in
            UInt8(truncatingIfNeeded: (index < 8 ? high : low) >> UInt64(56 - (index & 7) * 8))
        }
        let digits = Hex.encode(bytes)
        var text = ""
        text.reserveCapacity(36)
        for (offset, digit) in digits.enumerated() {
            if [8, 12, 16, 20].contains(offset) { text.append("-") }
            text.append(digit)
        }
        return text
    }
}
