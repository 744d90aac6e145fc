#if canImport(Glibc)
    private import Glibc
#endif

extension RawSpan {
    /// The byte at `offset`, which must be within the span.
    @inline(__always)
    package subscript(offset: Int) -> UInt8 {
        unsafeLoad(fromByteOffset: checked(offset), as: UInt8.self)
    }

    @inline(__always)
    private func checked(_ offset: Int) -> Int {
        precondition(offset >= 0 && offset < byteCount, "offset outside the span")
        return offset
    }

    /// The first offset at or after `start` that holds `byte`, or nil.
    package func firstOffset(of byte: UInt8, from start: Int = 0) -> Int? {
        guard start < byteCount else { return nil }
        return withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress, let found = memchr(base + start, Int32(byte), bytes.count - start)
            else { return nil }
            return UnsafeRawPointer(found) - base
        }
    }

    /// Whether the bytes at `offset` begin with `prefix`.
    package func starts(with prefix: StaticString, at offset: Int = 0) -> Bool {
        let length = prefix.utf8CodeUnitCount
        guard offset >= 0, offset + length <= byteCount else { return false }
        return withUnsafeBytes { bytes in
            guard let base = bytes.baseAddress else { return length == 0 }
            return memcmp(base + offset, prefix.utf8Start, length) == 0
        }
    }

    package func isEqual(to text: StaticString) -> Bool {
        byteCount == text.utf8CodeUnitCount && starts(with: text)
    }

    package func isEqual(to other: RawSpan) -> Bool {
        guard byteCount == other.byteCount else { return false }
        guard byteCount > 0 else { return true }
        return withUnsafeBytes { left in
            other.withUnsafeBytes { right in
                guard let a = left.baseAddress, let b = right.baseAddress else { return false }
                return memcmp(a, b, left.count) == 0
            }
        }
    }

    /// Whether the bytes are valid UTF-8 (overlong forms and surrogates are not).
    package var isValidUTF8: Bool {
        withUnsafeBytes { bytes in
            bytes.withMemoryRebound(to: UInt8.self) { String(validating: $0, as: UTF8.self) != nil }
        }
    }

    /// A copy of the bytes.
    package func copied() -> [UInt8] {
        withUnsafeBytes { [UInt8]($0) }
    }
}

extension String {
    /// The bytes read as UTF-8; what is invalid becomes U+FFFD.
    package init(repairing bytes: RawSpan) {
        self = bytes.withUnsafeBytes { String(decoding: $0, as: UTF8.self) }
    }
}

extension Array where Element == UInt8 {
    /// Runs `body` over the array's bytes.
    package func withRawSpan<Result, Failure: Error>(
        _ body: (RawSpan) throws(Failure) -> Result
    ) throws(Failure) -> Result {
        try body(span.bytes)
    }
}
