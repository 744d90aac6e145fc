internal import Bytes
package import SubRequests

/// Asks the Kubernetes API, at a bounded pace.
package final class KubernetesClient: Sendable {
    /// Longer answers to single requests are refused; lists and watches are streamed.
    private static let maxAnswerBytes = 4 << 20
    private static let connectTimeout = Duration.seconds(5)

    package let access: KubernetesAccess
    private let client: HTTPClient
    private let pace: RequestPace
    /// The last token that was read.
    private let lastAuthorization = Lock<String?>(nil)

    /// - Parameters:
    ///   - perSecond: how many requests are sent at most, once `burst` of them have been sent at once.
    package init(_ access: KubernetesAccess, client: HTTPClient, perSecond: Int = 20, burst: Int = 40) {
        self.access = access
        self.client = client
        pace = RequestPace(perSecond: perSecond, burst: burst)
    }

    /// The answer's body, when its status is a success. Cancelling the task ends the request.
    ///
    /// - Parameter path: from the first slash, with the query.
    package func call(
        _ method: String = "GET",
        _ path: String,
        body: [UInt8]? = nil,
        timeout: Duration = .seconds(10)
    ) async throws(KubernetesError) -> [UInt8] {
        try await waitForTurn()
        var request = request(method, path)
        request.timeout = timeout
        request.maxResponseBytes = Self.maxAnswerBytes
        if let body {
            request.body = HTTPBody(body)
            request.headers.append(HTTPField("content-type", "application/json"))
        }
        let response: HTTPResponse
        do {
            response = try await client.send(request)
        } catch {
            throw KubernetesError(error)
        }
        guard (200..<300).contains(response.status) else {
            throw KubernetesError(response.head, body: response.body, request: Self.name(method, path))
        }
        return response.body
    }

    /// The answer to a GET as it comes, when its status is a success.
    package func open(_ path: String, limits: HTTPStreamLimits) async throws(KubernetesError) -> HTTPStream {
        try await waitForTurn()
        do {
            let stream = try await client.open(request("GET", path), limits: limits)
            if (200..<300).contains(stream.head.status) { return stream }
            let body = try await stream.collect(upTo: 64 << 10).bytes
            throw KubernetesError(stream.head, body: body, request: Self.name("GET", path))
        } catch let error as HTTPClientError {
            throw KubernetesError(error)
        } catch let error as KubernetesError {
            throw error
        } catch {
            throw KubernetesError(.malformed, "\(error)")
        }
    }

    private func waitForTurn() async throws(KubernetesError) {
        let delay = pace.take(at: .now())
        guard delay > .zero else { return }
        do {
            try await Task.sleep(for: delay)
        } catch {
            throw KubernetesError(.cancelled, "cancelled")
        }
    }

    private func request(_ method: String, _ path: String) -> HTTPRequest {
        var headers = [HTTPField("accept", "application/json"), HTTPField("user-agent", "apus")]
        if let authorization { headers.append(HTTPField("authorization", authorization)) }
        var url = access.server + path
        var connectTo: String?
        if let name = access.serverName, let parts = access.serverParts {
            url = "\(parts.scheme)://\(name):\(parts.port)\(parts.path)\(path)"
            connectTo = "\(name):\(parts.port):\(parts.host):\(parts.port)"
            headers.append(HTTPField("host", "\(parts.host):\(parts.port)"))
        }
        var request = HTTPRequest(
            method: method,
            url: url,
            headers: headers,
            connectTimeout: Self.connectTimeout,
            trust: access.trust
        )
        request.connectTo = connectTo
        return request
    }

    /// Nobody becomes a stranger because a file is being replaced.
    private var authorization: String? {
        let now = access.authorization
        return lastAuthorization.withLock { last in
            last = now ?? last
            return last
        }
    }

    /// For messages: without the query, which holds tokens of pages.
    private static func name(_ method: String, _ path: String) -> String {
        "\(method) \(path.prefix { $0 != "?" })"
    }
}

/// Builds the query of an address.
struct Query {
    private(set) var text = ""

    mutating func add(_ name: String, _ value: String?) {
        guard let value else { return }
        text += (text.isEmpty ? "?" : "&") + name + "=" + Self.escaped(value)
    }

    /// Everything but RFC 3986's unreserved bytes in percent-encoding.
    static func escaped(_ text: String) -> String {
        var bytes: [UInt8] = []
        for byte in text.utf8 {
            switch byte {
            case 0x30...0x39, 0x41...0x5A, 0x61...0x7A, 0x2D, 0x2E, 0x5F, 0x7E: bytes.append(byte)
            default: bytes += "%\(Hex.encode([byte]))".utf8
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
