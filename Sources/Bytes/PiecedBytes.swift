/// Bytes that several readers hold at once, until the last of them lets go.
package final class SharedBytes: Sendable {
    private let buffer: ByteBuffer

    package init(_ buffer: consuming ByteBuffer) {
        self.buffer = buffer
    }

    package var count: Int { buffer.count }

    /// The bytes; `ByteBuffer.padding` more may be read behind them.
    package var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // The buffer never changes, so its memory lives as long as this object.
            let (start, count) = buffer.withUnsafeBytes { ($0.baseAddress, $0.count) }
            guard let start else { return RawSpan() }
            return unsafe _overrideLifetime(RawSpan(_unsafeStart: start, byteCount: count), borrowing: self)
        }
    }

    /// Runs `body` with the buffer, for readers that ask for its padding.
    package func withBuffer<Result, Failure: Error>(
        _ body: (borrowing ByteBuffer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(buffer)
    }
}

/// Bytes to be sent, as pieces: stretches of a shared body and short texts between them. So an edited body of any length costs what was edited.
package struct PiecedBytes: Sendable {
    package enum Piece: Sendable {
        case shared(SharedBytes, Range<Int>)
        case own([UInt8])

        package var count: Int {
            switch self {
            case .shared(_, let range): range.count
            case .own(let bytes): bytes.count
            }
        }
    }

    package private(set) var pieces: [Piece] = []
    package private(set) var count = 0

    package init() {}

    package init(_ bytes: [UInt8]) {
        append(bytes)
    }

    package init(_ bytes: SharedBytes) {
        append(bytes, 0..<bytes.count)
    }

    package mutating func append(_ bytes: [UInt8]) {
        guard !bytes.isEmpty else { return }
        pieces.append(.own(bytes))
        count += bytes.count
    }

    /// Appends a stretch of `bytes`, which must hold it.
    package mutating func append(_ bytes: SharedBytes, _ range: Range<Int>) {
        precondition(range.lowerBound >= 0 && range.upperBound <= bytes.count, "a piece lies outside its bytes")
        guard !range.isEmpty else { return }
        pieces.append(.shared(bytes, range))
        count += range.count
    }

    /// All of it in one buffer.
    package func joined() -> ByteBuffer {
        joined(0..<count)
    }

    /// A stretch of it in one buffer; as much of the stretch as there is.
    package func joined(_ range: Range<Int>) -> ByteBuffer {
        let range = range.clamped(to: 0..<count)
        var buffer = ByteBuffer(minimumCapacity: range.count)
        var start = 0
        for piece in pieces where start < range.upperBound {
            let part = range.clamped(to: start..<start + piece.count)
            defer { start += piece.count }
            guard !part.isEmpty else { continue }
            let inside = part.lowerBound - start..<part.upperBound - start
            switch piece {
            case .shared(let bytes, let whole):
                let first = whole.lowerBound + inside.lowerBound
                buffer.append(bytes.bytes.extracting(first..<first + inside.count))
            case .own(let bytes):
                buffer.append(bytes[inside])
            }
        }
        return buffer
    }

    /// Where a reader of pieces stands: the piece, and how far into it.
    package struct Position: Sendable, Equatable {
        package fileprivate(set) var piece = 0
        package fileprivate(set) var offset = 0

        package init() {}
    }

    /// Copies the next bytes, as many as there are and as `target` has room for, and moves on.
    ///
    /// - Returns: how many; 0 at the end.
    package func copy(from position: inout Position, into target: UnsafeMutableRawBufferPointer) -> Int {
        var copied = 0
        while copied < target.count, position.piece < pieces.count {
            let piece = pieces[position.piece]
            let taken = min(piece.count - position.offset, target.count - copied)
            let room = UnsafeMutableRawBufferPointer(rebasing: target[copied..<copied + taken])
            switch piece {
            case .shared(let shared, let range):
                let start = range.lowerBound + position.offset
                shared.bytes.extracting(start..<start + taken).withUnsafeBytes { room.copyMemory(from: $0) }
            case .own(let bytes):
                bytes.withUnsafeBytes {
                    room.copyMemory(
                        from: UnsafeRawBufferPointer(rebasing: $0[position.offset..<position.offset + taken])
                    )
                }
            }
            copied += taken
            position.offset += taken
            if position.offset == piece.count {
                position.piece += 1
                position.offset = 0
            }
        }
        return copied
    }

    /// The position that many bytes from the start; nil when there are fewer.
    package func position(at offset: Int) -> Position? {
        guard (0...count).contains(offset) else { return nil }
        var position = Position()
        var left = offset
        while position.piece < pieces.count, left >= pieces[position.piece].count {
            left -= pieces[position.piece].count
            position.piece += 1
        }
        position.offset = left
        return position
    }
}
