private import Synchronization

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
        /// The number of the latest reservation; changes with every new one.
        package var latest: UInt64 = 0
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
    }

    private let state = Mutex(State())

    init() {}

    package var reading: Reading {
        state.withLock { $0.reading }
    }

    /// Adds one request and numbers it.
    func add(tokens: Int) -> UInt64 {
        state.withLock { Self.add(tokens, to: &$0) }
    }

    /// Adds one request, unless another was added since the reading whose `latest` is `expected`.
    func add(tokens: Int, ifLatestIs expected: UInt64) -> UInt64? {
        state.withLock { $0.reading.latest == expected ? Self.add(tokens, to: &$0) : nil }
    }

    private static func add(_ tokens: Int, to state: inout State) -> UInt64 {
        state.reading.latest += 1
        state.reading.requests += 1
        state.reading.tokens += tokens
        state.reading.unseenRequests += 1
        state.reading.unseenTokens += tokens
        state.unseen.append(Unseen(number: state.reading.latest, tokens: tokens))
        return state.reading.latest
    }

    func remove(number: UInt64, tokens: Int) {
        state.withLock { state in
            state.reading.requests -= 1
            state.reading.tokens -= tokens
            guard number > state.mark else { return }
            var low = 0
            var high = state.unseen.count
            while low < high {
                let middle = (low + high) / 2
                if state.unseen[middle].number < number { low = middle + 1 } else { high = middle }
            }
            guard low < state.unseen.count, state.unseen[low].number == number else { return }
            state.unseen.remove(at: low)
            state.reading.unseenRequests -= 1
            state.reading.unseenTokens -= tokens
        }
    }

    /// A page that was asked for after reservation `mark` is now known: those up to it are on the page.
    func seen(upTo mark: UInt64) {
        state.withLock { state in
            guard mark > state.mark else { return }
            state.mark = mark
            let known = state.unseen.prefix { $0.number <= mark }
            state.reading.unseenRequests -= known.count
            state.reading.unseenTokens -= known.reduce(0) { $0 + $1.tokens }
            state.unseen.removeFirst(known.count)
        }
    }
}
