/// How long to wait before the next try: twice as long after each failure, up to a bound, and never the same for all who wait.
package struct Backoff: Sendable {
    private let first: Duration
    private let longest: Duration
    private var next: Duration

    package init(first: Duration, longest: Duration) {
        self.first = first
        self.longest = longest
        next = first
    }

    /// The wait after one more failure: between half of its step and the whole.
    package mutating func delay() -> Duration {
        let step = next
        next = min(next * 2, longest)
        return step * Double.random(in: 0.5...1)
    }

    /// After a success.
    package mutating func reset() {
        next = first
    }
}
