import Bytes
import Testing

@Suite struct ByteBufferTests {
    @Test("A new buffer is empty, and its padding may be read")
    func empty() {
        let buffer = ByteBuffer()
        #expect(buffer.isEmpty == true)
        #expect(buffer.count == 0)
        #expect(buffer.bytes.byteCount == 0)
        #expect(paddingIsReadable(buffer) == true)
        #expect(ByteBuffer(copying: [UInt8]()).isEmpty == true)
    }

    @Test("What is appended comes out in order, however it is given")
    func appending() {
        var buffer = ByteBuffer()
        var expected: [UInt8] = []
        for round in 0..<300 {
            let piece = (0..<round % 7).map { UInt8(truncatingIfNeeded: round &* 31 &+ $0) }
            switch round % 4 {
            case 0: buffer.append(piece)
            case 1: piece.withRawSpan { buffer.append($0) }
            case 2: buffer.append(piece.lazy.map { $0 })  // not contiguous
            default: for byte in piece { buffer.append(byte) }
            }
            expected += piece
        }
        #expect(buffer.bytes.copied() == expected)
        #expect(buffer.count == expected.count)
    }

    @Test("Padding behind the bytes is readable at every size, and growth keeps the bytes", arguments: 0...300)
    func growth(size: Int) {
        let bytes = (0..<size).map { UInt8(truncatingIfNeeded: $0) }
        var grown = ByteBuffer(minimumCapacity: 1)
        for byte in bytes { grown.append(byte) }
        #expect(grown.bytes.copied() == bytes)
        #expect(paddingIsReadable(grown) == true)
        var exact = ByteBuffer(minimumCapacity: size)
        exact.append(bytes)
        #expect(paddingIsReadable(exact) == true)
        exact.reserve(size * 3)
        #expect(exact.bytes.copied() == bytes)
        #expect(paddingIsReadable(exact) == true)
    }

    @Test("Appending within the reserved capacity moves nothing")
    func reserved() {
        var buffer = ByteBuffer(minimumCapacity: 10_000)
        buffer.append(1)
        let before = buffer.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) }
        buffer.append([UInt8](repeating: 2, count: 9_999))
        #expect(buffer.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } == before)
        buffer.reserve(5)
        #expect(buffer.withUnsafeBytes { UInt(bitPattern: $0.baseAddress) } == before)
    }

    @Test("An emptied buffer can be used again")
    func removal() {
        var buffer = ByteBuffer(copying: "hello".utf8)
        buffer.removeAllKeepingCapacity()
        #expect(buffer.isEmpty == true)
        buffer.append("bye".utf8)
        #expect(String(repairing: buffer.bytes) == "bye")
        buffer.removeAll()
        #expect(buffer.isEmpty == true)
        #expect(paddingIsReadable(buffer) == true)
        buffer.append("again".utf8)
        #expect(String(repairing: buffer.bytes) == "again")
    }

    @Test("A copy of a span is a buffer of its own")
    func copying() {
        let one = ByteBuffer(copying: "abc".utf8)
        var two = ByteBuffer(copying: one.bytes)
        two.append(UInt8(ascii: "d"))
        #expect(String(repairing: one.bytes) == "abc")
        #expect(String(repairing: two.bytes) == "abcd")
    }

    /// Reads the padding; an address sanitizer objects when it is not the buffer's.
    private func paddingIsReadable(_ buffer: borrowing ByteBuffer) -> Bool {
        buffer.withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return false }
            return (bytes.count..<bytes.count + ByteBuffer.padding).allSatisfy {
                base.load(fromByteOffset: $0, as: UInt8.self) <= UInt8.max
            }
        }
    }
}
