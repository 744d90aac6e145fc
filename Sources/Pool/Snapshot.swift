package import Bytes

/// The pool at one moment: immutable, and shared by all who decide while it is the newest. An index into one array means the same endpoint in all.
package final class Snapshot: Sendable {
    package let endpoints: [Endpoint]
    package let metrics: MetricsList
    package let scrapes: ScrapeList
    /// Changes when an endpoint comes, goes or is described anew; not with its metrics.
    package let membership: UInt64
    /// The last reservation of each endpoint that its metrics can know.
    let marks: Chunked<UInt64>

    private init(
        endpoints: [Endpoint],
        metrics: MetricsList,
        scrapes: ScrapeList,
        marks: Chunked<UInt64>,
        membership: UInt64
    ) {
        self.endpoints = endpoints
        self.metrics = metrics
        self.scrapes = scrapes
        self.marks = marks
        self.membership = membership
    }

    package static let empty = Snapshot([], membership: 0)

    init(_ members: [Member], membership: UInt64) {
        endpoints = members.map(\.endpoint)
        metrics = MetricsList(pieces: Chunked(members.map(\.metrics)))
        scrapes = ScrapeList(pieces: Chunked(members.map(\.scrape)))
        marks = Chunked(members.map(\.mark))
        self.membership = membership
    }

    /// The same members, of whom `changed` are known anew.
    func updated(with changed: [Member]) -> Snapshot {
        var (metrics, scrapes, marks) = (metrics, scrapes, marks)
        for member in changed {
            metrics.pieces[member.position] = member.metrics
            scrapes.pieces[member.position] = member.scrape
            marks[member.position] = member.mark
        }
        return Snapshot(endpoints: endpoints, metrics: metrics, scrapes: scrapes, marks: marks, membership: membership)
    }

    package var count: Int { endpoints.count }

    /// The index of the endpoint that answers at `ip:port` (an IPv6 address in brackets), or nil.
    package func index(at hostPort: String) -> Int? {
        endpoints.firstIndex { $0.hostPort == hostPort }
    }

    /// Whether the latest good page of endpoint `index` is younger than `threshold`.
    package func isFresh(_ index: Int, at now: MonotonicTime, threshold: Duration) -> Bool {
        scrapes.pieces[index].isFresh(at: now, nanoseconds: threshold.nanoseconds)
    }
}

// What is asked for every decision: loops over all endpoints, close to what they read.
extension Snapshot {
    /// The size of the cache's blocks that all endpoints have that tell it; nil when they differ, or none does.
    package var onlyCacheBlockSize: Int? {
        var only = 0
        for index in endpoints.indices {
            let size = metrics.pieces[index].cacheBlockSize
            if size == only || size <= 0 { continue }
            guard only == 0 else { return nil }
            only = size
        }
        return only > 0 ? only : nil
    }

    /// Whether a LoRA adapter runs at endpoint `index`, could be loaded there, or has to wait for another to give up its slot.
    package func place(of adapter: String, at index: Int) -> AdapterPlace {
        // Read where they are: to hold the metrics would retain their arrays.
        if metrics.pieces[index].activeModels.contains(adapter) { return .runs }
        let taken = metrics.pieces[index].activeModels.count + metrics.pieces[index].waitingModels.count
        return taken < metrics.pieces[index].maxActiveModels ? .hasRoom : .full
    }

    /// Calls `body` with every LoRA adapter that a page names; false when no endpoint takes any.
    package func forEachAdapter(_ body: (String) -> Void) -> Bool {
        var takesAdapters = false
        for index in endpoints.indices where metrics.pieces[index].maxActiveModels > 0 {
            takesAdapters = true
            // Most name none, and to walk through two empty arrays takes longer than to find that they are.
            if !metrics.pieces[index].activeModels.isEmpty { metrics.pieces[index].activeModels.forEach(body) }
            if !metrics.pieces[index].waitingModels.isEmpty { metrics.pieces[index].waitingModels.forEach(body) }
        }
        return takesAdapters
    }
}

/// How an adapter stands with an endpoint.
package enum AdapterPlace: Sendable {
    case runs, hasRoom, full
}

extension ScrapeStatus {
    /// Whether the latest good page is younger than this.
    func isFresh(at now: MonotonicTime, nanoseconds: Int64) -> Bool {
        guard let updatedAt else { return false }
        let age = now > updatedAt ? Int64(clamping: now.nanoseconds - updatedAt.nanoseconds) : 0
        return age < nanoseconds
    }
}
