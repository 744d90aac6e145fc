package import Bytes

/// Reservations of requests whose end nobody will tell: their load stays until the endpoint's next good page.
///
/// The page must have been asked for after they were left here; if the endpoint still has the request, the page counts it.
final class Lingering: Sendable {
    private struct Entry: Sendable {
        let held: HeldReservation
        let leftAt: MonotonicTime
    }

    /// More than this are given back at once: an endpoint whose pages fail may keep its reservations for long.
    private static let limit = 1 << 16

    private let entries = Lock([Entry]())

    init() {}

    func add(_ reservation: consuming Reservation, at now: MonotonicTime) {
        let entry = Entry(held: HeldReservation(reservation), leftAt: now)
        entries.withLock { entries in
            if entries.count < Self.limit { entries.append(entry) }
        }
    }

    /// Gives back what `snapshot` has a new enough page for, and what belongs to endpoints that are no longer there.
    func release(seenIn snapshot: Snapshot) {
        let released = entries.withLock { entries -> [Entry] in
            guard !entries.isEmpty else { return [] }
            var pages: [Int: MonotonicTime] = [:]
            for index in 0..<snapshot.count {
                pages[snapshot.endpoints[index].number] = snapshot.scrapes[index].updatedAt
            }
            let isOver: (Entry) -> Bool = { entry in
                guard let page = pages[entry.held.endpoint.number] else { return true }
                return page > entry.leftAt
            }
            let released = entries.filter(isOver)
            if !released.isEmpty { entries.removeAll(where: isOver) }
            return released
        }
        // Giving a load back takes locks of its own, so it happens out here.
        _ = consume released
    }
}

/// A reservation where only copyable values can be.
private final class HeldReservation: Sendable {
    private let reservation: Reservation

    init(_ reservation: consuming Reservation) {
        var reservation = reservation
        reservation.loseSight()
        self.reservation = reservation
    }

    var endpoint: Endpoint { reservation.endpoint }
}

extension Pool {
    /// Takes over the load of a request of which nothing more will be heard, and keeps it until the endpoint's next good page.
    ///
    /// An endpoint that was never scraped has no page to wait for, so its load is given back at once.
    package func linger(_ reservation: consuming Reservation, at now: MonotonicTime) {
        let snapshot = snapshot
        let number = reservation.endpoint.number
        guard let index = snapshot.endpoints.firstIndex(where: { $0.number == number }),
            snapshot.scrapes[index].updatedAt != nil
        else { return }
        lingering.add(reservation, at: now)
    }
}
