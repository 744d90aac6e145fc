import Testing

@testable import Certificates

@Suite("TLS versions and suites")
struct TLSSuitesTests {
    @Test("Go's constants and plain numbers name the versions")
    func versions() throws {
        #expect(try TLSVersion("VersionTLS12") == .tls12)
        #expect(try TLSVersion("1.2") == .tls12)
        #expect(try TLSVersion("VersionTLS13") == .tls13)
        #expect(try TLSVersion("1.3") == .tls13)
    }

    @Test("Versions that cannot be served are refused", arguments: ["VersionTLS10", "1.1", "1.4", "TLS12", ""])
    func otherVersions(text: String) {
        #expect(throws: CertificateError.self) { try TLSVersion(text) }
    }

    @Test("Without names and with version 1.2 there is nothing to set")
    func nothing() throws {
        #expect(try TLSSuites.openSSLList([], minimum: .tls12) == nil)
    }

    @Test("Names are translated in their order; those of TLS 1.3 need no translation")
    func translation() throws {
        let names = [
            "TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384", "TLS_AES_128_GCM_SHA256",
            "TLS_ECDHE_ECDSA_WITH_CHACHA20_POLY1305",
        ]
        #expect(
            try TLSSuites.openSSLList(names, minimum: .tls12)
                == "ECDHE-RSA-AES256-GCM-SHA384:ECDHE-ECDSA-CHACHA20-POLY1305"
        )
    }

    @Test("With only TLS 1.3 left, TLS 1.2 has no suite that could be agreed on")
    func only13() throws {
        let list = try #require(try TLSSuites.openSSLList([], minimum: .tls13))
        #expect(list.hasPrefix("PSK-"))
        let named = ["TLS_ECDHE_RSA_WITH_AES_256_GCM_SHA384"]
        #expect(try TLSSuites.openSSLList(named, minimum: .tls13) == list)
        #expect(try TLSSuites.openSSLList(["TLS_AES_256_GCM_SHA384"], minimum: .tls12) == list)
    }

    @Test(
        "Unknown names are refused",
        arguments: ["TLS_RSA_WITH_RC4_128_SHA", "ECDHE-RSA-AES256-GCM-SHA384", "", "ALL", "tls_aes_128_gcm_sha256"]
    )
    func unknown(name: String) {
        #expect(throws: CertificateError("unknown cipher suite \(name)")) {
            try TLSSuites.openSSLList([name], minimum: .tls12)
        }
    }
}
