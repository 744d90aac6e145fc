package import Bytes

/// `anthropic-parser`: Anthropic's Messages API.
package struct AnthropicParser: RequestParser {
    package init() {}

    package var claims: [String] { InferenceAPI.messages.pathSuffixes }

    package func parse(_ body: borrowing ByteBuffer, path: String) throws(InferenceError) -> InferenceRequest? {
        guard InferenceAPI.matching(path: path) == .messages else {
            throw InferenceError(message: "unsupported API endpoint: \(path)")
        }
        return try InferenceRequest.read(body, api: .messages)
    }
}
