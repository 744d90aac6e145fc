private import Glibc
package import Pool

/// Turns host names into addresses: what goes into `x-gateway-destination-endpoint` must be one, since gateways do not look names up.
package enum AddressResolver {
    /// The endpoint with an IP address in place of its host name: the first that the system names, IPv4 before IPv6. An address stays as it is.
    /// Nil when the name has none. Blocks while the system looks.
    package static func resolved(_ endpoint: EndpointDescription) -> EndpointDescription? {
        if isLiteral(endpoint.address) { return endpoint }
        var resolved = endpoint
        guard let address = lookUp(endpoint.address, AF_INET) ?? lookUp(endpoint.address, AF_INET6) else { return nil }
        resolved.address = address
        return resolved
    }

    private static func isLiteral(_ text: String) -> Bool {
        var four = in_addr()
        var six = in6_addr()
        return inet_pton(AF_INET, text, &four) == 1 || inet_pton(AF_INET6, text, &six) == 1
    }

    private static func lookUp(_ name: String, _ family: Int32) -> String? {
        var hints = addrinfo()
        hints.ai_family = family
        hints.ai_socktype = Int32(SOCK_STREAM.rawValue)
        var found: UnsafeMutablePointer<addrinfo>?
        guard getaddrinfo(name, nil, &hints, &found) == 0, let found else { return nil }
        defer { freeaddrinfo(found) }
        var text = [CChar](repeating: 0, count: Int(NI_MAXHOST))
        let status = getnameinfo(
            found.pointee.ai_addr,
            found.pointee.ai_addrlen,
            &text,
            socklen_t(text.count),
            nil,
            0,
            NI_NUMERICHOST
        )
        guard status == 0 else { return nil }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }
}
