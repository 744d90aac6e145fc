package import Pool
package import SubRequests

/// How one scrape went, for logs and counters. `isTransition` marks the first of its kind after the other kind: what is worth a line in a log.
package enum ScrapeEvent: Sendable {
    /// An endpoint that was never scraped before counts as well, so its first success is no transition.
    case succeeded(Endpoint, seconds: Double, isTransition: Bool)
    /// `hasPage`: there was a page, but nothing on it that could be read.
    case failed(Endpoint, message: String, hasPage: Bool, isTransition: Bool)
}

/// How endpoints are scraped.
package struct ScrapeSettings: Sendable {
    /// Between the starts of two scrapes of one endpoint.
    package var interval: Duration = .milliseconds(50)
    /// Of one scrape, to its last byte.
    package var timeout: Duration = .seconds(1)
    package var maxPageBytes = 4 << 20
    package var path = "/metrics"
    /// Whom to trust over `https://`; nil: plain `http://`.
    package var trust: TLSTrust?
    /// How often an endpoint is tried at least while it refuses connections.
    package var longestInterval: Duration = .milliseconds(250)
    /// Seeds the choice of phases.
    package var seed: UInt64 = 0

    package init() {}
}
