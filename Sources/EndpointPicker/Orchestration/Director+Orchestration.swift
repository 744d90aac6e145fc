internal import Bytes
package import ExtProc
package import Orchestration
internal import Pool
internal import Scheduling
package import Telemetry

/// What lets a director make sub-requests.
package struct DirectorOrchestration: Sendable {
    package let orchestrator: Orchestrator
    /// A transport for the legs of one request.
    ///
    /// - Parameters:
    ///   - headers: what the client sent.
    ///   - trace: what the legs belong to; nil leaves the client's.
    package let transport: @Sendable (_ headers: HeaderList, _ trace: TraceContext?) -> any LegTransport

    package init(
        orchestrator: Orchestrator,
        transport: @escaping @Sendable (_ headers: HeaderList, _ trace: TraceContext?) -> any LegTransport
    ) {
        self.orchestrator = orchestrator
        self.transport = transport
    }

    var settings: OrchestrationSettings { orchestrator.settings }

    var decodesAlone: Bool { orchestrator.decodesAlone }
}

/// The sub-requests that a decision asks for.
struct LegPlan {
    let orchestration: DirectorOrchestration
    let picker: RequestStagePicker
    let wantsPrefill: Bool
    let wantsEncode: Bool
    /// Whether endpoints that decode can do nothing with a prompt alone.
    let mustSplit: Bool
}

extension Director {
    /// Schedules; where no prefill endpoint exists and the configuration allows it, the request is left to the one that decodes.
    func schedule(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        _ policy: Policy,
        using generator: inout SeededGenerator
    ) throws(SchedulingError) -> SchedulingResult {
        do {
            return try policy.scheduler.schedule(request, candidates, using: &generator)
        } catch {
            guard error.code == .profileFailed, let orchestration = policy.orchestration,
                orchestration.orchestrator.decodesLocally,
                let alone = try policy.scheduler.pick(.decode, request, candidates, using: &generator)
            else { throw error }
            telemetry.orchestration(.decodedLocally)
            return SchedulingResult(alone: alone)
        }
    }
}

extension PickerError {
    /// A prompt that Apus does not see whole can be computed by nobody, where endpoints that decode cannot.
    static let hiddenBody = PickerError(
        .serviceUnavailable,
        "the gateway shows too little of the request's body to have its prompt computed",
        fault: .upstream
    )

    /// What a client is told whose request could not be orchestrated; nil when there is no client any more, or the engine's own words are for
    /// it.
    init?(_ error: OrchestrationError) {
        switch error {
        case .clientGone, .refused:
            return nil
        case .unsuitable(let reason):
            self.init(.badRequest, reason, fault: .client)
        case .exhausted(let stage, let legs):
            let reasons = OrchestrationError.describe(legs)
            let detail = reasons.isEmpty ? "no endpoint is available" : reasons
            self.init(
                .serviceUnavailable,
                "no \(stage.rawValue) endpoint could serve the request: \(detail)",
                fault: .upstream,
                retryAfter: 1
            )
        case .noPermit:
            self.init(
                .resourceExhausted,
                "too many sub-requests are under way",
                fault: .upstream,
                droppedReason: "rejected-saturated",
                retryAfter: 1
            )
        case .deadline:
            self.init(.gatewayTimeout, "the deadline of the request's sub-requests has passed", fault: .upstream)
        case .noDecodeEndpoint:
            self = .noEndpoints("failed to find available decode workers")
        }
    }
}
