package import Bytes

/// A parser plugin: reads the requests of some paths.
package protocol RequestParser: Sendable {
    /// How the paths end whose requests are this parser's to read; none: it takes whatever nobody else claims.
    var claims: [String] { get }
    /// Whether `application/grpc` responses tell usage as vLLM's engine does.
    var readsGRPCUsage: Bool { get }

    /// Reads a whole body.
    ///
    /// - Parameter path: the request's path, without a query; also one that the parser does not claim, when it is the only one.
    /// - Returns: nil when bodies are passed on unread.
    func parse(_ body: borrowing ByteBuffer, path: String) throws(InferenceError) -> InferenceRequest?
}

extension RequestParser {
    package var readsGRPCUsage: Bool { false }
}

/// The configured parsers, and which of them reads a request.
///
/// One parser reads everything, as the Gateway API Inference Extension's one did. Of several, the one with the longest claim that ends the
/// path does; a request that nobody claims goes to the first that claims nothing.
package struct ParserSelection: Sendable {
    private let claims: PathEndings<any RequestParser>
    private let fallback: (any RequestParser)?
    /// How the usage of an `application/grpc` response is to be read.
    package let readsGRPCUsage: Bool

    /// What is configured when nothing is said.
    package static let defaultTypes = ["openai-parser", "anthropic-parser", "vllmhttp-parser", "passthrough-parser"]
    package static let `default` = ParserSelection(types: defaultTypes)

    /// A request without any path is taken for this one's.
    private static let defaultPath = "/v1/completions"

    package init(_ parsers: [any RequestParser]) {
        claims = PathEndings(parsers.count < 2 ? [] : Self.claims(of: parsers))
        fallback = parsers.count < 2 ? parsers.first : parsers.first { $0.claims.isEmpty }
        readsGRPCUsage = parsers.contains { $0.readsGRPCUsage }
    }

    /// The parsers of these plugin types; unknown types are left out.
    package init(types: [String]) {
        self.init(types.compactMap { Self.parser(ofType: $0) })
    }

    package static func parser(ofType type: String) -> (any RequestParser)? {
        switch type {
        case "openai-parser": OpenAIParser()
        case "anthropic-parser": AnthropicParser()
        case "vllmhttp-parser": VLLMHTTPParser()
        case "vllmgrpc-parser": VLLMGRPCParser()
        case "passthrough-parser": PassthroughParser()
        default: nil
        }
    }

    private static func claims(of parsers: [any RequestParser]) -> [(text: String, value: any RequestParser)] {
        // Who stands behind a parser that takes everything is not asked.
        let asked = parsers.prefix { !$0.claims.isEmpty }
        return asked.flatMap { parser in parser.claims.map { (text: $0, value: parser) } }
    }

    /// Reads a body with the parser that the path, which may have a query, calls for.
    package func parse(
        _ body: borrowing ByteBuffer,
        path: String?
    ) throws(InferenceError) -> InferenceRequest? {
        let path = PathEndings<Void>.bare(path.flatMap { $0.isEmpty ? nil : $0 } ?? Self.defaultPath)
        guard let parser = claims.value(for: path) ?? fallback else {
            throw InferenceError(message: "no parser registered matching path suffix for: \(path)")
        }
        return try parser.parse(body, path: path)
    }
}
