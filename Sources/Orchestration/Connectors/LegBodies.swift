internal import Bytes
internal import Inference

/// What the bodies of several connectors' legs have in common.
enum LegBodies {
    /// Makes a request compute its prompt and one token, which is answered as one document.
    ///
    /// Limits of both names are set, as the engines behind this take either: those that know one of them only ignore the other. A body without
    /// `min_tokens` is what the engines want whose first token ends the text.
    static func reduceToPrompt(_ request: InferenceRequest, _ edits: inout BodyEdits) {
        edits.set(.stream, to: "false".utf8, in: request)
        edits.remove(.streamOptions, in: request)
        switch request.api {
        case .generate:
            edits.set(.samplingParams, "max_tokens", to: one, in: request)
            edits.remove(.samplingParams, "min_tokens", in: request)
            edits.replace(.samplingParams, "n", with: one, in: request)
            edits.replace(.samplingParams, "best_of", with: one, in: request)
        case .responses:
            edits.set(.maxOutputTokens, to: one, in: request)
            // The answer is wanted now, and nobody will ask for it again.
            edits.replace(.background, with: "false".utf8, in: request)
            edits.replace(.store, with: "false".utf8, in: request)
        default:
            edits.set(.maxTokens, to: one, in: request)
            edits.set(.maxCompletionTokens, to: one, in: request)
        }
        edits.remove(.minTokens, in: request)
        edits.replace(.n, with: one, in: request)
        edits.replace(.bestOf, with: one, in: request)
    }

    /// Sets what engines read transfer parameters from: a member of the body, or of the sampling parameters in the token-in API.
    static func setTransfer(
        _ name: RequestMembers.Name,
        to value: [UInt8],
        _ request: InferenceRequest,
        _ edits: inout BodyEdits
    ) {
        if request.api == .generate {
            edits.set(.samplingParams, "extra_args", "\(name.text)", to: value, in: request)
        } else {
            edits.set(name, to: value, in: request)
        }
    }

    /// Sets `kv_transfer_params` to a text.
    static func setTransfer(_ value: String, _ request: InferenceRequest, _ edits: inout BodyEdits) {
        setTransfer(.kvTransferParams, to: Array(value.utf8), request, &edits)
    }

    /// What two engines know a transfer by: one text per attempt, all of one length, so that none begins with another.
    static func identifier(_ attemptID: UInt64, prefix: String = "apus-") -> String {
        prefix + Hex.encode((0..<8).reversed().map { UInt8(truncatingIfNeeded: attemptID >> ($0 * 8)) })
    }

    /// A text as JSON.
    static func quoted(_ text: String) -> String {
        String(decoding: JSONValue.quoted(text), as: UTF8.self)
    }

    /// A host as it stands in a URL.
    static func urlHost(_ address: String) -> String {
        address.utf8.contains(UInt8(ascii: ":")) ? "[\(address)]" : address
    }

    private static let one = Array("1".utf8)
}
