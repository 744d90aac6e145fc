/// The frames that Envoy sends to an external processor, as bytes.
package struct EnvoyFrame {
    /// `BodySendMode`.
    package enum Mode: UInt64, CaseIterable {
        case none = 0
        case streamed = 1
        case buffered = 2
        case bufferedPartial = 3
        case fullDuplexStreamed = 4
        case grpc = 5
    }

    package var bytes: [UInt8]

    package init(bytes: [UInt8]) {
        self.bytes = bytes
    }

    package static func requestHeaders(_ headers: [(String, String)], endOfStream: Bool = false) -> EnvoyFrame {
        headersFrame(2, headers, endOfStream)
    }

    package static func responseHeaders(_ headers: [(String, String)], endOfStream: Bool = false) -> EnvoyFrame {
        headersFrame(3, headers, endOfStream)
    }

    package static func requestBody(_ body: some Collection<UInt8>, endOfStream: Bool = false) -> EnvoyFrame {
        bodyFrame(4, body, endOfStream)
    }

    package static func requestBody(_ body: String, endOfStream: Bool = false) -> EnvoyFrame {
        bodyFrame(4, Array(body.utf8), endOfStream)
    }

    package static func responseBody(_ body: some Collection<UInt8>, endOfStream: Bool = false) -> EnvoyFrame {
        bodyFrame(5, body, endOfStream)
    }

    package static func responseBody(_ body: String, endOfStream: Bool = false) -> EnvoyFrame {
        bodyFrame(5, Array(body.utf8), endOfStream)
    }

    package static func requestTrailers(_ trailers: [(String, String)] = []) -> EnvoyFrame {
        trailersFrame(6, trailers)
    }

    package static func responseTrailers(_ trailers: [(String, String)] = []) -> EnvoyFrame {
        trailersFrame(7, trailers)
    }

    /// The frame with `protocol_config`, which Envoy puts on the first of a stream.
    package func with(request: Mode, response: Mode = .fullDuplexStreamed) -> EnvoyFrame {
        appending { writer in
            writer.message(11) { configuration in
                configuration.varint(1, request.rawValue)
                configuration.varint(2, response.rawValue)
            }
        }
    }

    /// The frame with a list of strings in its filter metadata.
    package func with(metadata namespace: String, _ key: String, _ values: [String]) -> EnvoyFrame {
        appending { writer in
            writer.message(8) { metadata in
                metadata.message(1) { entry in
                    entry.text(1, namespace)
                    entry.message(2) { level in
                        level.message(1) { field in
                            field.text(1, key)
                            field.message(2) { value in
                                value.message(6) { list in
                                    for item in values { list.message(1) { $0.text(3, item) } }
                                }
                            }
                        }
                    }
                }
            }
        }
    }

    /// The frame with the endpoints to which a gateway limits the request.
    package func with(subset: [String]) -> EnvoyFrame {
        with(metadata: "envoy.lb.subset_hint", "x-gateway-destination-endpoint-subset", subset)
    }

    package var asObservation: EnvoyFrame {
        appending { $0.flag(10, true) }
    }

    package func appending(_ write: (inout ProtobufWriter) -> Void) -> EnvoyFrame {
        var writer = ProtobufWriter()
        writer.bytes = bytes
        write(&writer)
        return EnvoyFrame(bytes: writer.bytes)
    }

    private static func headersFrame(_ field: Int, _ headers: [(String, String)], _ endOfStream: Bool) -> EnvoyFrame {
        EnvoyFrame(bytes: []).appending { writer in
            writer.message(field) { message in
                message.message(1) { write(headers, into: &$0) }
                message.flag(3, endOfStream)
            }
        }
    }

    private static func trailersFrame(_ field: Int, _ trailers: [(String, String)]) -> EnvoyFrame {
        EnvoyFrame(bytes: []).appending { writer in
            writer.message(field) { message in
                message.message(1) { write(trailers, into: &$0) }
            }
        }
    }

    private static func write(_ headers: [(String, String)], into map: inout ProtobufWriter) {
        for (name, value) in headers {
            map.message(1) { header in
                header.text(1, name)
                header.text(3, value)
            }
        }
    }

    private static func bodyFrame(_ field: Int, _ body: some Collection<UInt8>, _ endOfStream: Bool) -> EnvoyFrame {
        EnvoyFrame(bytes: []).appending { writer in
            writer.message(field) { message in
                if !body.isEmpty { message.bytes(1, body) }
                message.flag(2, endOfStream)
            }
        }
    }
}

/// A processor's reply, as Envoy would read it.
package struct EnvoyReply: Equatable, CustomStringConvertible {
    package enum Kind: Int {
        case requestHeaders = 1
        case responseHeaders = 2
        case requestBody = 3
        case responseBody = 4
        case requestTrailers = 5
        case responseTrailers = 6
        case immediate = 7
    }

    package enum Body: Equatable {
        case unchanged
        case replaced([UInt8])
        case streamed([UInt8], endOfStream: Bool)
    }

    package var kind: Kind
    /// Headers to set, sorted by name: the order within a reply means nothing.
    package var set: [String] = []
    package var removed: [String] = []
    package var clearsRouteCache = false
    package var body = Body.unchanged
    /// The dynamic metadata as `namespace/key=value`.
    package var metadata: [String] = []
    /// The body modes and the response trailers' mode that the reply asks for from here on; nil when it asks for none.
    package var modeOverride: [UInt64]?
    /// Of an immediate response.
    package var status: Int?

    package init(_ kind: Kind) {
        self.kind = kind
    }

    package init?(decoding bytes: [UInt8]) {
        guard let message = ProtobufFields(bytes) else { return nil }
        let members = message.fields.compactMap { Kind(rawValue: $0.number) }
        guard let kind = members.first, members.count == 1, let content = message.message(kind.rawValue) else {
            return nil
        }
        self.init(kind)
        switch kind {
        case .requestHeaders, .responseHeaders, .requestBody, .responseBody:
            if let common = content.message(1) { read(common: common) }
        case .requestTrailers, .responseTrailers:
            read(mutation: content.message(1))
        case .immediate:
            status = (content.message(1)?.number(1)).map(Int.init)
            read(mutation: content.message(2))
            body = .replaced(content.bytes(3) ?? [])
        }
        modeOverride = message.message(9).map { mode in [3, 4, 6].map { mode.number($0) ?? 0 } }
        for entry in message.message(8)?.all(1) ?? [] {
            guard let entry = ProtobufFields(entry), let namespace = entry.text(1) else { return nil }
            for field in entry.message(2)?.message(5)?.all(1) ?? [] {
                guard let field = ProtobufFields(field), let key = field.text(1), let value = field.message(2)?.text(3)
                else { return nil }
                metadata.append("\(namespace)/\(key)=\(value)")
            }
        }
    }

    private mutating func read(common: ProtobufFields) {
        read(mutation: common.message(2))
        clearsRouteCache = common.number(5) == 1
        guard let mutation = common.message(3) else { return }
        if let replaced = mutation.bytes(1) { body = .replaced(replaced) }
        if let chunk = mutation.message(3) {
            body = .streamed(chunk.bytes(1) ?? [], endOfStream: chunk.number(2) == 1)
        }
    }

    private mutating func read(mutation: ProtobufFields?) {
        guard let mutation else { return }
        for option in mutation.all(1) {
            guard let header = ProtobufFields(option)?.message(1), let name = header.text(1) else { continue }
            // Envoy reads raw_value; value is ignored beside it.
            set.append("\(name): \(header.text(3) ?? header.text(2) ?? "")")
        }
        set.sort()
        removed = mutation.all(2).map { String(decoding: $0, as: UTF8.self) }.sorted()
    }

    /// The text of an immediate response's body, or of whatever body the reply carries.
    package var bodyText: String {
        switch body {
        case .unchanged: ""
        case .replaced(let bytes), .streamed(let bytes, _): String(decoding: bytes, as: UTF8.self)
        }
    }

    /// The value of a header that the reply sets.
    package func header(_ name: String) -> String? {
        set.first { $0.hasPrefix(name + ": ") }.map { String($0.dropFirst(name.count + 2)) }
    }

    package var description: String {
        var parts = ["\(kind)"]
        if let status { parts.append("status \(status)") }
        if !set.isEmpty { parts.append("set \(set)") }
        if !removed.isEmpty { parts.append("removed \(removed)") }
        if clearsRouteCache { parts.append("clears the route cache") }
        switch body {
        case .unchanged: break
        case .replaced: parts.append("body \(bodyText.prefix(300))")
        case .streamed(_, let end): parts.append("chunk \(bodyText.prefix(300))\(end ? ", the last" : "")")
        }
        if !metadata.isEmpty { parts.append("metadata \(metadata)") }
        if let modeOverride { parts.append("modes \(modeOverride)") }
        return parts.joined(separator: "; ")
    }
}
