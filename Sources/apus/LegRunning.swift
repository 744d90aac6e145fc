internal import Bytes
internal import EndpointPicker
internal import Orchestration
internal import SubRequests
internal import Telemetry

/// Makes what runs sub-requests from the configuration, and keeps over its changes what requests have come to: permits, resumptions, and which
/// pairs of endpoints fail together.
final class LegRunning: Sendable {
    private let requester: SubRequester
    private let pairs = PairBreakers()
    private let resumptions: Resumptions

    init(client: HTTPClient, telemetry: Telemetry) {
        let requester = SubRequester(client: client)
        self.requester = requester
        resumptions = Resumptions(expired: { count in
            for _ in 0..<count { telemetry.orchestration(.stranded) }
        })
        telemetry.metrics.registry.computedGauge(
            "apus_subrequests_in_flight",
            help: "Sub-requests under way, whose permits are taken."
        ) { [.init(value: Double(requester.limits.inUse))] }
    }

    /// Nil where sidecars send the sub-requests.
    func orchestration(_ settings: OrchestrationSettings) -> DirectorOrchestration? {
        guard settings.mode != .headers else { return nil }
        requester.update(SubRequesterSettings(settings.subRequests))
        let orchestrator = Orchestrator(
            settings: settings,
            connector: ConnectorRegistry.connector(settings),
            encodeConnector: ConnectorRegistry.encodeConnector(settings),
            pairs: pairs,
            resumptions: resumptions
        )
        return DirectorOrchestration(orchestrator: orchestrator) { [requester] headers, trace in
            SubRequestTransport(requester, headers, trace: trace)
        }
    }
}

extension SubRequesterSettings {
    fileprivate init(_ settings: OrchestrationSettings.SubRequestSettings) {
        self.init()
        maxConcurrent = settings.maxConcurrent
        maxPerEndpoint = settings.maxPerEndpoint
        maxResponseBytes = settings.maxResponseBytes
        connectTimeout = settings.connectTimeout
        if settings.usesTLS {
            trust = TLSTrust(caFile: settings.caFile, insecureSkipVerify: settings.insecureSkipVerify)
        }
    }
}
