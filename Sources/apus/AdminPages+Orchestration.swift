internal import Orchestration
internal import Telemetry

extension OrchestrationSettings {
    /// What `/debug/config` shows of it.
    func write(to json: inout JSONWriter) {
        json.object("orchestration") { json in
            json.member("mode", mode.rawValue)
            guard mode != .headers else { return }
            json.member("connector", connector.rawValue)
            json.member("encodeConnector", encodeConnector?.rawValue)
            json.member("maxAttempts", maxAttempts)
            json.member("attemptTimeout", "\(attemptTimeout)")
            json.member("deadline", "\(deadline)")
            json.member("decodeTimeout", decodeTimeout.map { "\($0)" })
            json.member("onExhausted", onExhausted.rawValue)
            json.object("breaker") { json in
                json.member("failures", breaker.failures)
                json.member("openFor", "\(breaker.openFor)")
            }
            json.object("ports") { json in
                json.member("bootstrap", ports.bootstrap)
                json.member("p2p", ports.p2p)
            }
            json.object("subRequests") { json in
                json.member("maxConcurrent", subRequests.maxConcurrent)
                json.member("maxPerEndpoint", subRequests.maxPerEndpoint)
                json.member("maxResponseBytes", subRequests.maxResponseBytes)
                json.member("connectTimeout", "\(subRequests.connectTimeout)")
                json.member("scheme", subRequests.usesTLS ? "https" : "http")
                json.member("caFile", subRequests.caFile)
                json.member("insecureSkipVerify", subRequests.insecureSkipVerify)
            }
        }
    }
}
