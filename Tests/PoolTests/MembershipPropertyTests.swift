import Bytes
import Pool
import Testing

@Suite("The pool's members, whatever list follows whatever other")
struct MembershipPropertyTests {
    private let pool = Pool(stalenessThreshold: .seconds(2))

    /// Most of the list before, with some changes: as sources tell it.
    private func next(
        after list: [EndpointDescription],
        _ generator: inout some RandomNumberGenerator
    ) -> [EndpointDescription] {
        var list = list
        for _ in 0..<Int.random(in: 0...4, using: &generator) {
            let name = "\(Int.random(in: 0..<20, using: &generator))"
            let place = Int.random(in: 0...list.count, using: &generator)
            switch Int.random(in: 0..<8, using: &generator) {
            case 0: list.shuffle(using: &generator)
            case 1: list.removeAll()
            case 2, 3: if place < list.count { list.remove(at: place) }
            case 4: if place < list.count { list[place].labels = ["role": name] }
            case 5: if place < list.count { list[place].port = Int.random(in: 1...3, using: &generator) }
            default: list.insert(description(name), at: place)
            }
        }
        return list
    }

    /// What counts of a list: of several with one identity the last, in the place of the first.
    private func counted(_ list: [EndpointDescription]) -> [EndpointDescription] {
        list.enumerated().compactMap { index, description in
            list[..<index].contains { $0.identity == description.identity }
                ? nil : list.last { $0.identity == description.identity }
        }
    }

    private func described(_ endpoint: Endpoint) -> EndpointDescription {
        EndpointDescription(
            name: endpoint.identity.name,
            namespace: endpoint.identity.namespace,
            address: endpoint.address,
            port: endpoint.port,
            labels: endpoint.labels
        )
    }

    @Test(
        "Only what a list says of an endpoint counts for it: its place, and the others' changes, do not",
        arguments: 0..<20 as Range<UInt64>
    )
    func lists(seed: UInt64) {
        var generator = SeededGenerator(seed: seed)
        var list: [EndpointDescription] = []
        for round in 0..<200 {
            let before = pool.snapshot
            list = next(after: list, &generator)
            pool.replaceEndpoints(list)
            let after = pool.snapshot
            list = counted(list)
            #expect(after.endpoints.map(described) == list)
            #expect(Set(after.endpoints.map(\.number)).count == list.count)
            for (index, endpoint) in before.endpoints.enumerated() {
                guard let place = list.firstIndex(where: { $0.identity == endpoint.identity }) else { continue }
                let isSameServer = list[place].address == endpoint.address && list[place].port == endpoint.port
                #expect((after.endpoints[place] === endpoint) == (list[place] == described(endpoint)))
                #expect((after.endpoints[place].number == endpoint.number) == isSameServer)
                #expect(!isSameServer || after.metrics[place] == before.metrics[index])
                #expect(isSameServer || after.scrapes[place] == ScrapeStatus())
            }
            let isSame = before.endpoints.elementsEqual(after.endpoints) { $0 === $1 }
            #expect((before.membership == after.membership) == isSame)
            // What is scraped goes to whom it is of, and to nobody who has left.
            for endpoint in before.endpoints {
                pool.scrapeSucceeded(endpoint, pool.scrapeStarted(endpoint, at: .at(round)), update(running: round))
            }
            pool.publish()
            let numbers = Set(before.endpoints.map(\.number))
            for (index, endpoint) in after.endpoints.enumerated() {
                #expect((pool.snapshot.scrapes[index].updatedAt == .at(round)) == numbers.contains(endpoint.number))
            }
        }
    }
}
