import Bytes
import CGRPC
import Glibc

/// What a server shows in a TLS handshake, and what it asks of its peer. PEM text that has been checked to be usable:
/// core would fail handshakes with what it cannot use.
package struct TLSIdentity: Sendable, Equatable {
    /// The server's certificate, then those that lead to its root.
    package var certificateChain: String
    package var privateKey: String
    /// Where there are any, a client must show a certificate that leads to one of them.
    package var clientRoots: String?

    package init(certificateChain: String, privateKey: String, clientRoots: String? = nil) {
        self.certificateChain = certificateChain
        self.privateKey = privateKey
        self.clientRoots = clientRoots
    }
}

/// The TLS of one server, whose identity may be replaced while it serves: connections that exist go on, and the next
/// handshake shows the new one.
///
/// For one server only: what has been handed to core is remembered here.
package final class TLSCredentials: Sendable {
    private struct State {
        var identity: TLSIdentity
        var isDelivered = false
    }

    private let verifiesClients: Bool
    private let state: Lock<State>

    /// Whether clients must show certificates is settled here: by whether `identity` has roots for them.
    package init(_ identity: TLSIdentity) {
        verifiesClients = identity.clientRoots != nil
        state = Lock(State(identity: identity))
    }

    /// Takes effect with the next handshake. False, and without effect, for an identity that would begin or cease to
    /// verify clients.
    package func replace(_ identity: TLSIdentity) -> Bool {
        guard (identity.clientRoots != nil) == verifiesClients else { return false }
        state.withLock { state in
            guard state.identity != identity else { return }
            state.identity = identity
            state.isDelivered = false
        }
        return true
    }

    /// Leaves TLS 1.2 only these suites, as a list of OpenSSL's. TLS 1.3 has all of its own, always.
    ///
    /// For all servers of the process, and to be called before the first is made: core reads the environment once, and
    /// no thread may read it meanwhile.
    package static func setCipherSuites(_ list: String) {
        setenv("GRPC_SSL_CIPHER_SUITES", list, 1)
    }

    // MARK: Core

    /// Credentials of core's that the caller releases. They do not retain this object.
    func makeCore() -> OpaquePointer? {
        let options = grpc_ssl_server_credentials_create_options_using_config_fetcher(
            verifiesClients
                ? GRPC_SSL_REQUEST_AND_REQUIRE_CLIENT_CERTIFICATE_AND_VERIFY
                : GRPC_SSL_DONT_REQUEST_CLIENT_CERTIFICATE,
            { context, configuration in
                guard let context, let configuration else { return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_FAIL }
                return Unmanaged<TLSCredentials>.fromOpaque(context).takeUnretainedValue().fetch(into: configuration)
            },
            Unmanaged.passUnretained(self).toOpaque()
        )
        return grpc_ssl_server_credentials_create_with_options(options)
    }

    /// Core asks before each handshake, on the thread that accepts.
    private func fetch(
        into configuration: UnsafeMutablePointer<OpaquePointer?>
    ) -> grpc_ssl_certificate_config_reload_status {
        let identity: TLSIdentity? = state.withLock { state in
            defer { state.isDelivered = true }
            return state.isDelivered ? nil : state.identity
        }
        guard let identity else { return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_UNCHANGED }
        identity.certificateChain.withCString { chain in
            identity.privateKey.withCString { key in
                // Core copies the texts.
                var pair = grpc_ssl_pem_key_cert_pair(private_key: key, cert_chain: chain)
                // Without roots it would abort the process, also where it asks for no client certificates. What it is given
                // then is not used.
                let roots = identity.clientRoots ?? identity.certificateChain
                configuration.pointee = roots.withCString { grpc_ssl_server_certificate_config_create($0, &pair, 1) }
            }
        }
        return GRPC_SSL_CERTIFICATE_CONFIG_RELOAD_NEW
    }
}
