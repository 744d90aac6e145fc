private import Bytes

/// Conversations: each turn's prompt is all that was said before and a new message; the next turn comes a while after the answer.
package struct MultiTurnChat: Workload {
    private struct Session {
        let text: UInt64
        /// Of the system prompt, shared by the conversations of one application.
        let application: UInt64
        /// Tokens said until now, without the system prompt.
        var length = 0
        var turnsLeft: Int
    }

    private static let systemTokens = 512

    package let key = "chat"
    package let title = "Multi-turn chat"
    package let summary =
        "8 servers; 3.5 conversations per second begin with a document of about 2,000 tokens, 6 turns on average, 8 s between them"
    package let servers = [ServerDescription](repeating: ServerDescription(), count: 8)
    package let warmUp: Double
    package let hasFollowUps = true

    private let duration: Double
    private let rate: Double
    private let seed: UInt64
    private var generator: SeededGenerator
    private var arrivals: PoissonArrivals
    private var sessions: [Int: Session] = [:]
    private var number = 0

    package init(seed: UInt64, duration: Double = 400, warmUp: Double = 60, rate: Double = 3.5) {
        self.warmUp = warmUp
        self.seed = seed
        self.duration = duration
        self.rate = rate
        generator = SeededGenerator(seed: seed &* 31 &+ 1)
        arrivals = PoissonArrivals(seed: seed &* 31 &+ 2)
    }

    package mutating func next() -> SimulatedRequest? {
        let time = arrivals.next(rate: rate)
        guard time < duration else { return nil }
        let name = number + 1
        var session = Session(
            text: seed &* 1_000_003 &+ UInt64(name) << 24,
            application: seed &* 1_000 &+ generator.next() % 10,
            turnsLeft: 1 + Int(generator.exponential(mean: 5))
        )
        session.length = Int(generator.logNormal(median: 1_500, spread: 0.8))
        return turn(&session, name, at: time)
    }

    package mutating func follow(_ request: SimulatedRequest, at time: Double) -> SimulatedRequest? {
        guard let name = request.session, var session = sessions.removeValue(forKey: name) else { return nil }
        let thought = 0.5 + generator.exponential(mean: 8)
        let message = Int(generator.logNormal(median: 60, spread: 0.8))
        guard session.turnsLeft > 0, time + thought < duration else { return nil }
        session.length += request.outputTokens + message
        return turn(&session, name, at: time + thought)
    }

    private mutating func turn(_ session: inout Session, _ name: Int, at time: Double) -> SimulatedRequest {
        number += 1
        session.turnsLeft -= 1
        sessions[name] = session
        let answer = max(1, Int(generator.logNormal(median: 200, spread: 0.6)))
        var chain = BlockChain()
        chain.append(session.application, blocks: Self.systemTokens / 16)
        // The answer's blocks too: the next turn's prompt has them.
        chain.append(session.text, blocks: (session.length + answer) / 16)
        return SimulatedRequest(
            number: number,
            arrival: time,
            blocks: chain.blocks,
            promptTokens: Self.systemTokens + session.length,
            outputTokens: answer,
            session: name
        )
    }
}
