internal import Bytes
package import Pool
package import SubRequests

/// Asks every endpoint of a pool for its metrics, again and again.
///
/// All of it happens on the threads of HTTP clients: no task, no thread and no context switch for a scrape. Each endpoint has a phase within the
/// interval, drawn at random, so that the requests are spread evenly. An endpoint that has not answered when its turn comes is passed over, so no
/// endpoint is ever asked twice at a time.
package final class Scraper: Sendable {
    private let clients: [HTTPClient]
    private let loops: [ScrapeLoop]

    /// - Parameters:
    ///   - clients: one for each thread that scrapes. Endpoints are dealt out to them by the hundreds, so that a small pool keeps one thread busy only.
    ///   - onEvent: called on a client's thread, once for each scrape that ended; must not block.
    package init(
        pool: Pool,
        clients: [HTTPClient],
        settings: ScrapeSettings = ScrapeSettings(),
        dialects: EngineDialects = .standard,
        onEvent: @escaping @Sendable (ScrapeEvent) -> Void = { _ in }
    ) {
        self.clients = clients
        let publishing = SnapshotPublishing(pool: pool)
        loops = clients.indices.map { index in
            ScrapeLoop(
                publishing,
                client: clients[index],
                share: ScrapeShare(index: index, count: clients.count),
                settings: settings,
                dialects: dialects,
                onEvent: onEvent
            )
        }
    }

    /// Starts scraping. Endpoints that join the pool later are scraped from the next tick on.
    package func start() {
        for (client, loop) in zip(clients, loops) {
            client.perform { loop.start() }
        }
    }

    /// Ends scraping and the scrapes under way. No event comes after it has returned. Waits for the clients' threads, which must not wait for the
    /// caller.
    package func stop() {
        for (client, loop) in zip(clients, loops) {
            client.performAndWait { loop.stop() }
        }
    }
}

/// Which endpoints one of several threads scrapes.
struct ScrapeShare: Sendable {
    /// Endpoints in a row that one thread scrapes. A thread reads some 15,000 pages of 50 KB a second, so at 20 a second two such rows keep it
    /// from being the limit.
    static let rowLength = 256

    let index: Int
    let count: Int

    func holds(_ endpoint: Endpoint) -> Bool {
        endpoint.number / Self.rowLength % count == index
    }
}
