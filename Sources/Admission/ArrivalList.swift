/// Requests in the order of their arrival, from which any can be taken out.
///
/// Places of those that left stay empty until they are at an end of the list or half of it is empty, so that its length is bounded by what
/// waits, and every operation takes a constant time on average.
struct ArrivalList {
    /// Where requests remember their places: one can be in two lists.
    private let place: ReferenceWritableKeyPath<QueuedRequest, Int>
    private var places: [QueuedRequest?] = []
    private var head = 0
    /// The place number of `places[0]`.
    private var base = 0
    private(set) var count = 0

    var isEmpty: Bool { count == 0 }

    /// The one that waits longest.
    var first: QueuedRequest? { head < places.count ? places[head] : nil }
    /// The one that came last.
    var last: QueuedRequest? { places.last ?? nil }

    init(_ place: ReferenceWritableKeyPath<QueuedRequest, Int> = \.arrivalPlace) {
        self.place = place
    }

    mutating func append(_ request: QueuedRequest) {
        request[keyPath: place] = base + places.count
        places.append(request)
        count += 1
    }

    mutating func remove(_ request: QueuedRequest) {
        let index = request[keyPath: place] - base
        guard places.indices.contains(index), places[index] === request else { return }
        places[index] = nil
        request[keyPath: place] = -1
        count -= 1
        if count == 0 {
            base += places.count
            places.removeAll(keepingCapacity: places.count <= 4096)
            head = 0
            return
        }
        while places[head] == nil { head += 1 }
        while places[places.count - 1] == nil { places.removeLast() }
        if places.count - count > 64, places.count > 2 * count { compact() }
    }

    private mutating func compact() {
        let rest = places.compactMap { $0 }
        base += places.count
        places.removeAll(keepingCapacity: true)
        head = 0
        count = 0
        for request in rest { append(request) }
    }

    func forEach(_ body: (QueuedRequest) -> Void) {
        for request in places[head...] { if let request { body(request) } }
    }
}
