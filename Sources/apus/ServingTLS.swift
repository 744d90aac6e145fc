internal import Bytes
internal import Certificates
internal import Configuration
internal import Discovery
internal import Glibc
internal import RPC
internal import Telemetry

/// The TLS of the ext_proc port, as the flags say: a certificate made at the start, or files, which may be watched.
///
/// A pair of files counts only when both can be read, belong together and can be served with. Until then the last good
/// pair stays, so that one file may change before the other.
final class ServingTLS: Sendable {
    private static let fileLimit = 1 << 20

    private struct Paths {
        /// The certificate and its key; nil where the pair is self-signed.
        var pair: (certificate: String, key: String)?
        var clientRoots: String?

        var all: [String] { [pair?.certificate, pair?.key, clientRoots].compactMap { $0 } }
    }

    let credentials: TLSCredentials
    private let paths: Paths
    /// What is used where no file says otherwise.
    private let selfSigned: KeyPair?
    private let log: Logger
    private let watchers: [FileWatcher]
    /// The latest reason not to use the files, told once. The lock also keeps two watchers from loading at once.
    private let failure = Lock<String?>(nil)

    /// Throws when a file cannot be used, or a flag asks for what the transport cannot do.
    init(_ options: ServeOptions, log: Logger) throws(StartError) {
        self.log = log
        try Self.restrict(options, log)
        let directory = options.certPath.hasSuffix("/") ? String(options.certPath.dropLast()) : options.certPath
        paths = Paths(
            pair: options.certPath.isEmpty ? nil : ("\(directory)/tls.crt", "\(directory)/tls.key"),
            clientRoots: options.clientCAFile.isEmpty ? nil : options.clientCAFile
        )
        // Watching starts before reading, so that no change can fall between the two.
        watchers = options.enableCertReload ? paths.all.map { FileWatcher(path: $0) } : []
        do {
            selfSigned = paths.pair == nil ? try Self.selfSigned(options) : nil
            credentials = TLSCredentials(try Self.identity(paths, selfSigned, log))
        } catch {
            throw StartError(description: error.description)
        }
        if selfSigned != nil { log.info("TLS with a self-signed certificate") }
        if options.enableCertReload, watchers.isEmpty {
            log.warning("--enable-cert-reload has no effect without --cert-path or --client-ca-file")
        }
    }

    /// Follows the files from now on, where the flags say so.
    func start() {
        for watcher in watchers { watcher.start { self.reload() } }
    }

    func stop() {
        for watcher in watchers { watcher.stop() }
    }

    private func reload() {
        failure.withLock { failure in
            do throws(CertificateError) {
                _ = credentials.replace(try Self.identity(paths, selfSigned, log))
                log.info("TLS files reloaded", ["files": paths.all.joined(separator: " ")])
                failure = nil
            } catch {
                if failure != error.description {
                    log.warning("TLS files not used, the last good ones stay: \(error)")
                }
                failure = error.description
            }
        }
    }

    // MARK: Certificates

    private static func identity(
        _ paths: Paths,
        _ selfSigned: KeyPair?,
        _ log: Logger
    ) throws(CertificateError) -> TLSIdentity {
        let pair: KeyPair
        if let selfSigned {
            pair = selfSigned
        } else {
            let (certificate, key) = paths.pair ?? ("", "")
            let (chain, secret) = (try read(certificate), try read(key))
            do throws(CertificateError) {
                pair = try KeyPair(certificateChain: chain, privateKey: secret)
            } catch {
                throw CertificateError("\(certificate) and \(key): \(error)")
            }
            if pair.hasExpired { log.warning("the certificate has expired", ["file": certificate]) }
        }
        var roots: String?
        if let path = paths.clientRoots {
            let pem = try read(path)
            do throws(CertificateError) {
                roots = try TrustedRoots(pem: pem).pem
            } catch {
                throw CertificateError("\(path): \(error)")
            }
        }
        return TLSIdentity(
            certificateChain: pair.certificateChain,
            privateKey: pair.privateKey,
            clientRoots: roots
        )
    }

    private static func read(_ path: String) throws(CertificateError) -> [UInt8] {
        let bytes: [UInt8]
        do {
            bytes = try TextFile.read(path, limit: fileLimit)
        } catch {
            throw CertificateError("\(path): \(error)")
        }
        guard bytes.count <= fileLimit else { throw CertificateError("\(path): longer than \(fileLimit) bytes") }
        return bytes
    }

    /// For every name by which this process may be called. It lives in memory alone.
    private static func selfSigned(_ options: ServeOptions) throws(CertificateError) -> KeyPair {
        var name = [CChar](repeating: 0, count: 256)
        gethostname(&name, name.count - 1)
        let host = String(decoding: name.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
        let pod = getenv("POD_NAME").map { String(cString: $0) } ?? ""
        return try KeyPair.selfSigned(
            names: ["localhost", host, pod],
            addresses: ["127.0.0.1", "::1", options.bindAddress]
        )
    }

    // MARK: Versions and suites

    private static func restrict(_ options: ServeOptions, _ log: Logger) throws(StartError) {
        var minimum = TLSVersion.tls12
        if !options.tlsMinVersion.isEmpty {
            do {
                minimum = try TLSVersion(options.tlsMinVersion)
            } catch {
                throw StartError(description: "--tls-min-version: \(error)")
            }
        }
        let names = options.tlsCipherSuites.split(separator: ",").map { name in
            String(name.drop { $0 == " " }.prefix { $0 != " " })
        }
        do {
            if let list = try TLSSuites.openSSLList(names, minimum: minimum) { TLSCredentials.setCipherSuites(list) }
        } catch {
            throw StartError(description: "--tls-cipher-suites: \(error)")
        }
        if !names.isEmpty, minimum == .tls13 || !TLSSuites.tls13.isSubset(of: names) {
            log.info("--tls-cipher-suites restricts TLS 1.2; TLS 1.3 always has its own three suites")
        }
    }
}
