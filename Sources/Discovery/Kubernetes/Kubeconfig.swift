private import Bytes
private import Configuration
private import SubRequests

/// Reads kubeconfig files. Of several the first that names a thing counts, as for kubectl.
enum Kubeconfig {
    private typealias Failure = KubernetesAccess.Failure

    private struct Files {
        var context: String?
        var clusters: [String: Entry] = [:]
        var users: [String: Entry] = [:]
        var contexts: [String: Entry] = [:]
    }

    /// A named thing, and the folder that its relative paths start from.
    private struct Entry {
        let fields: [String: YAMLNode]
        let folder: String
        let name: String

        func text(_ key: String) -> String? {
            fields[key]?.text.flatMap { $0.isEmpty ? nil : $0 }
        }

        func path(_ key: String) -> String? {
            text(key).map { $0.hasPrefix("/") ? $0 : folder + $0 }
        }

        func has(_ key: String) -> Bool {
            fields[key].map { !$0.isNull } ?? false
        }
    }

    static func access(paths: [String]) throws(KubernetesAccess.Failure) -> KubernetesAccess {
        var files = Files()
        var problem: String?
        var isAnyRead = false
        for path in paths {
            do {
                let text = try TextFile.read(path)
                let diagnostics = Diagnostics(file: path)
                guard let root = YAMLDocument.parse(text, diagnostics), !diagnostics.hasErrors else {
                    throw Failure(diagnostics.all.first?.description ?? "\(path): no kubeconfig")
                }
                add(root, from: path, to: &files)
                isAnyRead = true
            } catch let failure as TextFile.Failure {
                // A file of the list may be absent as long as one is there.
                problem = problem ?? "\(path): \(failure)"
            } catch let failure as KubernetesAccess.Failure {
                throw failure
            } catch {
                throw Failure("\(path): \(error)")
            }
        }
        guard isAnyRead else { throw Failure("KUBECONFIG: \(problem ?? "no file")") }
        return try access(files)
    }

    private static func add(_ root: YAMLNode, from path: String, to files: inout Files) {
        let folder = path.lastIndex(of: "/").map { String(path[...$0]) } ?? ""
        let fields = Self.fields(root)
        files.context = files.context ?? fields["current-context"]?.text.flatMap { $0.isEmpty ? nil : $0 }
        for (list, kind, target) in [
            ("clusters", "cluster", \Files.clusters), ("users", "user", \Files.users),
            ("contexts", "context", \Files.contexts),
        ] {
            for element in fields[list]?.elements ?? [] {
                let element = Self.fields(element)
                guard let name = element["name"]?.text, files[keyPath: target][name] == nil else { continue }
                let entry = Entry(fields: element[kind].map { Self.fields($0) } ?? [:], folder: folder, name: name)
                files[keyPath: target][name] = entry
            }
        }
    }

    private static func fields(_ node: YAMLNode) -> [String: YAMLNode] {
        Dictionary((node.entries ?? []).map { ($0.key, $0.value) }, uniquingKeysWith: { first, _ in first })
    }

    private static func access(_ files: Files) throws(KubernetesAccess.Failure) -> KubernetesAccess {
        guard let name = files.context else { throw Failure("kubeconfig: no current-context") }
        guard let context = files.contexts[name] else { throw Failure("kubeconfig: no context \(quoted(name))") }
        guard let cluster = context.text("cluster").flatMap({ files.clusters[$0] }) else {
            throw Failure("kubeconfig: context \(quoted(name)) names no known cluster")
        }
        guard let server = cluster.text("server"), server.hasPrefix("https://") || server.hasPrefix("http://") else {
            throw Failure(
                "kubeconfig: cluster \(quoted(cluster.name)) has no server that begins with https:// or http://"
            )
        }
        var access = KubernetesAccess(server: server)
        access.serverName = cluster.text("tls-server-name")
        if let name = access.serverName, !name.utf8.allSatisfy(isNameByte) {
            throw Failure("kubeconfig: tls-server-name of cluster \(quoted(cluster.name)) is no name")
        }
        if cluster.has("proxy-url") {
            access.warnings.append(
                "kubeconfig: proxy-url of cluster \(quoted(cluster.name)) has no effect: the server is asked directly"
            )
        }
        access.namespace = context.text("namespace")
        access.trust.insecureSkipVerify = cluster.text("insecure-skip-tls-verify") == "true"
        access.trust.caFile =
            try file(cluster, "certificate-authority-data", "certificate-authority", &access.files) ?? ""
        guard let userName = context.text("user") else { return access }
        guard let user = files.users[userName] else {
            throw Failure("kubeconfig: context \(quoted(name)) names no known user")
        }
        try identify(as: user, in: &access)
        return access
    }

    private static func isNameByte(_ byte: UInt8) -> Bool {
        ASCII.isDigit(byte) || ASCII.lowercased(byte) &- 0x61 < 26 || byte == UInt8(ascii: "-")
            || byte == UInt8(ascii: ".")
    }

    private static func identify(
        as user: Entry,
        in access: inout KubernetesAccess
    ) throws(KubernetesAccess.Failure) {
        for (key, advice) in [
            ("exec", "exec plugins are not run"), ("auth-provider", "auth providers are not supported"),
            ("as", "impersonation is not supported"),
        ] where user.has(key) {
            throw Failure(
                "kubeconfig: user \(quoted(user.name)): \(advice); use a token, a tokenFile or a client certificate"
            )
        }
        access.trust.clientCertificateFile =
            try file(user, "client-certificate-data", "client-certificate", &access.files) ?? ""
        access.trust.clientKeyFile = try file(user, "client-key-data", "client-key", &access.files) ?? ""
        if let path = user.path("tokenFile") {
            access.credential = .tokenFile(path)
        } else if let token = user.text("token") {
            access.credential = .token(token)
        } else if let name = user.text("username") {
            access.credential = .basic(user: name, password: user.text("password") ?? "")
        }
    }

    /// The path of what stands in the kubeconfig itself, or is named by it.
    private static func file(
        _ entry: Entry,
        _ dataKey: String,
        _ pathKey: String,
        _ files: inout [UnnamedFile]
    ) throws(KubernetesAccess.Failure) -> String? {
        guard let data = entry.text(dataKey) else { return entry.path(pathKey) }
        guard let bytes = Base64.decode(data.filter { !$0.isWhitespace }) else {
            throw Failure("kubeconfig: \(dataKey) of \(quoted(entry.name)) is no base64")
        }
        guard let file = UnnamedFile(bytes) else {
            throw Failure("kubeconfig: no room for \(dataKey) of \(quoted(entry.name)) in the temporary folder")
        }
        files.append(file)
        return file.path
    }
}
