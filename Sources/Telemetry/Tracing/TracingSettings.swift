/// Where spans go and which, by OpenTelemetry's environment variables.
package struct TracingSettings: Sendable, Equatable {
    /// Takes OTLP over HTTP.
    package var url: String
    /// Sent with every batch.
    package var headers: [(name: String, value: String)]
    /// PEM files for `https://`: the authorities to trust (empty: the system's), and the certificate and key shown to a collector that asks.
    package var authoritiesFile: String
    package var clientCertificateFile: String
    package var clientKeyFile: String
    package var sampler: TraceSampler
    /// About this process: `service.name` and others.
    package var resource: [(name: String, value: String)]
    /// What was understood otherwise than it was perhaps meant.
    package var warnings: [String]

    package static func == (a: TracingSettings, b: TracingSettings) -> Bool {
        a.url == b.url && a.authoritiesFile == b.authoritiesFile && a.clientCertificateFile == b.clientCertificateFile
            && a.clientKeyFile == b.clientKeyFile && a.sampler == b.sampler && a.warnings == b.warnings
            && a.headers.elementsEqual(b.headers, by: ==) && a.resource.elementsEqual(b.resource, by: ==)
    }

    /// Nil where nothing is to be exported: no endpoint, or switched off.
    package init?(environment: (String) -> String?, version: String) {
        func value(_ name: String) -> String { environment(name) ?? "" }
        let base = value("OTEL_EXPORTER_OTLP_ENDPOINT")
        let whole = value("OTEL_EXPORTER_OTLP_TRACES_ENDPOINT")
        let exporter = value("OTEL_TRACES_EXPORTER")
        guard !(whole.isEmpty && base.isEmpty), exporter.isEmpty || exporter == "otlp",
            value("OTEL_SDK_DISABLED") != "true"
        else { return nil }
        url = whole.isEmpty ? (base.hasSuffix("/") ? base : base + "/") + "v1/traces" : whole
        if !url.contains("://") { url = "http://" + url }
        warnings = []
        func file(_ name: String) -> String {
            let ofTraces = value("OTEL_EXPORTER_OTLP_TRACES_\(name)")
            return ofTraces.isEmpty ? value("OTEL_EXPORTER_OTLP_\(name)") : ofTraces
        }
        authoritiesFile = file("CERTIFICATE")
        clientCertificateFile = file("CLIENT_CERTIFICATE")
        clientKeyFile = file("CLIENT_KEY")

        let protocols = value("OTEL_EXPORTER_OTLP_TRACES_PROTOCOL") + value("OTEL_EXPORTER_OTLP_PROTOCOL")
        if protocols.contains("grpc") || url.contains(":4317/") {
            warnings.append("traces are exported by OTLP over HTTP (usually port 4318), not gRPC (4317)")
        }
        let argument = value("OTEL_TRACES_SAMPLER_ARG")
        if let sampler = TraceSampler(name: value("OTEL_TRACES_SAMPLER"), argument: argument) {
            self.sampler = sampler
        } else {
            sampler = .standard
            warnings.append("OTEL_TRACES_SAMPLER cannot be used: parentbased_traceidratio with 0.1 is")
        }
        let ofTraces = Self.pairs(value("OTEL_EXPORTER_OTLP_TRACES_HEADERS"))
        headers = ofTraces.isEmpty ? Self.pairs(value("OTEL_EXPORTER_OTLP_HEADERS")) : ofTraces
        let service = value("OTEL_SERVICE_NAME")
        resource = [
            ("service.name", service.isEmpty ? "gateway-api-inference-extension/epp" : service),
            ("service.version", version),
        ]
        let pod = value("POD_NAME")
        if !pod.isEmpty { resource.append(("k8s.pod.name", pod)) }
        for pair in Self.pairs(value("OTEL_RESOURCE_ATTRIBUTES")) where !resource.contains(where: { $0.0 == pair.0 }) {
            resource.append(pair)
        }
    }

    /// `name=value,name=value`, with the values' bytes as `%XX` where the list needs them so.
    private static func pairs(_ text: String) -> [(name: String, value: String)] {
        text.split(separator: ",").compactMap { pair in
            let parts = pair.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            guard parts.count == 2 else { return nil }
            let name = String(parts[0].drop { $0 == " " }.prefix { $0 != " " })
            return name.isEmpty ? nil : (name, decoded(parts[1].drop { $0 == " " }))
        }
    }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = Array(text.utf8)[...]
        while let byte = rest.popFirst() {
            if byte == UInt8(ascii: "%"), rest.count >= 2,
                let value = UInt8(String(decoding: rest.prefix(2), as: UTF8.self), radix: 16)
            {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
