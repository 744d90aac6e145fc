internal import CCurl

/// Whom a request over `https://` trusts, and as whom it comes. Connections made with one trust are never used for another.
///
/// TLS 1.2 is the oldest version spoken. The server's name is sent (SNI) and must be in its certificate; where the address is an IP address, that
/// address must be.
package struct TLSTrust: Sendable, Hashable {
    /// PEM file of the authorities that a server's certificate must lead to; empty: the system's. Read again at most a minute after it changed,
    /// for connections made from then on.
    package var caFile: String
    /// Takes any certificate. Whoever is between this host and the server can then read and change everything.
    package var insecureSkipVerify: Bool
    /// PEM file with the certificate shown to servers that ask for one, its chain behind it; empty: none.
    package var clientCertificateFile: String
    /// PEM file of that certificate's key, without a passphrase. A certificate has one key, so connections are told apart by the former alone.
    package var clientKeyFile: String

    /// The system's authorities, and no certificate of our own.
    package static let system = TLSTrust()

    package init(
        caFile: String = "",
        insecureSkipVerify: Bool = false,
        clientCertificateFile: String = "",
        clientKeyFile: String = ""
    ) {
        self.caFile = caFile
        self.insecureSkipVerify = insecureSkipVerify
        self.clientCertificateFile = clientCertificateFile
        self.clientKeyFile = clientKeyFile
    }

    /// How long libcurl may keep the authorities it has read. They are kept for one file at a time; the system's take it milliseconds to read.
    private static let secondsKept = 60

    /// The system's authorities in one file. Its directory of single files is left alone: with it, nothing is kept.
    private static let systemFile = apus_system_ca_file().map { String(cString: $0) }

    /// Makes the handle's next connection, and the choice of a kept one, follow this trust.
    func apply(to easy: UnsafeMutableRawPointer) {
        apus_easy_set_long(easy, CURLOPT_SSLVERSION, Int(apus_tls_at_least_1_2()))
        apus_easy_set_long(easy, CURLOPT_SSL_VERIFYPEER, insecureSkipVerify ? 0 : 1)
        apus_easy_set_long(easy, CURLOPT_SSL_VERIFYHOST, insecureSkipVerify ? 0 : 2)
        apus_easy_set_long(easy, CURLOPT_CA_CACHE_TIMEOUT, Self.secondsKept)
        set(CURLOPT_CAPATH, nil, on: easy)
        // Without verification the authorities would be read for nothing.
        set(CURLOPT_CAINFO, insecureSkipVerify ? nil : caFile.isEmpty ? Self.systemFile : caFile, on: easy)
        set(CURLOPT_SSLCERT, clientCertificateFile.isEmpty ? nil : clientCertificateFile, on: easy)
        set(CURLOPT_SSLKEY, clientKeyFile.isEmpty ? nil : clientKeyFile, on: easy)
        // An empty passphrase, so that a key which has one fails instead of asking the terminal.
        set(CURLOPT_KEYPASSWD, "", on: easy)
    }

    private func set(_ option: CURLoption, _ value: String?, on easy: UnsafeMutableRawPointer) {
        if let value {
            _ = value.withCString { apus_easy_set_pointer(easy, option, $0) }
        } else {
            apus_easy_set_pointer(easy, option, nil)
        }
    }
}
