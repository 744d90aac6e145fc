internal import Bytes

/// The size of a picture, in pixels.
package struct PixelSize: Sendable, Equatable {
    package var width: Int
    package var height: Int

    package init(width: Int, height: Int) {
        self.width = width
        self.height = height
    }

    /// `WIDTHxHEIGHT`
    package init?(_ text: String) {
        let parts = text.split(separator: "x", omittingEmptySubsequences: false)
        guard parts.count == 2, let width = Int(parts[0]), let height = Int(parts[1]) else { return nil }
        self.init(plausible: width, height)
    }

    /// Of a PNG, GIF, JPEG or WebP picture; nil when its first bytes do not tell.
    init?(picture bytes: [UInt8]) {
        if bytes.starts(with: [0x89, 0x50, 0x4E, 0x47]) {
            guard bytes.count >= 24 else { return nil }
            self.init(plausible: Self.bigEndian(bytes, 16, 4), Self.bigEndian(bytes, 20, 4))
        } else if bytes.starts(with: "GIF8".utf8) {
            guard bytes.count >= 10 else { return nil }
            self.init(plausible: Self.littleEndian(bytes, 6, 2), Self.littleEndian(bytes, 8, 2))
        } else if bytes.starts(with: [0xFF, 0xD8]) {
            self.init(jpeg: bytes)
        } else if bytes.starts(with: "RIFF".utf8), bytes.count >= 30, bytes[8..<12].elementsEqual("WEBP".utf8) {
            self.init(webP: bytes)
        } else {
            return nil
        }
    }

    /// The most of a picture that is decoded: what a JPEG may have before its frame.
    private static let headBytes = [1 << 10, 1 << 17]

    /// - Parameter payload: where the Base64 of the picture stands in a JSON text.
    init?(base64 bytes: RawSpan, _ payload: Range<Int>) {
        for limit in Self.headBytes {
            let head = Base64.decodeStart(bytes, payload, limit: limit)
            if let size = PixelSize(picture: head) {
                self = size
                return
            }
            // Only a JPEG may tell later.
            guard head.starts(with: [0xFF, 0xD8]), head.count == limit else { return nil }
        }
        return nil
    }

    /// Nothing is shown in more; that much can be multiplied.
    private static let longestSide = 1 << 20

    private init?(plausible width: Int, _ height: Int) {
        guard (1...Self.longestSide).contains(width), (1...Self.longestSide).contains(height) else { return nil }
        self.init(width: width, height: height)
    }

    /// A chain of segments, of which one is the frame's header.
    private init?(jpeg bytes: [UInt8]) {
        var offset = 2
        while offset + 9 <= bytes.count {
            guard bytes[offset] == 0xFF else { return nil }
            let marker = bytes[offset + 1]
            switch marker {
            case 0xFF:
                offset += 1
            case 0xC0...0xC3, 0xC5...0xC7, 0xC9...0xCB, 0xCD...0xCF:
                let height = Self.bigEndian(bytes, offset + 5, 2)
                self.init(plausible: Self.bigEndian(bytes, offset + 7, 2), height)
                return
            case 0x01, 0xD0...0xD7:
                offset += 2
            default:
                offset += 2 + max(2, Self.bigEndian(bytes, offset + 2, 2))
            }
        }
        return nil
    }

    private init?(webP bytes: [UInt8]) {
        switch bytes[15] {
        case UInt8(ascii: " "):
            self.init(
                plausible: Self.littleEndian(bytes, 26, 2) & 0x3FFF,
                Self.littleEndian(bytes, 28, 2) & 0x3FFF
            )
        case UInt8(ascii: "L"):
            let bits = Self.littleEndian(bytes, 21, 4)
            self.init(plausible: bits & 0x3FFF + 1, bits >> 14 & 0x3FFF + 1)
        case UInt8(ascii: "X"):
            self.init(plausible: Self.littleEndian(bytes, 24, 3) + 1, Self.littleEndian(bytes, 27, 3) + 1)
        default:
            return nil
        }
    }

    private static func bigEndian(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> Int {
        bytes[offset..<offset + count].reduce(0) { $0 << 8 | Int($1) }
    }

    private static func littleEndian(_ bytes: [UInt8], _ offset: Int, _ count: Int) -> Int {
        bytes[offset..<offset + count].reversed().reduce(0) { $0 << 8 | Int($1) }
    }
}
