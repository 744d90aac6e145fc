import Bytes
import Orchestration
import Pool
import Scheduling

/// What a scripted engine does with a leg.
enum Reply: Sendable {
    case answer(Int, String)
    case failure(LegFailure)
    /// Nothing, until the leg is cancelled.
    case silence
    /// Nothing, until the gate opens.
    indirect case after(Gate, Reply)
    /// An answer whose body comes in pieces and may break off.
    case pieces(Int, [String], end: LegFailure?)
    /// A head, and then nothing until it is cancelled.
    case headOnly(Int)

    static func failure(_ code: LegFailure.Code, breaker: Bool = false, arrived: Bool = true) -> Reply {
        .failure(LegFailure(code, "scripted", countsForBreaker: breaker, mayHaveArrived: arrived, seconds: 0.25))
    }

    /// No permit for any endpoint.
    static let full = failure(LegFailure(.noPermit, "scripted", mayHaveArrived: false, isOverall: true))

    static let refused = failure(.connectFailed, breaker: true, arrived: false)
}

/// An event that tasks wait for; one that is cancelled waits no longer.
final class Gate: Sendable {
    private struct State {
        var isOpen = false
        var waiting: [Int: CheckedContinuation<Void, Never>] = [:]
        var next = 0
    }

    private let state = Lock(State())

    func open() {
        let waiting = state.withLock { state in
            state.isOpen = true
            return exchange(&state.waiting, with: [:])
        }
        for continuation in waiting.values { continuation.resume() }
    }

    /// False when the task was cancelled before.
    func wait() async -> Bool {
        let number = state.withLock { state in
            state.next += 1
            return state.next
        }
        await withTaskCancellationHandler {
            await withCheckedContinuation { continuation in
                let goesOn = state.withLock { state in
                    if state.isOpen || Task.isCancelled { return true }
                    state.waiting[number] = continuation
                    return false
                }
                if goesOn { continuation.resume() }
            }
        } onCancel: {
            state.withLock { $0.waiting.removeValue(forKey: number) }?.resume()
        }
        return state.withLock { $0.isOpen }
    }
}

/// Answers legs as a test says, and remembers them.
final class ScriptedTransport: LegTransport {
    struct Sent: Sendable {
        let leg: LegRequest
        /// Among the legs of its stage, 0 for the first.
        let index: Int
        var body: String { String(repairing: leg.body.joined().bytes) }
        var isSide: Bool { leg.method == "GET" || leg.path == "/abort_request" }
    }

    private struct State {
        var sent: [Sent] = []
        var underWay = 0
        var silent = 0
        var peak = 0
        var cancelled = 0
        var bodiesOpen = 0
    }

    private let script: @Sendable (Sent) -> Reply
    private let state = Lock(State())
    /// Endpoints without a permit, by address.
    private let full = Lock<Set<String>>([])
    /// Opened and replaced whenever a leg begins to be silent.
    private let silence = Lock(Gate())
    /// Ends all that is silent for ever.
    let end = Gate()

    init(_ script: @escaping @Sendable (Sent) -> Reply) {
        self.script = script
    }

    func fill(_ addresses: String...) { full.withLock { $0.formUnion(addresses) } }

    var isFullSomewhere: Bool { full.withLock { !$0.isEmpty } }

    func hasRoom(at endpoint: Endpoint) -> Bool { full.withLock { !$0.contains(endpoint.address) } }

    var sent: [Sent] { state.withLock { $0.sent } }
    var underWay: Int { state.withLock { $0.underWay } }
    /// The most legs that were under way together.
    var peak: Int { state.withLock { $0.peak } }
    var cancelled: Int { state.withLock { $0.cancelled } }
    /// Answers whose body is neither at its end nor dropped.
    var bodiesOpen: Int { state.withLock { $0.bodiesOpen } }

    func sent(_ stage: Stage) -> [Sent] { sent.filter { $0.leg.stage == stage && !$0.isSide } }

    /// Keeps no bodies of legs any more.
    func forget() { state.withLock { $0.sent = [] } }

    /// Returns once that many legs are silent.
    func silent(_ count: Int = 1) async {
        while true {
            let gate = silence.withLock { $0 }
            if state.withLock({ $0.silent >= count }) || Task.isCancelled { return }
            _ = await gate.wait()
        }
    }

    func send(_ leg: LegRequest) async -> Result<LegAnswer, LegFailure> {
        begin()
        defer { state.withLock { $0.underWay -= 1 } }
        return await result(of: record(leg))
    }

    func open(_ leg: LegRequest) async -> Result<OpenLeg, LegFailure> {
        begin()
        defer { state.withLock { $0.underWay -= 1 } }
        let reply = record(leg)
        let body: ScriptedBody
        switch reply {
        case .pieces(_, let pieces, let end): body = ScriptedBody(self, pieces, end: end, isSilent: false)
        case .headOnly: body = ScriptedBody(self, [], end: nil, isSilent: true)
        default:
            return await result(of: reply).map { answer in
                let text = String(repairing: answer.body.bytes)
                let body = ScriptedBody(self, text.isEmpty ? [] : [text], end: nil, isSilent: false)
                return OpenLeg(status: answer.status, headers: answer.headers, body: body)
            }
        }
        guard case .pieces(let status, _, _) = reply else {
            return .success(OpenLeg(status: 200, headers: [], body: body))
        }
        return .success(OpenLeg(status: status, headers: [("x-engine", "scripted")], body: body))
    }

    private func begin() {
        state.withLock { state in
            state.underWay += 1
            state.peak = max(state.peak, state.underWay)
        }
    }

    private func record(_ leg: LegRequest) -> Reply {
        let sent = state.withLock { state in
            let index = state.sent.count { $0.leg.stage == leg.stage && !$0.isSide }
            let sent = Sent(leg: leg, index: index)
            state.sent.append(sent)
            return sent
        }
        return script(sent)
    }

    private func result(of reply: Reply) async -> Result<LegAnswer, LegFailure> {
        switch reply {
        case .answer(let status, let body):
            let bytes = SharedBytes(ByteBuffer(copying: body.utf8))
            return .success(LegAnswer(status: status, headers: [("x-engine", "scripted")], body: bytes, seconds: 0.25))
        case .failure(let failure): return .failure(failure)
        case .silence:
            await waitSilently(end)
            return .failure(cancellation())
        case .after(let gate, let reply):
            guard await waitSilently(gate) else { return .failure(cancellation()) }
            return await result(of: reply)
        case .pieces, .headOnly: return .failure(LegFailure(.badResponse, "a piece by piece answer to a whole leg"))
        }
    }

    @discardableResult
    fileprivate func waitSilently(_ gate: Gate) async -> Bool {
        state.withLock { $0.silent += 1 }
        silence.withLock { exchange(&$0, with: Gate()) }.open()
        defer { state.withLock { $0.silent -= 1 } }
        return await gate.wait()
    }

    fileprivate func cancellation() -> LegFailure {
        state.withLock { $0.cancelled += 1 }
        return LegFailure(.cancelled, "cancelled")
    }

    fileprivate func bodyOpened(_ change: Int) { state.withLock { $0.bodiesOpen += change } }
}

private final class ScriptedBody: LegBody {
    private let transport: ScriptedTransport
    private let pieces: Lock<[String]>
    private let end: LegFailure?
    private let isSilent: Bool
    private let cancelled = Gate()

    init(_ transport: ScriptedTransport, _ pieces: [String], end: LegFailure?, isSilent: Bool) {
        self.transport = transport
        self.pieces = Lock(pieces)
        self.end = end
        self.isSilent = isSilent
        transport.bodyOpened(1)
    }

    deinit { transport.bodyOpened(-1) }

    func next() async throws(LegFailure) -> SharedBytes? {
        if isSilent {
            await transport.waitSilently(cancelled)
            throw transport.cancellation()
        }
        let piece: String? = pieces.withLock { $0.isEmpty ? nil : $0.removeFirst() }
        if let piece { return SharedBytes(ByteBuffer(copying: piece.utf8)) }
        if let end { throw end }
        return nil
    }

    func cancel() { cancelled.open() }
}
