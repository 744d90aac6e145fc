/// The servers as they are: what only an oracle sees.
struct FleetView {
    let engines: [ServingEngine]
    let servers: [ServerDescription]
    let isDown: [Bool]
    let isListed: [Bool]
    let now: Double

    /// The servers that take part in a stage of requests.
    func members(_ role: ServerDescription.Role) -> [Int] {
        servers.indices.filter { isListed[$0] && servers[$0].role == role }
    }
}
