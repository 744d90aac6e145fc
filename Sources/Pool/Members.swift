internal import Bytes

/// What the pool knows of one endpoint. Only who holds the pool's lock may touch it.
final class Member {
    var endpoint: Endpoint
    var metrics = EndpointMetrics()
    var scrape = ScrapeStatus()
    /// The last reservation that the newest page can know.
    var mark: UInt64 = 0
    /// Whether anything waits to be published, and whether a page does.
    var isUnpublished = false
    var hasUnpublishedMark = false
    /// Its index in the list.
    fileprivate(set) var position: Int
    /// The latest replacement that named it.
    fileprivate var round: UInt64 = 0

    fileprivate init(_ endpoint: Endpoint, position: Int) {
        self.endpoint = endpoint
        self.position = position
    }
}

/// The members of a pool, in the order in which their source names them.
///
/// A source names all endpoints each time, though seldom more than one of thousands has changed. So its list is walked beside the one before:
/// what stands where it is expected costs a comparison, and only the rest is looked up.
struct Members {
    private(set) var list: [Member] = []
    /// Changes when an endpoint comes, goes, or is described anew.
    private(set) var version: UInt64 = 0
    private var byNumber: [Int: Member] = [:]
    private var byIdentity: [EndpointIdentity: Member] = [:]
    /// Endpoints that left while requests were in flight there: should they come back meanwhile, that load is still theirs.
    private var departed: [EndpointDescription: Endpoint] = [:]
    private var nextNumber = 0
    private var round: UInt64 = 0
    private let watch: PoolWatch
    private let clock: @Sendable () -> MonotonicTime

    /// - Parameter clock: what reservations are timed by.
    init(watch: PoolWatch, clock: @escaping @Sendable () -> MonotonicTime) {
        self.watch = watch
        self.clock = clock
    }

    /// The member whose endpoint has this number, or nil when it is none any more.
    subscript(number number: Int) -> Member? { byNumber[number] }

    /// Makes these the members. Those described as before stay the same objects; of two descriptions with one identity the last counts, in the
    /// place of the first.
    mutating func replace(with descriptions: [EndpointDescription]) {
        guard let known = known(descriptions) else { return replace(with: Self.latest(of: descriptions)) }
        let before = list
        var isSame = descriptions.count == before.count
        list = []
        list.reserveCapacity(descriptions.count)
        // By index: a copy of each description would cost more than all the rest.
        for position in descriptions.indices {
            if let member = known[position], member.endpoint.isServer(of: descriptions[position]) {
                if member.position != position { isSame = false }
                member.position = position
                if member.endpoint.labels != descriptions[position].labels {
                    isSame = false
                    describe(member, descriptions[position])
                }
                list.append(member)
            } else {
                isSame = false
                // Another server has taken the name of the one before.
                known[position]?.round = 0
                list.append(newMember(descriptions[position], at: position))
            }
        }
        removeUnnamed(of: before)
        if !isSame { version += 1 }
    }

    /// The members that the descriptions name, nil for those that are new; nothing when one identity comes twice.
    private mutating func known(_ descriptions: [EndpointDescription]) -> [Member?]? {
        round += 1
        var known: [Member?] = []
        known.reserveCapacity(descriptions.count)
        var newcomers: Set<EndpointIdentity> = []
        var expected = 0
        for index in descriptions.indices {
            let member: Member
            if expected < list.count, list[expected].endpoint.isNamed(by: descriptions[index]) {
                member = list[expected]
            } else if let found = byIdentity[descriptions[index].identity] {
                member = found
            } else {
                guard newcomers.insert(descriptions[index].identity).inserted else { return nil }
                known.append(nil)
                continue
            }
            guard member.round != round else { return nil }
            member.round = round
            expected = member.position + 1
            known.append(member)
        }
        return known
    }

    private static func latest(of descriptions: [EndpointDescription]) -> [EndpointDescription] {
        var positions: [EndpointIdentity: Int] = [:]
        var latest: [EndpointDescription] = []
        for description in descriptions {
            if let position = positions[description.identity] {
                latest[position] = description
            } else {
                positions[description.identity] = latest.count
                latest.append(description)
            }
        }
        return latest
    }

    private func describe(_ member: Member, _ description: EndpointDescription) {
        member.endpoint = Endpoint(
            description,
            number: member.endpoint.number,
            load: member.endpoint.load,
            breaker: member.endpoint.breaker,
            watch: watch
        )
    }

    private mutating func newMember(_ description: EndpointDescription, at position: Int) -> Member {
        let endpoint: Endpoint
        if !departed.isEmpty, let returned = departed.removeValue(forKey: description) {
            endpoint = returned
        } else {
            endpoint = Endpoint(description, number: nextNumber, load: EndpointLoad(clock: clock), watch: watch)
            nextNumber += 1
        }
        let member = Member(endpoint, position: position)
        byNumber[endpoint.number] = member
        byIdentity[endpoint.identity] = member
        return member
    }

    private mutating func removeUnnamed(of before: [Member]) {
        departed = departed.filter { $0.value.load.reading.requests > 0 }
        for member in before where member.round != round {
            let endpoint = member.endpoint
            byNumber[endpoint.number] = nil
            if byIdentity[endpoint.identity] === member { byIdentity[endpoint.identity] = nil }
            if endpoint.load.reading.requests > 0 { departed[endpoint.description] = endpoint }
        }
    }
}

extension Endpoint {
    fileprivate func isNamed(by description: EndpointDescription) -> Bool {
        identity.name == description.name && identity.namespace == description.namespace
    }

    /// Whether requests to what is described go where they went before.
    fileprivate func isServer(of description: EndpointDescription) -> Bool {
        address == description.address && port == description.port
    }
}
