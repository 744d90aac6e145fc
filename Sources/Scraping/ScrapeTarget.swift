internal import Pool
internal import SubRequests

/// What a scraper knows of one endpoint. Used on the client's thread only.
///
/// Thread rule: as of `ScrapeLoop`, which owns it.
final class ScrapeTarget: @unchecked Sendable {
    private(set) var endpoint: Endpoint
    private(set) var page: MetricsPage
    let request: HTTPRequest
    /// Made once, since a scrape should allocate nothing it need not.
    var onCompletion: HTTPCompletion?

    /// For the next scrape; set a little before its turn.
    var nextMark: Pool.ScrapeMark?
    private var current: (mark: Pool.ScrapeMark, transfer: HTTPTransfer)?
    private var isFailing = false
    private var refusals = 0
    private var turnsToMiss = 0
    private(set) var hasLeft = false

    init(_ endpoint: Endpoint, request: HTTPRequest, page: MetricsPage) {
        self.endpoint = endpoint
        self.request = request
        self.page = page
    }

    /// Whether this turn is to be used; asked once for each turn.
    var isDue: Bool {
        guard current == nil else { return false }
        guard turnsToMiss > 0 else { return true }
        turnsToMiss -= 1
        return false
    }

    /// The endpoint's labels have changed.
    func describe(_ endpoint: Endpoint, page: MetricsPage) {
        self.endpoint = endpoint
        self.page = page
    }

    func begin(_ mark: Pool.ScrapeMark, _ transfer: HTTPTransfer) {
        current = (mark, transfer)
    }

    /// The mark of the scrape that has ended.
    func end() -> Pool.ScrapeMark? {
        defer { current = nil }
        return current?.mark
    }

    func leave() {
        hasLeft = true
        current?.transfer.cancel()
        current = nil
    }

    /// Whether it failed before.
    func succeeded() -> Bool {
        defer { isFailing = false }
        refusals = 0
        return isFailing
    }

    /// Whether it had not failed before. One that refuses connections is given longer and longer pauses.
    func failed(_ failure: Pool.ScrapeFailure, longestPause: Int) -> Bool {
        defer { isFailing = true }
        if case .unreachable = failure {
            turnsToMiss = min(longestPause, (1 << min(refusals, 10)) - 1)
            refusals += 1
        } else {
            refusals = 0
        }
        return !isFailing
    }
}
