package import Bytes

/// `openai-parser`: OpenAI's APIs as model servers speak them.
package struct OpenAIParser: RequestParser {
    private static let apis: [InferenceAPI] = [
        .completions, .chatCompletions, .responses, .conversations, .embeddings, .imageGenerations, .speech,
    ]

    package init() {}

    package var claims: [String] { Self.apis.flatMap(\.pathSuffixes) }

    /// A path of no API is read as completions, as the reference does.
    package func parse(_ body: borrowing ByteBuffer, path: String) throws(InferenceError) -> InferenceRequest? {
        let api = InferenceAPI.matching(path: path).flatMap { Self.apis.contains($0) ? $0 : nil }
        return try InferenceRequest.read(body, api: api ?? .completions)
    }
}
