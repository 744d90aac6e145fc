internal import COpenSSL

/// A server's certificate, with those that lead to its root, and the private key: a pair that belongs together.
package struct KeyPair: Sendable, Equatable {
    /// PEM, the server's own certificate first.
    package let certificateChain: String
    /// PEM, without a passphrase.
    package let privateKey: String
    /// Whether the certificate's time was over when the pair was made. A server can use it all the same.
    package let hasExpired: Bool

    /// Takes the bytes of two PEM files. Throws unless both can be read, the key is that of the first certificate, and
    /// OpenSSL agrees to serve with them (it refuses short RSA keys, for example).
    package init(certificateChain: [UInt8], privateKey: [UInt8]) throws(CertificateError) {
        let chain = try PEM.text(certificateChain, "the certificate")
        let key = try PEM.text(privateKey, "the private key")
        let text = try OpenSSL.Memory(chain)
        guard let own = try OpenSSL.Certificate(next: text) else {
            throw CertificateError("there is no certificate")
        }
        let context = try OpenSSL.ServerContext()
        try context.use(own)
        while let issuer = try OpenSSL.Certificate(next: text) { try context.useInChain(issuer) }
        try context.use(OpenSSL.Key(pem: key))
        self.certificateChain = chain
        self.privateKey = key
        hasExpired = own.hasExpired
    }

    /// Which side of a connection shows a certificate.
    package enum Side: Sendable {
        case server
        case client
    }

    /// Makes a key on P-256 and a certificate, signed by that key, for DNS names and IP addresses.
    ///
    /// What is no DNS name or address is left out: host names may be anything. `lifetime` counts from now.
    package static func selfSigned(
        names: [String],
        addresses: [String],
        side: Side = .server,
        lifetime: Duration = .seconds(10 * 365 * 86_400)
    ) throws(CertificateError) -> KeyPair {
        let key = try OpenSSL.Key()
        let certificate = try OpenSSL.Certificate()
        try certificate.setName("apus", organization: "Apus")
        try certificate.setLifetime(seconds: Int(lifetime.components.seconds))
        var alternatives: [String] = []
        for entry in names.filter(isDNSName).map({ "DNS:\($0)" })
            + addresses.filter(OpenSSL.isAddress).map({ "IP:\($0)" })
        where !alternatives.contains(entry) {
            alternatives.append(entry)
        }
        try certificate.addExtension(NID_basic_constraints, "critical,CA:FALSE")
        try certificate.addExtension(NID_key_usage, "critical,digitalSignature")
        try certificate.addExtension(NID_ext_key_usage, side == .server ? "serverAuth" : "clientAuth")
        if !alternatives.isEmpty {
            try certificate.addExtension(NID_subject_alt_name, alternatives.joined(separator: ","))
        }
        try certificate.sign(key)
        return try KeyPair(certificateChain: Array(certificate.pem.utf8), privateKey: Array(key.pem.utf8))
    }

    /// Labels of letters, digits, hyphens and underscores, up to 63 bytes each.
    private static func isDNSName(_ text: String) -> Bool {
        let labels = text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false)
        return text.utf8.count <= 253
            && labels.allSatisfy { label in
                (1...63).contains(label.count)
                    && label.allSatisfy { byte in
                        switch byte {
                        case UInt8(ascii: "a")...UInt8(ascii: "z"), UInt8(ascii: "A")...UInt8(ascii: "Z"): true
                        case UInt8(ascii: "0")...UInt8(ascii: "9"), UInt8(ascii: "-"), UInt8(ascii: "_"): true
                        default: false
                        }
                    }
            }
    }
}

/// The certificates that a peer's must lead to.
package struct TrustedRoots: Sendable, Equatable {
    /// One or more certificates.
    package let pem: String

    /// Takes the bytes of a PEM file. Throws when there is no certificate in it, or one that cannot be read.
    package init(pem: [UInt8]) throws(CertificateError) {
        let text = try PEM.text(pem, "the CA file")
        let memory = try OpenSSL.Memory(text)
        var count = 0
        while let _ = try OpenSSL.Certificate(next: memory) { count += 1 }
        guard count > 0 else { throw CertificateError("there is no certificate") }
        self.pem = text
    }
}

enum PEM {
    /// C libraries would read only as far as a zero byte.
    static func text(_ bytes: [UInt8], _ what: String) throws(CertificateError) -> String {
        guard !bytes.contains(0), let text = String(validating: bytes, as: UTF8.self) else {
            throw CertificateError("\(what) is not PEM text")
        }
        return text
    }
}
