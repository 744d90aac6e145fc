import Bytes
import Testing

@Suite("Bytes in pieces")
struct PiecedBytesTests {
    private static func sample() -> (PiecedBytes, [UInt8]) {
        let shared = SharedBytes(ByteBuffer(copying: Array("0123456789".utf8)))
        var pieces = PiecedBytes()
        pieces.append(shared, 2..<5)
        pieces.append(Array("abc".utf8))
        pieces.append([])
        pieces.append(shared, 5..<5)
        pieces.append(shared, 0..<10)
        return (pieces, Array("234abc0123456789".utf8))
    }

    @Test("The pieces joined are what was appended, in its order")
    func joins() {
        let (pieces, expected) = Self.sample()
        #expect(pieces.joined().bytes.copied() == expected)
        #expect(pieces.count == expected.count)
    }

    @Test("Every stretch can be joined alone, and of one that reaches too far what there is")
    func stretches() {
        let (pieces, expected) = Self.sample()
        for start in 0...expected.count {
            for end in start...expected.count {
                #expect(pieces.joined(start..<end).bytes.copied() == Array(expected[start..<end]))
            }
        }
        #expect(pieces.joined(14..<99).bytes.copied() == Array(expected[14...]))
        #expect(pieces.joined(99..<100).bytes.copied().isEmpty)
    }

    @Test("A reader with room for any number of bytes gets all of them, each once", arguments: [1, 2, 3, 4, 7, 16, 64])
    func reads(room: Int) {
        let (pieces, expected) = Self.sample()
        var position = PiecedBytes.Position()
        var read: [UInt8] = []
        while true {
            let piece = [UInt8](unsafeUninitializedCapacity: room) { buffer, count in
                count = pieces.copy(from: &position, into: UnsafeMutableRawBufferPointer(buffer))
            }
            if piece.isEmpty { break }
            read += piece
        }
        #expect(read == expected)
    }

    @Test("Reading can begin anew at any byte, and nowhere else")
    func seeks() throws {
        let (pieces, expected) = Self.sample()
        for offset in 0...expected.count {
            var position = try #require(pieces.position(at: offset))
            let rest = [UInt8](unsafeUninitializedCapacity: 64) { buffer, count in
                count = pieces.copy(from: &position, into: UnsafeMutableRawBufferPointer(buffer))
            }
            #expect(rest == Array(expected[offset...]))
        }
        #expect(pieces.position(at: -1) == nil)
        #expect(pieces.position(at: expected.count + 1) == nil)
    }

    @Test("Bytes live as long as a piece of them is held")
    func lives() {
        var pieces = PiecedBytes(SharedBytes(ByteBuffer(copying: Array("held".utf8))))
        pieces.append(Array("!".utf8))
        #expect(pieces.joined().bytes.copied() == Array("held!".utf8))
    }
}
