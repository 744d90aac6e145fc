import CGRPC
import Glibc

/// What a new thread runs; passed through C as one retained object.
private final class ThreadBody {
    let name: String
    let run: @Sendable () -> Void

    init(name: String, run: @escaping @Sendable () -> Void) {
        self.name = name
        self.run = run
    }
}

/// Stacks are reserved, not used: 2 MiB leave room for the decoders a handler calls, also under a sanitizer.
private let stackSize = 2 << 20

/// Starts a joinable thread named `name`.
func startThread(name: String, run: @escaping @Sendable () -> Void) throws(RPCError) -> pthread_t {
    var attributes = pthread_attr_t()
    pthread_attr_init(&attributes)
    defer { pthread_attr_destroy(&attributes) }
    pthread_attr_setstacksize(&attributes, stackSize)

    let body = Unmanaged.passRetained(ThreadBody(name: name, run: run))
    var thread = pthread_t()
    let code = pthread_create(
        &thread,
        &attributes,
        { context in
            guard let context else { return nil }
            let body = Unmanaged<ThreadBody>.fromOpaque(context).takeRetainedValue()
            apus_thread_set_name(body.name)
            body.run()
            return nil
        },
        body.toOpaque()
    )
    guard code == 0 else {
        body.release()
        throw RPCError(
            code: .resourceExhausted,
            message: "cannot start thread \(name): \(String(cString: strerror(code)))"
        )
    }
    return thread
}
