/// Growable, contiguous bytes, owned by one place at a time.
///
/// At least `ByteBuffer.padding` bytes past the end may be read (their values mean nothing), which is what SIMD readers of JSON ask for.
/// Growth doubles, so appending n bytes copies at most 2n. Memory is returned when the buffer is dropped or emptied.
package struct ByteBuffer: ~Copyable {
    /// How many bytes behind the last one may be read by a vectorised reader.
    package static let padding = 64

    private var storage: UnsafeMutableRawPointer?
    private var capacity = 0
    package private(set) var count = 0

    package init(minimumCapacity: Int = 0) {
        if minimumCapacity > 0 { reserve(minimumCapacity) }
    }

    package init(copying bytes: RawSpan) {
        append(bytes)
    }

    package init(copying bytes: some Collection<UInt8>) {
        append(bytes)
    }

    deinit {
        storage?.deallocate()
    }

    package var isEmpty: Bool { count == 0 }

    /// The bytes, without the padding.
    package var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            let span = RawSpan(_unsafeStart: UnsafeRawPointer(storage ?? Self.nothing), byteCount: count)
            return unsafe _overrideLifetime(span, borrowing: self)
        }
    }

    package borrowing func withUnsafeBytes<Result, Failure: Error>(
        _ body: (UnsafeRawBufferPointer) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(UnsafeRawBufferPointer(start: storage ?? Self.nothing, count: count))
    }

    package mutating func append(_ bytes: RawSpan) {
        let added = bytes.byteCount
        guard added > 0 else { return }
        let target = room(for: added)
        bytes.withUnsafeBytes { source in
            target.copyMemory(from: source, count: added)
        }
        count += added
    }

    package mutating func append(_ bytes: some Collection<UInt8>) {
        let added = bytes.count
        guard added > 0 else { return }
        let target = room(for: added)
        let copied: Void? = bytes.withContiguousStorageIfAvailable { source in
            if let start = source.baseAddress {
                target.copyMemory(from: UnsafeRawPointer(start), byteCount: source.count)
            }
        }
        if copied == nil {
            var offset = 0
            for byte in bytes {
                target.storeBytes(of: byte, toByteOffset: offset, as: UInt8.self)
                offset += 1
            }
        }
        count += added
    }

    package mutating func append(_ byte: UInt8) {
        room(for: 1).storeBytes(of: byte, as: UInt8.self)
        count += 1
    }

    /// Makes room for `minimumCapacity` bytes in all, so that appending up to there moves nothing.
    package mutating func reserve(_ minimumCapacity: Int) {
        guard minimumCapacity > capacity else { return }
        let grown = UnsafeMutableRawPointer.allocate(byteCount: minimumCapacity + Self.padding, alignment: 16)
        if let storage {
            grown.copyMemory(from: storage, byteCount: count)
            storage.deallocate()
        }
        // Vectorised readers look at the padding; it must not be uninitialised memory.
        (grown + count).initializeMemory(as: UInt8.self, repeating: 0, count: minimumCapacity + Self.padding - count)
        storage = grown
        capacity = minimumCapacity
    }

    /// Empties the buffer and returns its memory.
    package mutating func removeAll() {
        storage?.deallocate()
        storage = nil
        capacity = 0
        count = 0
    }

    /// The bytes, leaving the buffer empty.
    package mutating func take() -> ByteBuffer {
        let taken = self
        self = ByteBuffer()
        return taken
    }

    /// Empties the buffer and keeps its memory for the next use.
    package mutating func removeAllKeepingCapacity() {
        count = 0
    }

    /// The place where the next `added` bytes go.
    private mutating func room(for added: Int) -> UnsafeMutableRawPointer {
        if storage == nil || count + added > capacity {
            reserve(Swift.max(count + added, capacity * 2, 256))
        }
        return (storage ?? Self.nothing) + count
    }

    /// What an empty buffer points at: readable padding, never written.
    nonisolated(unsafe) private static let nothing: UnsafeMutableRawPointer = {
        let pointer = UnsafeMutableRawPointer.allocate(byteCount: padding, alignment: 16)
        pointer.initializeMemory(as: UInt8.self, repeating: 0, count: padding)
        return pointer
    }()
}

// One owner holds the only pointer to the storage, so moving a buffer to another thread moves all of it.
extension ByteBuffer: @unchecked Sendable {}

extension UnsafeMutableRawPointer {
    fileprivate func copyMemory(from source: UnsafeRawBufferPointer, count: Int) {
        if let start = source.baseAddress { copyMemory(from: start, byteCount: count) }
    }
}
