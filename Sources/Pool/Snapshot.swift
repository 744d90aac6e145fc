package import Bytes

/// The pool at one moment: immutable, and shared by all who decide while it is the newest. An index into one array means the same endpoint in all.
package final class Snapshot: Sendable {
    package let endpoints: [Endpoint]
    package let metrics: [EndpointMetrics]
    package let scrapes: [ScrapeStatus]
    /// Changes when an endpoint comes, goes or is described anew; not with its metrics.
    package let membership: UInt64
    /// The last reservation of each endpoint that its metrics can know.
    let marks: [UInt64]

    init(
        endpoints: [Endpoint],
        metrics: [EndpointMetrics],
        scrapes: [ScrapeStatus],
        marks: [UInt64],
        membership: UInt64
    ) {
        self.endpoints = endpoints
        self.metrics = metrics
        self.scrapes = scrapes
        self.marks = marks
        self.membership = membership
    }

    package static let empty = Snapshot(endpoints: [], metrics: [], scrapes: [], marks: [], membership: 0)

    package var count: Int { endpoints.count }

    /// The index of the endpoint that answers at `ip:port` (an IPv6 address in brackets), or nil.
    package func index(at hostPort: String) -> Int? {
        endpoints.firstIndex { $0.hostPort == hostPort }
    }

    /// Whether the latest good page of endpoint `index` is younger than `threshold`.
    package func isFresh(_ index: Int, at now: MonotonicTime, threshold: Duration) -> Bool {
        guard let updatedAt = scrapes[index].updatedAt else { return false }
        return now.elapsed(since: updatedAt) < threshold
    }
}
