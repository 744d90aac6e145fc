private import Bytes
private import Configuration
private import Glibc
package import SubRequests

/// Where the Kubernetes API is, whom to trust there, and who we are.
package struct KubernetesAccess: Sendable {
    package enum Credential: Sendable, Equatable {
        case none
        case token(String)
        /// Read anew for each request: the kubelet replaces it before it expires. While it cannot be read the last one counts.
        case tokenFile(String)
        case basic(user: String, password: String)
    }

    /// Why there is no access.
    package struct Failure: Error, CustomStringConvertible {
        package let description: String

        init(_ description: String) {
            self.description = description
        }
    }

    /// `https://host:port`, with a path where the API is below one; no slash at the end.
    package var server: String
    package var trust: TLSTrust
    package var credential: Credential
    /// Of the pod that we run in, or of the kubeconfig's context.
    package var namespace: String?
    /// What the server's certificate is for, where that is not the server's name.
    package var serverName: String?
    /// What of a kubeconfig has no effect.
    package var warnings: [String] = []
    /// Holds the certificates that stand in the kubeconfig itself.
    var files: [UnnamedFile] = []

    package init(
        server: String,
        trust: TLSTrust = .system,
        credential: Credential = .none,
        namespace: String? = nil
    ) {
        self.server = server.hasSuffix("/") ? String(server.dropLast()) : server
        self.trust = trust
        self.credential = credential
        self.namespace = namespace
    }

    private static let serviceAccount = "/var/run/secrets/kubernetes.io/serviceaccount"

    /// The access that the surroundings name: the files in KUBECONFIG, else the pod's service account, else `~/.kube/config`.
    ///
    /// - Parameters:
    ///   - environment: the value of an environment variable.
    ///   - serviceAccount: the folder of the service account's files.
    package static func found(
        environment: (String) -> String? = { name in getenv(name).map { String(cString: $0) } },
        serviceAccount: String = serviceAccount
    ) throws(Failure) -> KubernetesAccess {
        if let paths = environment("KUBECONFIG"), !paths.isEmpty {
            return try Kubeconfig.access(paths: paths.split(separator: ":").map(String.init))
        }
        if let host = environment("KUBERNETES_SERVICE_HOST"), !host.isEmpty {
            return try inCluster(host: host, port: environment("KUBERNETES_SERVICE_PORT") ?? "443", serviceAccount)
        }
        let home = (environment("HOME") ?? "") + "/.kube/config"
        if access(home, R_OK) == 0 { return try Kubeconfig.access(paths: [home]) }
        throw Failure("no Kubernetes API: set KUBECONFIG, or run in a cluster with a service account")
    }

    private static func inCluster(host: String, port: String, _ folder: String) throws(Failure) -> KubernetesAccess {
        let host = host.utf8.contains(UInt8(ascii: ":")) ? "[\(host)]" : host
        let token = folder + "/token"
        guard text(of: token) != nil else { throw Failure("cannot read the service account's token \(token)") }
        return KubernetesAccess(
            server: "https://\(host):\(port)",
            trust: TLSTrust(caFile: folder + "/ca.crt"),
            credential: .tokenFile(token),
            namespace: text(of: folder + "/namespace")
        )
    }

    /// A small file's text without the white space around it; nil when it is empty or cannot be read.
    static func text(of path: String) -> String? {
        guard let bytes = try? TextFile.read(path, limit: 64 << 10) else { return nil }
        let text = String(ASCII.trimmed(String(decoding: bytes, as: UTF8.self)[...]))
        return text.isEmpty ? nil : text
    }

    /// The server's scheme, the rest of its address up to the path, and the path; the port is always named.
    var serverParts: (scheme: String, host: String, port: String, path: String)? {
        guard let colon = server.firstRange(of: "://") else { return nil }
        let scheme = String(server[..<colon.lowerBound])
        let rest = server[colon.upperBound...]
        let authority = rest.prefix { $0 != "/" }
        // The last colon is the port's unless it belongs to an address in brackets.
        let end = authority.lastIndex(of: ":").flatMap { authority[$0...].contains("]") ? nil : $0 }
        let port = end.map { String(authority[authority.index(after: $0)...]) }
        return (
            scheme, String(authority[..<(end ?? authority.endIndex)]), port ?? (scheme == "http" ? "80" : "443"),
            String(rest.dropFirst(authority.count))
        )
    }

    /// The value of the field `authorization`, as of now.
    var authorization: String? {
        switch credential {
        case .none: nil
        case .token(let token): "Bearer \(token)"
        case .tokenFile(let path): Self.text(of: path).map { "Bearer \($0)" }
        case .basic(let user, let password): "Basic " + Base64.encode(Array("\(user):\(password)".utf8))
        }
    }
}
