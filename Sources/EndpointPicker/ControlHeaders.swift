internal import Bytes
internal import ExtProc
internal import Telemetry

/// The headers by which clients, gateways and Apus talk to each other; the router's names first, the older ones accepted beside them.
enum ControlHeaders {
    static let destination = "x-gateway-destination-endpoint"
    static let scores = "x-gateway-destination-endpoint-scores"
    static let requestID = "x-request-id"
    static let traceParent = "traceparent"
    static let droppedReason = "x-llm-d-request-dropped-reason"
    /// Set on every response, as the reference does, so that one sees that a picker was there.
    static let seen = "x-went-into-resp-headers"
    /// `ip:port` of where the prompt is computed, for the sidecar of the endpoint that decodes.
    static let prefiller = "x-prefiller-host-port"
    /// `ip:port,…` of where images are encoded.
    static let encoders = "x-encoder-hosts-ports"
    /// `ip:port` of the rank that the listener passes the request on to.
    static let dataParallel = "x-data-parallel-host-port"
    /// On responses, for conformance tests: which endpoint served.
    static let servedEndpoint = "x-conformance-test-served-endpoint"
    /// On responses: how many prefill attempts Apus made for the request.
    static let attempts = "x-apus-attempts"
    /// Envoy's own: how often its router may send the request again.
    static let maxRetries = "x-envoy-max-retries"
    /// The namespace of dynamic metadata that Envoy's load balancing reads.
    static let metadataNamespace = "envoy.lb"

    private static let servedName = "x-gateway-destination-endpoint-served"

    /// Names that only a picker may set: a client's are taken off the request. The destination itself is overwritten instead.
    static let reserved: [StaticString] = [
        "x-prefiller-host-port", "x-prefiller-url", "x-encoder-hosts-ports", "x-data-parallel-host-port",
        "x-kv-cache-source-host-port", "epp-profile",
    ]

    /// Names, in lower case, that do not go along with sub-requests: a picker's own.
    static let notForwarded = Set(reserved.map(\.description)).union([
        destination, scores, servedName, "x-gateway-destination-endpoint-subset", attempts,
    ])

    /// The names, as the client sent them, of headers that must not reach the model server beside a decision; each once. The destination is
    /// not among them: the decision overwrites it.
    ///
    /// - Parameter allowed: names, in lower case, that the configuration gives to clients, or that are overwritten anyway.
    static func forbidden(in headers: HeaderList, allowed: [String] = []) -> [String] {
        pickersOwn(in: headers).filter { name in
            let lowercase = ASCII.lowercased(name)
            return lowercase != destination && !allowed.contains(lowercase)
        }
    }

    /// The names, as the client sent them, of all headers that only a picker may set; each once.
    static func pickersOwn(in headers: HeaderList) -> [String] {
        headers.names(among: reserved, orBeginningWith: "x-gateway-destination-endpoint")
    }
}

extension HeaderList {
    /// The path of the request as the client meant it, for telling which API it is.
    var inferencePath: String? {
        self[":path"] ?? self["x-original-path"] ?? self["x-forwarded-path"]
    }

    /// The model that the gateway wants asked instead of the one the client named.
    var modelRewrite: String? {
        (self["x-llm-d-model-name-rewrite"] ?? self["x-gateway-model-name-rewrite"]).flatMap { $0.isEmpty ? nil : $0 }
    }

    /// What names the priority of the request.
    var objective: String? {
        self["x-llm-d-inference-objective"] ?? self["x-gateway-inference-objective"]
    }

    /// Whose turn it is when requests wait.
    var fairnessID: String {
        let id = self["x-llm-d-inference-fairness-id"] ?? self["x-gateway-inference-fairness-id"] ?? ""
        return id.isEmpty ? RequestRecord.defaultFairnessID : id
    }
}
