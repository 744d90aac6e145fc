private import CMicroHTTPD

/// A connection that the server's thread leaves alone until it is resumed, which must happen exactly once.
///
/// Thread rule behind `@unchecked Sendable`: created on the server's thread; `resume` may be called on any, as the library allows.
struct SuspendedConnection: ~Copyable, @unchecked Sendable {
    private let pointer: OpaquePointer

    init(suspending connection: OpaquePointer) {
        pointer = connection
        MHD_suspend_connection(connection)
    }

    consuming func resume() {
        MHD_resume_connection(pointer)
    }
}
