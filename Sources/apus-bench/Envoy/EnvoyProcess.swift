import Glibc

/// A real Envoy with one worker, as a user would have it in front of model servers.
struct EnvoyProcess {
    let process: ChildProcess
    let port: Int
    /// As it says itself, e.g. `1.40.0`; empty when it says none.
    let version: String

    /// Must be called on the main thread.
    ///
    /// - Parameters:
    ///   - processor: `HOST:PORT` of the external processor; nil for Envoy alone, which balances round robin.
    ///   - upstreams: ports of the model servers.
    init(_ path: String, processor: String?, upstreams: [Int]) throws {
        let configuration = EnvoyConfiguration(processor: processor, upstreams: upstreams)
        process = try ChildProcess(
            path,
            [
                "--config-yaml", configuration.text, "--concurrency", "1", "--disable-hot-restart",
                // The lines that are awaited are of the components config and admin.
                "-l", "warning", "--component-log-level", "config:info,main:info,admin:info",
            ]
        )
        _ = try process.wait(for: "starting workers")
        let admin = try process.wait(for: "admin address: ")[0]
        guard let adminPort = admin.split(separator: ":").last.flatMap({ Int($0) }) else {
            throw BenchError("Envoy's admin address is \(admin)")
        }
        // One line per listener: its name, two colons, its address.
        let listeners = try Loopback.exchange(port: adminPort, "GET", "/listeners").body
        guard let start = listeners.firstRange(of: "inference::127.0.0.1:")?.upperBound,
            let port = Int(listeners[start...].prefix { $0.isNumber })
        else { throw BenchError("Envoy has no listener: \(listeners)") }
        self.port = port
        // The hash of the source, the version, and how it was built, with slashes between.
        let facts = try Loopback.exchange(port: adminPort, "GET", "/server_info").body
        let words = facts.firstRange(of: "\"version\": \"").map { facts[$0.upperBound...].prefix { $0 != "\"" } } ?? ""
        version = words.split(separator: "/").dropFirst().first.map { String($0) } ?? ""
    }

    /// An Envoy that is installed: `$APUS_ENVOY`, or where deploy/install-envoy.sh puts it below the current directory.
    static func find() -> String? {
        if let path = environmentVariable("APUS_ENVOY") { return access(path, X_OK) == 0 ? path : nil }
        return paths(matching: ".cache/envoy/lib/python3*/site-packages/envoy/_bin/envoy").first
    }
}

/// The bootstrap of `deploy/envoy/original-dst.yaml`; without a processor the same without the filter, and a balanced cluster.
struct EnvoyConfiguration {
    let processor: String?
    let upstreams: [Int]

    var text: String {
        """
        admin:
          address:
            socket_address: {address: 127.0.0.1, port_value: 0}
        static_resources:
          listeners:
          - name: inference
            address:
              socket_address: {address: 127.0.0.1, port_value: 0}
            per_connection_buffer_limit_bytes: 32768
            filter_chains:
            - filters:
              - name: envoy.filters.network.http_connection_manager
                typed_config:
                  "@type": type.googleapis.com/envoy.extensions.filters.network.http_connection_manager.v3.HttpConnectionManager
                  stat_prefix: inference
                  stream_idle_timeout: 3600s
                  http_filters:
        \(filter.indented(10))
                  - name: envoy.filters.http.router
                    typed_config:
                      "@type": type.googleapis.com/envoy.extensions.filters.http.router.v3.Router
                  route_config:
                    name: inference
                    virtual_hosts:
                    - name: inference
                      domains: ["*"]
                      routes:
                      - match: {prefix: "/"}
                        route:
                          cluster: model_servers
                          timeout: 0s
                          retry_policy: {retry_on: "connect-failure,refused-stream,reset-before-request", num_retries: 1}
          clusters:
        \(upstreamCluster.indented(2))
        \(processorCluster.indented(2))

        """
    }

    private var filter: String {
        guard let processor else { return "" }
        return """
            - name: envoy.filters.http.ext_proc
              typed_config:
                "@type": type.googleapis.com/envoy.extensions.filters.http.ext_proc.v3.ExternalProcessor
                mutation_rules: {allow_envoy: true}
                grpc_service:
                  envoy_grpc: {cluster_name: ext_proc, authority: "\(processor)"}
                processing_mode:
                  request_header_mode: SEND
                  response_header_mode: SEND
                  request_body_mode: FULL_DUPLEX_STREAMED
                  response_body_mode: FULL_DUPLEX_STREAMED
                  request_trailer_mode: SEND
                  response_trailer_mode: SEND
                message_timeout: 1000s
                metadata_options:
                  forwarding_namespaces: {untyped: [envoy.lb, envoy.lb.subset_hint]}
                  receiving_namespaces: {untyped: [envoy.lb]}
            """
    }

    private var upstreamCluster: String {
        let options = """
              connect_timeout: 5s
              typed_extension_protocol_options:
                envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                  "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                  explicit_http_config:
                    http_protocol_options: {enable_trailers: true}
              circuit_breakers: \(Self.unlimited)
            """
        if processor != nil {
            return """
                - name: model_servers
                  type: ORIGINAL_DST
                  lb_policy: CLUSTER_PROVIDED
                  original_dst_lb_config:
                    use_http_header: true
                    http_header_name: x-gateway-destination-endpoint
                \(options)
                """
        }
        let endpoints = upstreams.map { "127.0.0.1:\($0)" }.map(Self.endpoint).joined(separator: ", ")
        return """
            - name: model_servers
              type: STATIC
              lb_policy: ROUND_ROBIN
              load_assignment: {cluster_name: model_servers, endpoints: [{lb_endpoints: [\(endpoints)]}]}
            \(options)
            """
    }

    private var processorCluster: String {
        guard let processor else { return "" }
        return """
            - name: ext_proc
              type: STATIC
              connect_timeout: 5s
              lb_policy: LEAST_REQUEST
              load_assignment: {cluster_name: ext_proc, endpoints: [{lb_endpoints: [\(Self.endpoint(processor))]}]}
              typed_extension_protocol_options:
                envoy.extensions.upstreams.http.v3.HttpProtocolOptions:
                  "@type": type.googleapis.com/envoy.extensions.upstreams.http.v3.HttpProtocolOptions
                  explicit_http_config:
                    http2_protocol_options:
                      connection_keepalive: {interval: 30s, timeout: 5s}
              circuit_breakers: \(Self.unlimited)
            """
    }

    private static func endpoint(_ address: String) -> String {
        let port = address.split(separator: ":").last ?? "0"
        return "{endpoint: {address: {socket_address: {address: 127.0.0.1, port_value: \(port)}}}}"
    }

    private static let unlimited =
        "{thresholds: [{max_connections: 100000, max_pending_requests: 100000, max_requests: 100000, max_retries: 100000}]}"
}

extension String {
    /// Every line with so many spaces before it.
    fileprivate func indented(_ count: Int) -> String {
        split(separator: "\n").map { String(repeating: " ", count: count) + $0 }.joined(separator: "\n")
    }
}

/// The value of a variable of the environment; nil when it is not there or empty.
func environmentVariable(_ name: String) -> String? {
    guard let value = getenv(name), value.pointee != 0 else { return nil }
    return String(cString: value)
}

/// The files that match a shell's pattern, sorted.
func paths(matching pattern: String) -> [String] {
    var found = glob_t()
    defer { globfree(&found) }
    guard glob(pattern, 0, nil, &found) == 0 else { return [] }
    return (0..<Int(found.gl_pathc)).compactMap { index in
        found.gl_pathv[index].map { String(cString: $0) }
    }
}
