package import Bytes

/// `passthrough-parser`: reads no request, whatever its path.
package struct PassthroughParser: RequestParser {
    package init() {}

    package var claims: [String] { [] }

    package func parse(_ body: borrowing ByteBuffer, path: String) -> InferenceRequest? { nil }
}
