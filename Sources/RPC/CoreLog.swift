import Bytes
import CGRPC

/// What gRPC core has to say, mostly about peers that break off or speak no TLS.
///
/// Anyone who reaches a port can make core say something, so only some lines a second are passed on.
package enum CoreLog {
    /// Counts the lines of each second.
    struct Limit {
        private var second: Int64 = 0
        private var lines = 0
        private var suppressed = 0

        static let linesPerSecond = 5

        /// Nil when a line of this second is one too many; otherwise how many have been left out since the last one.
        mutating func admit(second now: Int64) -> Int? {
            if second != now {
                second = now
                lines = 0
            }
            lines += 1
            guard lines <= Self.linesPerSecond else {
                suppressed += 1
                return nil
            }
            defer { suppressed = 0 }
            return suppressed
        }
    }

    private struct State {
        var handler: (@Sendable (String) -> Void)?
        var limit = Limit()
    }

    private static let state = Lock(State())

    /// Passes core's lines on to `handler` in place of standard error, on whichever thread has them. For the whole process.
    package static func redirect(to handler: @escaping @Sendable (String) -> Void) {
        state.withLock { $0.handler = handler }
        gpr_set_log_function { arguments in
            guard let arguments, let text = arguments.pointee.message else { return }
            CoreLog.write(String(cString: text))
        }
    }

    private static func write(_ text: String) {
        let second = gpr_now(GPR_CLOCK_MONOTONIC).tv_sec
        let (handler, suppressed) = state.withLock { ($0.handler, $0.limit.admit(second: second)) }
        guard let handler, let suppressed else { return }
        if suppressed > 0 { handler("\(suppressed) lines like these were left out") }
        handler(text)
    }
}
