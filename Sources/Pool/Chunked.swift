/// An array in small pieces: a copy shares all pieces with the original but those that are changed afterwards.
///
/// A snapshot of a thousand endpoints of which a few have changed so costs what the few cost, and a list of the pieces.
struct Chunked<Element: Sendable>: Sendable {
    private static var bits: Int { 4 }
    private static var mask: Int { (1 << bits) - 1 }

    private var pieces: [[Element]] = []
    let count: Int

    init(_ elements: [Element]) {
        count = elements.count
        pieces = stride(from: 0, to: count, by: 1 << Self.bits).map { start in
            Array(elements[start..<min(start + (1 << Self.bits), elements.count)])
        }
    }

    subscript(index: Int) -> Element {
        @inline(__always)
        _read { yield pieces[index >> Self.bits][index & Self.mask] }
        @inline(__always)
        _modify { yield &pieces[index >> Self.bits][index & Self.mask] }
    }
}

// What other modules read: not generic, since a generic type that is not specialized for them costs many times as much.

/// The endpoints' metrics, by their indexes in the snapshot.
package struct MetricsList: Sendable, RandomAccessCollection {
    var pieces: Chunked<EndpointMetrics>

    package var startIndex: Int { 0 }
    package var endIndex: Int { pieces.count }

    package subscript(index: Int) -> EndpointMetrics {
        _read { yield pieces[index] }
    }
}

/// How the endpoints' scrapes go, by their indexes in the snapshot.
package struct ScrapeList: Sendable, RandomAccessCollection {
    var pieces: Chunked<ScrapeStatus>

    package var startIndex: Int { 0 }
    package var endIndex: Int { pieces.count }

    package subscript(index: Int) -> ScrapeStatus {
        _read { yield pieces[index] }
    }
}
