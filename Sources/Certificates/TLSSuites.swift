/// A version of TLS that the transport can speak.
package enum TLSVersion: Sendable, Equatable {
    case tls12
    case tls13

    /// Reads a flag: Go's constant (`VersionTLS12`) or the number (`1.2`).
    package init(_ text: String) throws(CertificateError) {
        switch text {
        case "VersionTLS12", "1.2": self = .tls12
        case "VersionTLS13", "1.3": self = .tls13
        case "VersionTLS10", "1.0", "VersionTLS11", "1.1":
            throw CertificateError("\(text) is not available: the oldest version that can be served is 1.2")
        default:
            throw CertificateError("unknown version \(text): VersionTLS12 or VersionTLS13")
        }
    }
}

/// Cipher suites by their IANA names, as Go's flags take them.
package enum TLSSuites {
    /// OpenSSL's list of suites that leaves just these, and TLS 1.3's where `minimum` says so.
    ///
    /// TLS 1.3 cannot be configured: its three suites are always on, as in Go, and naming them changes nothing. What can
    /// be listed is what TLS 1.2 may use. Where that is nothing, the list names a suite that needs a shared secret nobody
    /// has, since OpenSSL takes no empty list: TLS 1.2 then finds no suite, and only 1.3 is left.
    ///
    /// Nil when nothing is asked for. Throws on names that are unknown or that this OpenSSL does not serve.
    package static func openSSLList(
        _ names: [String],
        minimum: TLSVersion
    ) throws(CertificateError) -> String? {
        guard !names.isEmpty || minimum == .tls13 else { return nil }
        let context = try OpenSSL.ServerContext()
        var suites: [String] = []
        for name in names where !tls13.contains(name) {
            guard let suite = tls12[name] else {
                throw CertificateError("unknown cipher suite \(name)")
            }
            // The security level may forbid what the library has.
            guard context.accepts(suites: suite) else {
                throw CertificateError("cipher suite \(name) is not available here")
            }
            suites.append(suite)
        }
        guard minimum == .tls12, !suites.isEmpty else { return unusable }
        return suites.joined(separator: ":")
    }

    /// Served by TLS 1.3, always.
    package static let tls13: Set = [
        "TLS_AES_128_GCM_SHA256", "TLS_AES_256_GCM_SHA384", "TLS_CHACHA20_POLY1305_SHA256",
    ]

    private static let unusable = "PSK-AES256-GCM-SHA384"

    /// The suites of TLS 1.2 that Go knows, without those of RC4 and 3DES, by OpenSSL's names.
    private static let tls12 = [
        "TLS_ECDHE_ECDSA_WITH_AES_128_GCM_SHA256": "ECDHE-ECDSA-AES128-GCM-SHA256",
        "TLS_ECDHE_ECDSA_WITH_AES_256_GCM_SHA384": "ECDHE-ECDSA-AES256-GCM-SHA384",
        "TLS_ECDHE_RSA_WITH_AES_128_GCM_SHA256": "ECDHE-RSA-AES128-GCM-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384": "ECDHE-RSA-AES256-GCM-SHA384",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305": "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-ECDSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305": "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_RSA_WITH_CHACHA20_POLY1305_SHA256": "ECDHE-RSA-CHACHA20-POLY1305",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA": "ECDHE-ECDSA-AES128-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_256_CBC_SHA": "ECDHE-ECDSA-AES256-SHA",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA": "ECDHE-RSA-AES128-SHA",
        "TLS_ECDHE_RSA_WITH_AES_256_CBC_SHA": "ECDHE-RSA-AES256-SHA",
        "TLS_ECDHE_ECDSA_WITH_AES_128_CBC_SHA256": "ECDHE-ECDSA-AES128-SHA256",
        "TLS_ECDHE_RSA_WITH_AES_128_CBC_SHA256": "ECDHE-RSA-AES128-SHA256",
        "TLS_RSA_WITH_AES_128_GCM_SHA256": "AES128-GCM-SHA256",
        "TLS_RSA_WITH_AES_256_GCM_SHA384": "AES256-GCM-SHA384",
        "TLS_RSA_WITH_AES_128_CBC_SHA": "AES128-SHA",
        "TLS_RSA_WITH_AES_256_CBC_SHA": "AES256-SHA",
        "TLS_RSA_WITH_AES_128_CBC_SHA256": "AES128-SHA256",
    ]
}
