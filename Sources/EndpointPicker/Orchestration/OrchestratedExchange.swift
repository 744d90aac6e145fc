internal import Bytes
internal import ExtProc
internal import Inference
internal import Orchestration
internal import Pool
internal import RPC
internal import Telemetry

/// The orchestrated side of an exchange: its legs, and after them the decode that the gateway was given.
final class OrchestratedExchange {
    let orchestrator: Orchestrator
    /// Nil once no leg can follow any more: with it go the request's body and what was kept for a return.
    private(set) var request: OrchestratedRequest?
    /// The decode that was handed to the gateway, or whose answer is relayed.
    var order: DecodeOrder?
    var handedOffAt: UInt64 = 0
    var hasReportedDecode = false
    var isRescued = false
    /// The head of a decode's response while the prefill beside it may still fail: until then Envoy is not told to pass it on.
    var heldHead: HeldHead?
    /// While the decode may be run again.
    var watched: WatchedDecode?
    let journal: RequestJournal

    struct HeldHead {
        let fields: HeaderList
        let reply: Reply
    }

    init(_ orchestrator: Orchestrator, _ request: OrchestratedRequest, _ journal: RequestJournal) {
        self.orchestrator = orchestrator
        self.request = request
        self.journal = journal
    }

    deinit {
        letGo()
    }

    /// Lets go of all that another leg would need.
    func letGo() {
        watched = nil
        if let request = request.take() { orchestrator.end(request) }
        order?.releaseBody()
    }
}

extension LegPlan {
    /// What orchestration is to do for a request.
    enum Use {
        case handOff
        case relay

        /// Nil when the gateway does it all: nothing is to be done before, or the request is none that Apus can send itself.
        init?(
            _ plan: LegPlan,
            _ form: Conversation.DecisionForm,
            _ modes: BodyModes,
            _ inference: InferenceRequest?,
            _ headers: HeaderList
        ) {
            let hasLegs = (plan.wantsPrefill || plan.wantsEncode) && inference != nil
            switch form {
            // Only part of the body was seen, or none of it.
            case .trailers, .bufferedBody(isPartial: true): return nil
            case .headers where !modes.request.isDuplex && headers["content-length"] ?? "0" != "0": return nil
            case .headers, .headersAndBody, .bufferedBody(isPartial: false): break
            }
            if plan.orchestration.settings.mode == .relay, modes.request.isDuplex, modes.response.isDuplex,
                !headers.isBeyondHTTP1
            {
                self = .relay
            } else if hasLegs {
                self = .handOff
            } else {
                return nil
            }
        }
    }
}

extension HeaderList {
    /// gRPC and upgrades need more of a connection than a sub-request gives them.
    fileprivate var isBeyondHTTP1: Bool {
        value(of: "content-type", contains: "application/grpc") || contains("upgrade") || self[":method"] == "CONNECT"
    }
}
