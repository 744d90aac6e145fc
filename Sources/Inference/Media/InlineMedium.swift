internal import Bytes

/// An image, a video or a sound that stands in a prompt as Base64.
package struct InlineMedium: Sendable, Equatable {
    package enum Kind: Sendable {
        case image, video, sound
    }

    package let kind: Kind
    /// Bytes of Base64.
    package let encodedByteCount: Int
    /// In pixels, of an image whose first bytes tell.
    package let size: PixelSize?

    /// How many are looked at; a prompt with more of them is counted by what these are.
    private static let limit = 1_000

    /// All that are in a prompt: data addresses of the three kinds, and members `data` that hold nothing but Base64.
    static func all(in bytes: RawSpan) -> [InlineMedium] {
        addresses(in: bytes) + payloads(in: bytes)
    }

    /// `"data:image/png;base64,…"`
    private static func addresses(in bytes: RawSpan) -> [InlineMedium] {
        let start: StaticString = "\"data:"
        var found: [InlineMedium] = []
        var offset = 0
        while found.count < limit, let quote = ByteScan.offset(of: start, in: bytes, from: offset) {
            offset = quote + start.utf8CodeUnitCount
            if quote > 0, bytes[quote - 1] == UInt8(ascii: "\\") { continue }
            guard let kind = kind(in: bytes, at: offset), let payload = base64Start(in: bytes, from: offset) else {
                continue
            }
            let end = MemberScan.stringEnd(in: bytes, from: payload)
            found.append(InlineMedium(kind, bytes, payload..<end))
            offset = end
        }
        return found
    }

    /// `"data": "…"`, an image of messages or a sound of the chat API.
    private static func payloads(in bytes: RawSpan) -> [InlineMedium] {
        let name: StaticString = "\"data\""
        var found: [InlineMedium] = []
        var offset = 0
        while found.count < limit, let start = ByteScan.offset(of: name, in: bytes, from: offset) {
            offset = start + name.utf8CodeUnitCount
            if start > 0, bytes[start - 1] == UInt8(ascii: "\\") { continue }
            guard let quote = MemberScan.valueQuote(in: bytes, after: offset) else { continue }
            let end = MemberScan.stringEnd(in: bytes, from: quote + 1)
            offset = end
            let medium = InlineMedium(nil, bytes, quote + 1..<end)
            if medium.size != nil || isBase64(bytes, quote + 1..<end) { found.append(medium) }
        }
        return found
    }

    /// - Parameter kind: nil for an image when it is one that can be read, else a sound.
    private init(_ kind: Kind?, _ bytes: RawSpan, _ payload: Range<Int>) {
        encodedByteCount = payload.count
        let size = kind == nil || kind == .image ? PixelSize(base64: bytes, payload) : nil
        self.size = size
        self.kind = kind ?? (size == nil ? .sound : .image)
    }

    private static func kind(in bytes: RawSpan, at offset: Int) -> Kind? {
        let kinds: [(StaticString, Kind)] = [("image/", .image), ("video/", .video), ("audio/", .sound)]
        return kinds.first { name, _ in
            offset + name.utf8CodeUnitCount <= bytes.byteCount
                && MemberScan.isEqual(bytes, offset..<offset + name.utf8CodeUnitCount, name)
        }?.1
    }

    /// Where the payload begins; media types are short.
    private static func base64Start(in bytes: RawSpan, from start: Int) -> Int? {
        let mark: StaticString = ";base64,"
        let head = bytes.extracting(start..<min(start + 128, bytes.byteCount))
        return ByteScan.offset(of: mark, in: head).map { start + $0 + mark.utf8CodeUnitCount }
    }

    /// Whether a text is likely one; ordinary texts of that length have a space in their beginning.
    private static func isBase64(_ bytes: RawSpan, _ range: Range<Int>) -> Bool {
        guard range.count >= 256 else { return false }
        return range.prefix(256).allSatisfy { Base64.isDigit(bytes[$0]) || bytes[$0] == UInt8(ascii: "\\") }
    }
}
