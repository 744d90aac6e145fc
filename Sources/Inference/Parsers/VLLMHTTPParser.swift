package import Bytes

/// `vllmhttp-parser`: vLLM's `/inference/v1/generate`, whose prompt is a list of token ids. What is no such path is read as OpenAI's, so
/// that one parser can serve a vLLM server alone.
package struct VLLMHTTPParser: RequestParser {
    package init() {}

    package var claims: [String] { InferenceAPI.generate.pathSuffixes }

    package func parse(_ body: borrowing ByteBuffer, path: String) throws(InferenceError) -> InferenceRequest? {
        guard InferenceAPI.matching(path: path) == .generate else { return try OpenAIParser().parse(body, path: path) }
        return try InferenceRequest.read(body, api: .generate)
    }
}
