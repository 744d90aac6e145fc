internal import COpenSSL
private import Glibc

/// How a `FakeHTTPServer` speaks TLS.
package final class ServerTLS: Sendable {
    // An SSL_CTX counts its references atomically and is not changed once it is made.
    nonisolated(unsafe) private let context: OpaquePointer
    /// The server names that clients asked for, in the order of their connections; "" for none.
    package let serverNames = EventLog<String>()
    /// Whether each connection went on with a session of an earlier one.
    package let resumptions = EventLog<Bool>()

    /// - Parameters:
    ///   - certificateFile: PEM, the server's own first.
    ///   - clientCAFile: clients must show a certificate that leads to one of these; nil asks for none.
    package init(certificateFile: String, keyFile: String, clientCAFile: String? = nil) throws {
        guard let context = SSL_CTX_new(TLS_server_method()) else { throw TestFailure("no TLS") }
        self.context = context
        guard SSL_CTX_use_certificate_chain_file(context, certificateFile) == 1,
            SSL_CTX_use_PrivateKey_file(context, keyFile, SSL_FILETYPE_PEM) == 1
        else { throw TestFailure("the server's certificate cannot be used") }
        if let clientCAFile {
            guard SSL_CTX_load_verify_locations(context, clientCAFile, nil) == 1 else {
                throw TestFailure("the clients' authorities cannot be used")
            }
            SSL_CTX_set_verify(context, SSL_VERIFY_PEER | SSL_VERIFY_FAIL_IF_NO_PEER_CERT, nil)
        }
    }

    deinit { SSL_CTX_free(context) }

    /// Shakes hands on an accepted socket; nil when that fails.
    func accept(_ socket: Int32) -> ServerChannel? {
        guard let session = SSL_new(context) else { return nil }
        SSL_set_fd(session, socket)
        guard SSL_accept(session) == 1 else {
            SSL_free(session)
            return nil
        }
        serverNames.append(SSL_get_servername(session, TLSEXT_NAMETYPE_host_name).map { String(cString: $0) } ?? "")
        resumptions.append(SSL_session_reused(session) == 1)
        return ServerChannel(socket, session)
    }
}

/// One accepted connection of a `FakeHTTPServer`; used by its thread alone.
final class ServerChannel {
    let socket: Int32
    private let session: OpaquePointer?

    init(_ socket: Int32, _ session: OpaquePointer? = nil) {
        self.socket = socket
        self.session = session
    }

    deinit { SSL_free(session) }

    /// How many bytes have come; 0 or less at the end.
    func read(_ buffer: inout [UInt8]) -> Int {
        guard let session else { return recv(socket, &buffer, buffer.count, 0) }
        return Int(SSL_read(session, &buffer, Int32(clamping: buffer.count)))
    }

    /// Whether all of it was taken.
    func write(_ bytes: [UInt8]) -> Bool {
        var sent = 0
        while sent < bytes.count {
            let count = bytes[sent...].withUnsafeBytes { rest in
                if let session { return Int(SSL_write(session, rest.baseAddress, Int32(clamping: rest.count))) }
                return send(socket, rest.baseAddress, rest.count, Int32(MSG_NOSIGNAL))
            }
            guard count > 0 else { return false }
            sent += count
        }
        return true
    }
}
