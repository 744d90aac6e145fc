package import RPC

/// The gRPC service that Envoy calls: one stream per HTTP request.
package enum ExternalProcessor {
    package static let serviceName = "envoy.service.ext_proc.v3.ExternalProcessor"
    package static let method = "/\(serviceName)/Process"

    /// Answers streams with `director`'s decisions.
    package static func handler(director: Director, limits: PickerLimits = .defaults) -> Handler {
        { call in await Exchange(call: call, director: director, limits: limits).run() }
    }
}
