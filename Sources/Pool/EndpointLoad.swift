internal import Bytes

/// The load that Apus itself has put on one endpoint: reservations that have not ended.
///
/// A scraped page knows every request that had arrived when it was written. Reservations are numbered, and a scrape remembers the last number
/// given before it started: what is newer cannot be on the page and is added to it by whoever reads the load.
package final class EndpointLoad: Sendable {
    /// The load at one moment.
    package struct Reading: Sendable, Equatable {
        /// Requests in flight, and the tokens estimated for them.
        package var requests = 0
        package var tokens = 0
        /// The part of both that the latest scrape cannot have seen.
        package var unseenRequests = 0
        package var unseenTokens = 0
        /// Requests that the latest scrape saw and that have ended since.
        package var endedRequests = 0
        /// The number of the latest reservation; changes with every new one.
        package var latest: UInt64 = 0
        /// Those of `tokens` that are taken to be computed by then, where a time was given.
        var doneTokens = 0.0
    }

    private struct Unseen {
        var number: UInt64
        var tokens: Int
    }

    private struct State {
        var reading = Reading()
        /// Reservations newer than `mark`, in order of their number.
        var unseen: [Unseen] = []
        var mark: UInt64 = 0
        /// Those that only the latest page made known: who still holds the snapshot before it has not seen them.
        var justSeen: [Unseen] = []
        var justSeenTokens = 0
        var progress = PromptProgress()
    }

    private let state = Lock(State())
    private let clock: @Sendable () -> MonotonicTime

    init(clock: @escaping @Sendable () -> MonotonicTime = { .now() }) {
        self.clock = clock
    }

    package var reading: Reading {
        state.withLock { $0.reading }
    }

    /// The load for a reader of metrics whose page knows the reservations up to `mark`.
    func reading(forPageUpTo mark: UInt64, at now: MonotonicTime?) -> Reading {
        state.withLock { state in
            var reading = state.reading
            if let now { reading.doneTokens = state.progress.done(at: now) }
            if mark < state.mark {
                reading.unseenRequests += state.justSeen.count
                reading.unseenTokens += state.justSeenTokens
            }
            return reading
        }
    }

    /// Adds one request and numbers it.
    func add(tokens: Int) -> UInt64 {
        state.withLock { add(tokens, to: &$0) }
    }

    /// Adds one request, unless another was added since the reading whose `latest` is `expected`.
    func add(tokens: Int, ifLatestIs expected: UInt64) -> UInt64? {
        state.withLock { $0.reading.latest == expected ? add(tokens, to: &$0) : nil }
    }

    private func add(_ tokens: Int, to state: inout State) -> UInt64 {
        state.reading.latest += 1
        state.reading.requests += 1
        state.reading.tokens += tokens
        state.reading.unseenRequests += 1
        state.reading.unseenTokens += tokens
        state.unseen.append(Unseen(number: state.reading.latest, tokens: tokens))
        state.progress.sent(state.reading.latest, tokens: tokens, at: clock())
        return state.reading.latest
    }

    /// Takes tokens off those in flight. What no page has shown yet stays: a cache fills by them, whether they are computed or not.
    func removeCounted(_ tokens: Int, number: UInt64) {
        state.withLock { state in
            state.reading.tokens -= tokens
            state.progress.computed(number, at: clock())
        }
    }

    /// - Parameters:
    ///   - counted: those of the tokens that still count as in flight.
    ///   - hasEnded: whether the request has ended now, and not at some time that nobody told.
    func remove(number: UInt64, tokens: Int, counted: Int, hasEnded: Bool) {
        state.withLock { state in
            state.reading.requests -= 1
            state.reading.tokens -= counted
            state.progress.gone(number, at: clock())
            if number > state.mark {
                guard Self.remove(number, from: &state.unseen) else { return }
                state.reading.unseenRequests -= 1
                state.reading.unseenTokens -= tokens
                return
            }
            if hasEnded { state.reading.endedRequests += 1 }
            if Self.remove(number, from: &state.justSeen) { state.justSeenTokens -= tokens }
        }
    }

    private static func remove(_ number: UInt64, from list: inout [Unseen]) -> Bool {
        var low = 0
        var high = list.count
        while low < high {
            let middle = (low + high) / 2
            if list[middle].number < number { low = middle + 1 } else { high = middle }
        }
        guard low < list.count, list[low].number == number else { return false }
        list.remove(at: low)
        return true
    }

    /// A page that was asked for after reservation `mark` is now known: those up to it are on the page.
    func seen(upTo mark: UInt64) {
        state.withLock { state in
            state.reading.endedRequests = 0
            guard mark > state.mark else { return }
            state.mark = mark
            state.justSeen = Array(state.unseen.prefix { $0.number <= mark })
            state.justSeenTokens = state.justSeen.reduce(0) { $0 + $1.tokens }
            state.reading.unseenRequests -= state.justSeen.count
            state.reading.unseenTokens -= state.justSeenTokens
            state.unseen.removeFirst(state.justSeen.count)
        }
    }
}
