/// Requests over time, and the servers they come to.
package protocol Workload {
    /// The name on the command line and in JSON.
    var key: String { get }
    var title: String { get }
    /// What it is, in a sentence.
    var summary: String { get }
    var servers: [ServerDescription] { get }
    var outages: [Outage] { get }
    /// Names of what requests are reported under beside the whole, by `SimulatedRequest.stage`; empty when there is one only.
    var stages: [Stage] { get }
    /// Requests that come before this, in seconds, are served and not counted.
    var warmUp: Double { get }

    /// The next request, no earlier than the one before; nil when there are no more.
    mutating func next() -> SimulatedRequest?

    /// Whether requests follow from others.
    var hasFollowUps: Bool { get }

    /// What follows when a request has ended; nil when nothing does.
    mutating func follow(_ request: SimulatedRequest, at time: Double) -> SimulatedRequest?
}

extension Workload {
    package var outages: [Outage] { [] }
    package var stages: [Stage] { [] }
    package var hasFollowUps: Bool { false }

    package mutating func follow(_ request: SimulatedRequest, at time: Double) -> SimulatedRequest? { nil }
}

/// A part of a workload that is reported on its own.
package struct Stage: Sendable {
    package let title: String
    /// Its place on the axis of a chart.
    package let x: Double

    package init(title: String, x: Double) {
        self.title = title
        self.x = x
    }
}

/// One server of a workload's pool.
package struct ServerDescription: Sendable {
    package enum Role: String, Sendable {
        case both, prefill, decode
    }

    package var costs = ServingCosts()
    package var role = Role.both

    package init() {}
}

/// A server that dies and comes back, its memory empty. Times in seconds.
package struct Outage: Sendable {
    package let server: Int
    package let from: Double
    package let until: Double
    /// When the source of endpoints notices: until then the server refuses connections.
    package let noticed: Double

    package init(server: Int, from: Double, until: Double, noticed: Double) {
        self.server = server
        self.from = from
        self.until = until
        self.noticed = noticed
    }
}
