internal import Bytes

/// The usage of a stream of events of which only the first piece and the end are read.
///
/// What lies between costs a copy, and a look for where events end. A usage that ends more than `byteCount` bytes before the stream does is
/// not found, unless its event is the last one before those, or one that reaches into them; nor is one in an event longer than `eventLimit`.
package struct EventTail: ~Copyable, Sendable {
    /// How many of the last bytes are sure to be read.
    package static let byteCount = 4096
    /// The longest event that is kept as a whole.
    package static let eventLimit = 1 << 20

    private var reader = UsageReader(format: .eventStream)
    private var hasBegun = false
    /// Begins with an event, as far as one could be told from another.
    private var end = ByteBuffer()
    /// How much of `end` was searched for where events end.
    private var searched = 0

    package init() {}

    /// Keeps the end of the next piece; the first is read as well, since some servers tell there what the prompt cost.
    package mutating func keep(_ piece: RawSpan) {
        if !hasBegun {
            hasBegun = true
            reader.consume(piece)
            reader.finish()
        }
        end.append(piece)
        if end.count >= searched + 2 * Self.byteCount { shorten() }
    }

    /// Drops the events before the one that reaches into the last `byteCount` bytes.
    private mutating func shorten() {
        let sure = end.count - Self.byteCount
        if let boundary = Self.lastEventEnd(in: end.bytes, from: searched, to: sure) {
            drop(upTo: boundary)
        } else if end.count > Self.eventLimit {
            drop(upTo: sure)
        } else {
            searched = sure
        }
    }

    private mutating func drop(upTo start: Int) {
        let rest = ByteBuffer(copying: end.bytes.extracting(start..<end.count))
        end = rest
        searched = 0
    }

    /// Where the last event ends of those that end within the range: after an empty line.
    private static func lastEventEnd(in bytes: RawSpan, from start: Int, to end: Int) -> Int? {
        var offset = end - 1
        while offset > start {
            if bytes[offset] == UInt8(ascii: "\n") {
                let before = bytes[offset - 1]
                if before == UInt8(ascii: "\n") { return offset + 1 }
                if before == UInt8(ascii: "\r"), offset >= start + 2, bytes[offset - 2] == UInt8(ascii: "\n") {
                    return offset + 1
                }
            }
            offset -= 1
        }
        return nil
    }

    /// What was told, once the stream has ended.
    package mutating func finish() -> TokenUsage? {
        let rest = end.take()
        reader.consume(rest.bytes)
        reader.finish()
        return reader.usage
    }
}
