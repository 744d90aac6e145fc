internal import Configuration
internal import Orchestration
internal import Scheduling

/// The section `orchestration`.
extension SetupAssembler {
    /// - Parameter handler: decides which stages requests have.
    func orchestration(_ handler: any ProfileHandler) -> OrchestrationSettings {
        guard let node = configuration.orchestration else { return OrchestrationSettings() }
        var section = Fields(node, diagnostics)
        var settings = OrchestrationSettings()
        settings.mode = name("mode", &section) ?? settings.mode
        settings.connector = name("connector", &section) ?? settings.connector
        // Empty is a way to say none.
        if section.node("encodeConnector")?.text != "" {
            settings.encodeConnector = name("encodeConnector", &section)
        }
        settings.maxAttempts = section.integer("maxAttempts", in: 1...100) ?? settings.maxAttempts
        settings.attemptTimeout = section.duration("attemptTimeout", in: Self.times) ?? settings.attemptTimeout
        settings.deadline = section.duration("deadline", in: Self.times) ?? settings.deadline
        settings.decodeTimeout = section.duration("decodeTimeout", in: Self.times)
        settings.onExhausted = name("onExhausted", &section) ?? settings.onExhausted
        if var breaker = section.mapping("breaker") { read(&breaker, into: &settings.breaker) }
        if var ports = section.mapping("ports") { read(&ports, into: &settings.ports) }
        if var subRequests = section.mapping("subRequests") { read(&subRequests, into: &settings.subRequests) }
        section.finish()
        check(settings, section, handler)
        return settings
    }

    private static let times: ClosedRange<Duration> = .milliseconds(1) ... .seconds(3600)

    private func name<Name>(_ key: String, _ section: inout Fields) -> Name?
    where Name: RawRepresentable<String> & CaseIterable {
        section.string(key, oneOf: Name.allCases.map(\.rawValue)).flatMap { Name(rawValue: $0) }
    }

    private func read(_ fields: inout Fields, into breaker: inout OrchestrationSettings.BreakerSettings) {
        breaker.failures = fields.integer("failures", in: 1...1_000) ?? breaker.failures
        breaker.openFor = fields.duration("openFor", in: Self.times) ?? breaker.openFor
        fields.finish()
    }

    private func read(_ fields: inout Fields, into ports: inout OrchestrationSettings.Ports) {
        ports.bootstrap = fields.integer("bootstrap", in: 1...65_535) ?? ports.bootstrap
        ports.p2p = fields.integer("p2p", in: 1...65_535) ?? ports.p2p
        fields.finish()
    }

    private func read(_ fields: inout Fields, into settings: inout OrchestrationSettings.SubRequestSettings) {
        settings.maxConcurrent = fields.integer("maxConcurrent", in: 1...1_000_000) ?? settings.maxConcurrent
        settings.maxPerEndpoint = fields.integer("maxPerEndpoint", in: 1...1_000_000) ?? settings.maxPerEndpoint
        settings.maxResponseBytes =
            fields.byteCount("maxResponseBytes", in: 1_024...1 << 30) ?? settings.maxResponseBytes
        settings.connectTimeout =
            fields.duration("connectTimeout", in: .milliseconds(1) ... .seconds(60)) ?? settings.connectTimeout
        settings.usesTLS = fields.string("scheme", oneOf: ["http", "https"]) == "https"
        settings.caFile = fields.string("caFile") ?? settings.caFile
        settings.insecureSkipVerify = fields.bool("insecureSkipVerify") ?? settings.insecureSkipVerify
        if !settings.usesTLS {
            if !settings.caFile.isEmpty { warn("caFile has no effect without scheme \"https\"", "caFile", fields) }
            if settings.insecureSkipVerify {
                warn("insecureSkipVerify has no effect without scheme \"https\"", "insecureSkipVerify", fields)
            }
        }
        if settings.insecureSkipVerify, !settings.caFile.isEmpty {
            warn("caFile has no effect together with insecureSkipVerify", "caFile", fields)
        }
        fields.finish()
    }

    // MARK: What does not go together

    private func check(_ settings: OrchestrationSettings, _ section: Fields, _ handler: any ProfileHandler) {
        switch settings.mode {
        case .headers:
            warnOfIdle(section.keys.filter { $0 != "mode" && !isEmpty($0) }, section)
            return
        case .handoff where !handler.traits.disaggregates:
            diagnostics.error(
                "mode \"handoff\" needs a disagg-profile-handler: without one nothing runs before the decode",
                at: section.position(of: "mode")
            )
        case .handoff, .relay: break
        }
        let encodes = (handler as? DisaggregationHandler)?.encodeDecider != nil
        if settings.encodeConnector != nil, !encodes {
            warn("encodeConnector has no effect: no decider starts an encode stage", "encodeConnector", section)
        } else if settings.encodeConnector == nil, encodes {
            warn("encode endpoints are chosen, but without an encodeConnector nothing is sent to them", "mode", section)
        }
        if settings.connector == .sglang, settings.onExhausted == .decodeLocal {
            warn(
                "onExhausted \"decode-local\" needs endpoints that compute prompts, too; one that SGLang runs as decode does not, so such requests fail",
                "onExhausted",
                section
            )
        }
        if settings.deadline < settings.attemptTimeout {
            let key = section.keys.contains("deadline") ? "deadline" : "attemptTimeout"
            warn("deadline is shorter than attemptTimeout: no attempt has the time it may take", key, section)
        }
        if settings.subRequests.maxPerEndpoint > settings.subRequests.maxConcurrent {
            warn("maxPerEndpoint is never reached: maxConcurrent is smaller", "subRequests", section)
        }
    }

    private func warnOfIdle(_ keys: [String], _ section: Fields) {
        for key in keys {
            warn("\(key) has no effect in the mode \"headers\", where a sidecar sends what is sent", key, section)
        }
    }

    private func isEmpty(_ key: String) -> Bool {
        configuration.orchestration?.entries?.first { $0.key == key }?.value.text == ""
    }

    private func warn(_ message: String, _ key: String, _ section: Fields) {
        diagnostics.warning(message, at: section.keyPosition(of: key))
    }
}
