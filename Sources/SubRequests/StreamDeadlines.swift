internal import Bytes

/// Until when a streamed response must have come to which point.
struct StreamDeadlines {
    private var headBy: MonotonicTime?
    private var endBy: MonotonicTime?
    private var moreBy: MonotonicTime?
    private var idleTimeout: Duration?

    init() {}

    init(_ limits: HTTPStreamLimits, startedAt start: MonotonicTime) {
        headBy = start + limits.headTimeout
        endBy = limits.timeout.map { start + $0 }
        idleTimeout = limits.idleTimeout
    }

    /// When the response is to be ended; nil for never.
    var next: MonotonicTime? {
        guard let endBy else { return headBy ?? moreBy }
        return min(endBy, headBy ?? moreBy ?? endBy)
    }

    mutating func headEnded(_ now: MonotonicTime) {
        headBy = nil
        progress(now)
    }

    mutating func progress(_ now: MonotonicTime) {
        guard headBy == nil else { return }
        moreBy = idleTimeout.map { now + $0 }
    }

    /// The reader is behind: the server waits for us.
    mutating func pause() {
        moreBy = nil
    }

    mutating func end(at time: MonotonicTime) {
        endBy = min(endBy ?? time, time)
    }
}
