private import Bytes
private import Glibc

/// What the requests of one kind look like.
package struct RequestClass: Sendable {
    /// How likely a request is one of these, against the other classes.
    package var weight = 1.0
    /// Prefixes that requests share, and their length; 0 groups share nothing.
    package var groups = 0
    package var prefixTokens = 0
    /// The rest of the prompt: the median, and the deviation of the logarithm.
    package var ownTokens = 1_000.0
    package var ownSpread = 0.0
    package var answerTokens = 200.0
    package var answerSpread = 0.0
    /// LoRA adapters, the first the most popular (Zipf); each has prefixes of its own.
    package var adapters = 0

    package init() {}
}

/// Many requests at once.
package struct Bursts: Sendable {
    /// Seconds between them, requests in each, and seconds in which these come.
    package var interval = 10.0
    package var requests = 120
    package var length = 0.02
    /// A prefix that all requests of a burst share and no other request has, in tokens.
    package var prefixTokens = 0

    package init() {}
}

/// Requests that come whatever becomes of those before them.
package struct OpenWorkload: Workload {
    package let key: String
    package let title: String
    package let summary: String
    package var servers = [ServerDescription](repeating: ServerDescription(), count: 8)
    package var outages: [Outage] = []
    package var warmUp = 20.0
    package var classes: [RequestClass] = []
    package var bursts: Bursts?
    /// Requests per second, and for how many seconds.
    package var rate = 20.0
    package var duration = 300.0
    /// How far the rate rises and falls within a day, as a share of `rate`.
    package var dailySwing = 0.0

    private let seed: UInt64
    private var generator: SeededGenerator
    private var arrivals: PoissonArrivals
    private var number = 0
    private var waiting: SimulatedRequest?
    private var burst: (number: Int, sent: Int) = (1, 0)

    package init(key: String, title: String, summary: String, seed: UInt64) {
        self.key = key
        self.title = title
        self.summary = summary
        self.seed = seed
        generator = SeededGenerator(seed: seed &* 31 &+ 1)
        arrivals = PoissonArrivals(seed: seed &* 31 &+ 2)
    }

    package mutating func next() -> SimulatedRequest? {
        if waiting == nil {
            let day = 2 * Double.pi * arrivals.time / 86_400
            let time = arrivals.next(rate: rate * (1 - dailySwing * cos(day)))
            waiting = time < duration ? request(at: time, burst: nil) : nil
        }
        if let time = nextOfBurst(), time < waiting?.arrival ?? duration {
            burst.sent += 1
            return request(at: time, burst: burst.number)
        }
        defer { waiting = nil }
        return waiting
    }

    /// When the next request of a burst comes.
    private mutating func nextOfBurst() -> Double? {
        guard let bursts else { return nil }
        if burst.sent == bursts.requests { burst = (burst.number + 1, 0) }
        let time = Double(burst.number) * bursts.interval + bursts.length * Double(burst.sent) / Double(bursts.requests)
        return time < duration ? time : nil
    }

    private mutating func request(at time: Double, burst: Int?) -> SimulatedRequest {
        number += 1
        let kind = chosenClass()
        let own =
            kind.ownSpread > 0
            ? generator.logNormal(median: kind.ownTokens, spread: kind.ownSpread) : kind.ownTokens
        let answer =
            kind.answerSpread > 0
            ? generator.logNormal(median: kind.answerTokens, spread: kind.answerSpread) : kind.answerTokens
        let adapter = kind.adapters > 0 ? "adapter-\(zipf(kind.adapters))" : nil
        var chain = BlockChain(model: adapter ?? "base")
        var shared = kind.groups > 0 ? kind.prefixTokens : 0
        if let burst, let bursts, bursts.prefixTokens > 0 {
            shared = bursts.prefixTokens
            chain.append(seed &* 9_176 &+ UInt64(burst), blocks: shared / 16)
        } else if shared > 0 {
            let group = Int.random(in: 0..<kind.groups, using: &generator)
            chain.append(seed &* 1_000 &+ UInt64(group), blocks: shared / 16)
        }
        let length = shared + max(1, Int(own))
        chain.append(seed &* 1_000_003 &+ UInt64(number) << 24, blocks: length / 16 - shared / 16)
        return SimulatedRequest(
            number: number,
            arrival: time,
            blocks: chain.blocks,
            promptTokens: length,
            outputTokens: Int(answer),
            adapter: adapter
        )
    }

    private mutating func chosenClass() -> RequestClass {
        var rest = generator.uniform() * classes.reduce(0) { $0 + $1.weight }
        for kind in classes {
            rest -= kind.weight
            if rest < 0 { return kind }
        }
        return classes.last ?? RequestClass()
    }

    /// A number below `count`, 0 the most likely: its chance falls as 1 / (number + 1).
    private mutating func zipf(_ count: Int) -> Int {
        var rest = generator.uniform() * (0..<count).reduce(0) { $0 + 1 / Double($1 + 1) }
        for number in 0..<count {
            rest -= 1 / Double(number + 1)
            if rest < 0 { return number }
        }
        return count - 1
    }
}
