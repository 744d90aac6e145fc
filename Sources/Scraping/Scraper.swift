internal import Bytes
package import Pool
package import SubRequests

/// Asks every endpoint of a pool for its metrics, again and again.
///
/// All of it happens on the HTTP client's thread: no task, no thread and no context switch for a scrape. Each endpoint has a phase within the interval, drawn
/// at random, so that the requests are spread evenly. An endpoint that has not answered when its turn comes is passed over, so no endpoint is ever
/// asked twice at a time.
package final class Scraper: Sendable {
    private let client: HTTPClient
    private let loop: ScrapeLoop

    /// - Parameter onEvent: called on the client's thread, once for each scrape that ended; must not block.
    package init(
        pool: Pool,
        client: HTTPClient,
        settings: ScrapeSettings = ScrapeSettings(),
        dialects: EngineDialects = .standard,
        onEvent: @escaping @Sendable (ScrapeEvent) -> Void = { _ in }
    ) {
        self.client = client
        loop = ScrapeLoop(pool: pool, client: client, settings: settings, dialects: dialects, onEvent: onEvent)
    }

    /// Starts scraping. Endpoints that join the pool later are scraped from the next tick on.
    package func start() {
        let loop = loop
        client.perform { loop.start() }
    }

    /// Ends scraping and the scrapes under way. No event comes after it has returned. Waits for the client's thread, which must not wait for the caller.
    package func stop() {
        let loop = loop
        client.performAndWait { loop.stop() }
    }
}
