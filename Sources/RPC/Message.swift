import CGRPC

/// One received message: contiguous bytes that are freed with the value.
///
/// A message that arrived as one slice (the usual case up to about 16 KiB) is borrowed from the transport's buffer;
/// a longer one is copied together once.
package struct Message: ~Copyable, @unchecked Sendable {
    // Sendable: the slice's bytes are never written after they were received, and its count of references is atomic.
    private let slice: grpc_slice

    /// Takes ownership of `buffer`.
    init(_ buffer: UnsafeMutablePointer<grpc_byte_buffer>) {
        slice = apus_message_slice(buffer)
    }

    deinit {
        grpc_slice_unref(slice)
    }

    package var byteCount: Int {
        slice.data.refcounted.length
    }

    /// The message's bytes, borrowed.
    package var bytes: RawSpan {
        @_lifetime(borrow self)
        get {
            // The slice lies on the heap (`apus_message_slice` sees to it), so the address is good while `self` lives.
            let buffer = UnsafeRawBufferPointer(start: slice.data.refcounted.bytes, count: byteCount)
            return unsafe _overrideLifetime(RawSpan(_unsafeBytes: buffer), borrowing: self)
        }
    }

    package borrowing func withUnsafeBytes<R, E>(
        _ body: (UnsafeRawBufferPointer) throws(E) -> R
    ) throws(E) -> R {
        try body(UnsafeRawBufferPointer(start: slice.data.refcounted.bytes, count: byteCount))
    }
}
