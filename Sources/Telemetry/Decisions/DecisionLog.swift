import Bytes

/// The latest decisions, for `/debug/decisions`. Recording stores one reference.
package final class DecisionLog: Sendable {
    private struct Ring {
        var records: [DecisionRecord] = []
        /// Where the next record goes once the ring is full; the oldest one is there.
        var next = 0
    }

    /// How many decisions are kept.
    package let capacity: Int
    private let ring = Lock(Ring())

    package init(capacity: Int = 256) {
        self.capacity = max(1, capacity)
    }

    package func record(_ decision: DecisionRecord) {
        // What falls out is released after the lock: it may be the last reference to a snapshot.
        let replaced: DecisionRecord? = ring.withLock { ring in
            guard ring.records.count == capacity else {
                ring.records.append(decision)
                return nil
            }
            let old = ring.records[ring.next]
            ring.records[ring.next] = decision
            ring.next = (ring.next + 1) % capacity
            return old
        }
        _ = replaced
    }

    /// The latest decisions, newest first.
    package func latest(_ limit: Int = .max) -> [DecisionRecord] {
        let (records, next) = ring.withLock { ($0.records, $0.next) }
        return Array((records[next...] + records[..<next]).reversed().prefix(max(0, limit)))
    }

    /// The page of `/debug/decisions`: `{"decisions": […]}`, newest first.
    package func json(limit: Int = .max) -> [UInt8] {
        var json = JSONWriter()
        json.object { json in
            json.array("decisions") { json in
                for record in latest(limit) { record.write(to: &json) }
            }
        }
        return json.bytes
    }
}
