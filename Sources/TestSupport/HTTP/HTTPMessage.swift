/// Header fields in order, repeated ones kept apart.
package typealias HTTPFields = [(name: String, value: String)]

/// A request as a test wants it on the wire, byte for byte.
package struct TestRequest: Sendable {
    package enum Body: Sendable {
        case none
        /// With `content-length`.
        case fixed([UInt8])
        /// One chunk each, then the trailers.
        case chunked([[UInt8]], trailers: HTTPFields = [])
    }

    package var method: String
    package var path: String
    package var headers: HTTPFields
    package var body: Body

    package init(_ method: String, _ path: String, headers: HTTPFields = [], body: Body = .none) {
        self.method = method
        self.path = path
        self.headers = headers
        self.body = body
    }

    /// `POST` of a JSON text.
    package static func post(_ path: String, json: String, headers: HTTPFields = []) -> TestRequest {
        TestRequest(
            "POST",
            path,
            headers: [("content-type", "application/json")] + headers,
            body: .fixed(Array(json.utf8))
        )
    }

    /// The head, with `host` unless the request has one.
    func head(port: Int) -> [UInt8] {
        var text = "\(method) \(path) HTTP/1.1\r\n"
        if !headers.contains(where: { $0.name.lowercased() == "host" }) { text += "host: 127.0.0.1:\(port)\r\n" }
        for (name, value) in headers { text += "\(name): \(value)\r\n" }
        switch body {
        case .none: break
        case .fixed(let bytes): text += "content-length: \(bytes.count)\r\n"
        case .chunked: text += "transfer-encoding: chunked\r\n"
        }
        return Array((text + "\r\n").utf8)
    }

    /// The body in the pieces that are sent one by one.
    var pieces: [[UInt8]] {
        switch body {
        case .none: []
        case .fixed(let bytes): [bytes]
        case .chunked(let chunks, let trailers):
            chunks.map { Array("\(String($0.count, radix: 16))\r\n".utf8) + $0 + Array("\r\n".utf8) }
                + [Array(("0\r\n" + trailers.map { "\($0.name): \($0.value)\r\n" }.joined() + "\r\n").utf8)]
        }
    }
}

/// A whole response.
package struct TestResponse: Sendable {
    package var status: Int
    package var headers: HTTPFields
    package var body: [UInt8]
    package var trailers: HTTPFields

    /// The body as text.
    package var text: String { String(decoding: body, as: UTF8.self) }

    /// The first value of a field, whatever the case of its name.
    package subscript(_ name: String) -> String? { headers.first(name) }
}

extension HTTPFields {
    package func first(_ name: String) -> String? {
        first { $0.name.lowercased() == name.lowercased() }?.value
    }

    package func all(_ name: String) -> [String] {
        filter { $0.name.lowercased() == name.lowercased() }.map(\.value)
    }
}
