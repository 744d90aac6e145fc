import Bytes
import Pool
import TestSupport

@testable import Admission

/// A reservation that an array can hold.
final class Held {
    private let reservation: Reservation

    init(_ reservation: consuming Reservation) {
        self.reservation = reservation
    }
}

/// A pool whose endpoints take one request each, unless said otherwise, and a controller in virtual time.
final class Harness {
    let alarm = ManualAlarm()
    let pool = Pool(stalenessThreshold: .seconds(3600))
    let controller: AdmissionController
    private(set) var held: [Held?] = []

    init(
        endpoints: Int = 1,
        perEndpoint: Int = 1,
        detector: (any SaturationDetector)? = nil,
        _ configure: (inout FlowControlSettings) -> Void = { _ in }
    ) {
        var concurrency = ConcurrencyDetector()
        concurrency.maxConcurrency = perEndpoint
        var flowControl = FlowControlSettings()
        configure(&flowControl)
        let alarm = alarm
        pool.replaceEndpoints((0..<endpoints).map { Self.description($0) })
        controller = AdmissionController(
            pool: pool,
            settings: AdmissionSettings(detector: detector ?? concurrency, flowControl: flowControl),
            alarm: alarm,
            clock: { alarm.now }
        )
    }

    static func description(_ number: Int, role: String? = nil) -> EndpointDescription {
        EndpointDescription(
            name: "e\(number)",
            namespace: "default",
            address: "10.0.0.\(number + 1)",
            port: 8000,
            labels: role.map { [PoolSaturation.roleLabel: $0] } ?? [:]
        )
    }

    enum Entry {
        case admitted
        case queued(QueuedRequest)
        case refused(AdmissionOutcome)

        var queued: QueuedRequest? { if case .queued(let queued) = self { queued } else { nil } }
        var refusal: AdmissionOutcome? { if case .refused(let outcome) = self { outcome } else { nil } }
        var isAdmitted: Bool { if case .admitted = self { true } else { false } }
    }

    /// Asks to be let in; one that is admitted is placed at once.
    @discardableResult
    func admit(
        priority: Int = 0,
        flow: String = "default-flow",
        bytes: Int = 0,
        tokens: Int = 0,
        ttft: Duration? = nil,
        timeToLive: Duration? = nil
    ) -> Entry {
        let request = AdmissionRequest(
            fairnessID: flow,
            priority: priority,
            byteCount: bytes,
            tokens: tokens,
            receivedAt: alarm.now,
            timeToFirstToken: ttft,
            timeToLive: timeToLive
        )
        switch controller.admit(request, candidates: { pool.candidates(at: alarm.now) }) {
        case .admitted(let grant):
            place(grant, tokens: tokens)
            return .admitted
        case .queued(let queued): return .queued(queued)
        case .refused(let outcome): return .refused(outcome)
        }
    }

    /// Sends a request whose wait is over to the emptiest endpoint.
    func place(_ queued: QueuedRequest) {
        place(controller.grant(of: queued), tokens: queued.request.tokens)
    }

    func place(_ grant: consuming AdmissionGrant, tokens: Int) {
        if let endpoint = pool.snapshot.endpoints.min(by: { $0.load.reading.requests < $1.load.reading.requests }) {
            held.append(Held(pool.reserve(endpoint, tokens: tokens)))
        }
        grant.release()
    }

    var inFlight: Int { pool.snapshot.endpoints.reduce(0) { $0 + $1.load.reading.requests } }

    /// Ends the oldest request that was placed.
    func endOne() {
        guard let index = held.indices.first(where: { held[$0] != nil }) else { return }
        held[index] = nil
    }
}
