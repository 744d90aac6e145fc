internal import Bytes

/// The usage of a stream of events of which only the first piece and the end are read.
///
/// What lies between costs a copy of a few bytes and no look. A usage that ends more than `byteCount` bytes before the stream does, or that
/// lies in a single event longer than that, is not found.
package struct EventTail: ~Copyable, Sendable {
    /// How many of the last bytes are sure to be read.
    package static let byteCount = 4096

    private var reader = UsageReader(format: .eventStream)
    private var hasBegun = false
    /// Two generations: when the later one is full it becomes the earlier one, so that no byte is moved.
    private var earlier = ByteBuffer()
    private var later = ByteBuffer()

    package init() {}

    /// Keeps the end of the next piece; the first is read as well, since some servers tell there what the prompt cost.
    package mutating func keep(_ piece: RawSpan) {
        if !hasBegun {
            hasBegun = true
            reader.consume(piece)
            reader.finish()
        }
        if later.count >= Self.byteCount {
            swap(&earlier, &later)
            later.removeAllKeepingCapacity()
        }
        later.append(piece.extracting(last: min(piece.byteCount, Self.byteCount)))
    }

    /// What was told, once the stream has ended.
    package mutating func finish() -> TokenUsage? {
        let first = earlier.take()
        let second = later.take()
        reader.consume(first.bytes)
        reader.consume(second.bytes)
        reader.finish()
        return reader.usage
    }
}
