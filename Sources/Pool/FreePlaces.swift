/// How many more requests an engine would run before its next page, judged by the pages so far.
///
/// No page says how many requests an engine runs at most. Until one shows a queue, only a large number bounds what is sent between two
/// pages. A queue shows the limit: what runs meanwhile; from then on as many count as free as leave the limit half as many again, so that a
/// limit that no longer holds is found out in a few pages. An engine that has had nothing to do has forgotten it.
struct FreePlaces: Sendable, Equatable {
    /// What vLLM runs at once, unless told otherwise, on most machines.
    static let assumedLimit = 256

    /// What ran when requests last waited; nil when none did since the engine was last idle.
    private var limit: Int?
    private(set) var count = assumedLimit

    /// Takes a page into account.
    ///
    /// - Parameter started: the requests that left the queue since the page before; as many will before the next one.
    mutating func saw(waiting: Int, running: Int, started: Int) {
        if waiting > 0 {
            limit = running
            count = started
        } else {
            limit = running > 0 || started > 0 ? limit.map { max($0, running) } : nil
            let places = limit.map { $0 + $0 / 2 } ?? max(Self.assumedLimit, 2 * running)
            count = max(started, places - running)
        }
    }

    /// How many requests wait now, as far as can be told.
    ///
    /// - Parameters:
    ///   - waiting: those that waited on the page.
    ///   - sent: what was sent since.
    ///   - ended: what the page counted and has ended since: for each of them another was started.
    func queued(waiting: Int, sent: Int, ended: Int) -> Int {
        max(0, waiting - ended) + max(0, sent - max(count, ended - waiting))
    }
}
