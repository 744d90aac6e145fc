import COpenSSL

/// Why a certificate, a key or a list of suites cannot be used, in one sentence.
package struct CertificateError: Error, Sendable, Equatable, CustomStringConvertible {
    package let description: String

    package init(_ description: String) {
        self.description = description
    }
}

/// OpenSSL's objects, each freed once. This file alone touches their pointers.
enum OpenSSL {
    /// An error with the oldest reason that OpenSSL has noted on this thread, after which the notes are gone.
    static func error(_ what: String) -> CertificateError {
        let code = ERR_get_error()
        ERR_clear_error()
        guard code != 0, let reason = ERR_reason_error_string(code) else { return CertificateError(what) }
        return CertificateError("\(what): \(String(cString: reason))")
    }

    static func isAddress(_ text: String) -> Bool {
        defer { ERR_clear_error() }
        guard let octets = a2i_IPADDRESS(text) else { return false }
        ASN1_OCTET_STRING_free(octets)
        return true
    }

    /// Text to read from, or a place to write to.
    struct Memory: ~Copyable {
        fileprivate let bio: OpaquePointer

        init(_ text: String = "") throws(CertificateError) {
            guard let bio = BIO_new(BIO_s_mem()) else { throw OpenSSL.error("no memory") }
            self.bio = bio
            let bytes = Array(text.utf8)
            // What did not fit would be missed by the readers.
            if !bytes.isEmpty { BIO_write(bio, bytes, Int32(clamping: bytes.count)) }
        }

        deinit {
            BIO_free(bio)
        }

        var text: String {
            var count = 0
            guard let bytes = apus_bio_bytes(bio, &count) else { return "" }
            return String(decoding: UnsafeRawBufferPointer(start: bytes, count: count), as: UTF8.self)
        }
    }

    struct Key: ~Copyable {
        fileprivate let pointer: OpaquePointer

        /// A new one on the curve P-256.
        init() throws(CertificateError) {
            guard let key = apus_p256_key() else { throw OpenSSL.error("no key could be made") }
            pointer = key
        }

        init(pem: String) throws(CertificateError) {
            let memory = try Memory(pem)
            guard let key = apus_read_private_key(memory.bio) else {
                throw OpenSSL.error("no private key without a passphrase")
            }
            pointer = key
        }

        deinit {
            EVP_PKEY_free(pointer)
        }

        var pem: String {
            get throws(CertificateError) {
                let memory = try Memory()
                guard PEM_write_bio_PrivateKey(memory.bio, pointer, nil, nil, 0, nil, nil) == 1 else {
                    throw OpenSSL.error("the key cannot be written")
                }
                return memory.text
            }
        }
    }

    struct Certificate: ~Copyable {
        fileprivate let pointer: OpaquePointer

        /// An empty one of version 3 with a random serial number.
        init() throws(CertificateError) {
            var serial: UInt64 = 0
            guard
                let certificate = X509_new(), X509_set_version(certificate, 2) == 1,
                withUnsafeMutableBytes(of: &serial, { RAND_bytes($0.baseAddress, 8) }) == 1,
                ASN1_INTEGER_set_uint64(X509_get_serialNumber(certificate), serial >> 1 | 1) == 1
            else { throw OpenSSL.error("no certificate could be made") }
            pointer = certificate
        }

        /// The next in the text; nil at its end.
        init?(next text: borrowing Memory) throws(CertificateError) {
            ERR_clear_error()
            guard let certificate = apus_read_certificate(text.bio) else {
                if apus_is_end_of_pem() != 0 {
                    ERR_clear_error()
                    return nil
                }
                throw OpenSSL.error("not a certificate")
            }
            pointer = certificate
        }

        deinit {
            X509_free(pointer)
        }

        func setName(_ name: String, organization: String) throws(CertificateError) {
            for (field, value) in [("O", organization), ("CN", name)] {
                let added = X509_NAME_add_entry_by_txt(
                    X509_get_subject_name(pointer),
                    field,
                    MBSTRING_UTF8,
                    Array(value.utf8),
                    Int32(clamping: value.utf8.count),
                    -1,
                    0
                )
                guard added == 1 else { throw OpenSSL.error("no such name: \(value)") }
            }
            guard X509_set_issuer_name(pointer, X509_get_subject_name(pointer)) == 1 else {
                throw OpenSSL.error("no such issuer")
            }
        }

        /// Valid from an hour ago, for clocks that are slow.
        func setLifetime(seconds: Int) throws(CertificateError) {
            guard
                X509_gmtime_adj(X509_getm_notBefore(pointer), -3600) != nil,
                X509_gmtime_adj(X509_getm_notAfter(pointer), seconds) != nil
            else { throw OpenSSL.error("no such time") }
        }

        func addExtension(_ nid: Int32, _ value: String) throws(CertificateError) {
            guard apus_add_extension(pointer, nid, value) == 1 else {
                throw OpenSSL.error("no such extension: \(value)")
            }
        }

        func sign(_ key: borrowing Key) throws(CertificateError) {
            guard X509_set_pubkey(pointer, key.pointer) == 1, X509_sign(pointer, key.pointer, EVP_sha256()) > 0 else {
                throw OpenSSL.error("the certificate cannot be signed")
            }
        }

        var pem: String {
            get throws(CertificateError) {
                let memory = try Memory()
                guard PEM_write_bio_X509(memory.bio, pointer) == 1 else {
                    throw OpenSSL.error("the certificate cannot be written")
                }
                return memory.text
            }
        }

        /// Whether its time is over.
        var hasExpired: Bool { X509_cmp_current_time(X509_get0_notAfter(pointer)) < 0 }
    }

    /// A server's settings, to see what OpenSSL thinks of them before a server uses them.
    struct ServerContext: ~Copyable {
        private let pointer: OpaquePointer

        init() throws(CertificateError) {
            guard let context = SSL_CTX_new(TLS_server_method()) else { throw OpenSSL.error("no TLS") }
            pointer = context
        }

        deinit {
            SSL_CTX_free(pointer)
        }

        func use(_ certificate: borrowing Certificate) throws(CertificateError) {
            guard SSL_CTX_use_certificate(pointer, certificate.pointer) == 1 else {
                throw OpenSSL.error("the certificate cannot be used")
            }
        }

        func useInChain(_ certificate: borrowing Certificate) throws(CertificateError) {
            X509_up_ref(certificate.pointer)
            guard apus_add_chain_certificate(pointer, certificate.pointer) == 1 else {
                X509_free(certificate.pointer)
                throw OpenSSL.error("a certificate of the chain cannot be used")
            }
        }

        func use(_ key: borrowing Key) throws(CertificateError) {
            guard SSL_CTX_use_PrivateKey(pointer, key.pointer) == 1, SSL_CTX_check_private_key(pointer) == 1 else {
                throw OpenSSL.error("the private key cannot be used with the certificate")
            }
        }

        /// Whether OpenSSL has at least one suite of the list.
        func accepts(suites: String) -> Bool {
            defer { ERR_clear_error() }
            return SSL_CTX_set_cipher_list(pointer, suites) == 1
        }
    }
}
