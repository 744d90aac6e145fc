internal import Bytes
internal import Inference

/// What a request's body tells of whether its work can be split.
enum RequestShape {
    /// What holds for every engine; nil when nothing speaks against legs.
    static func objection(to request: InferenceRequest, in body: SharedBytes) -> Suitability? {
        guard !request.members.present.isEmpty else { return .decodeAlone("the body is not one that Apus can edit") }
        switch request.api {
        case .completions, .chatCompletions, .responses, .messages: return nil
        case .generate: return objection(toSamplingOf: request, in: body)
        case .conversations, .embeddings, .imageGenerations, .speech:
            return .decodeAlone("requests of this API have no prefill")
        }
    }

    /// Why parameters that are good for one sequence are not enough for the request; nil when they are.
    static func severalSequences(_ request: InferenceRequest, in body: SharedBytes) -> String? {
        if request.choices > 1 { return "n is \(request.choices)" }
        if let best = request.members[.bestOf].flatMap({ JSONValue.count($0, in: body.bytes) }), best > 1 {
            return "best_of is \(best)"
        }
        let prompts = promptCount(of: request, in: body)
        return prompts > 1 ? "there are \(prompts) prompts" : nil
    }

    /// How many prompts a body has; nil when it has one by itself and not a list of them.
    static func batchSize(of request: InferenceRequest, in body: SharedBytes) -> Int? {
        guard request.api == .completions, let prompt = request.members[.prompt], prompt.kind == .array else {
            return nil
        }
        var isList = false
        JSONParts.forEachElement(of: body.bytes, from: prompt.valueRange.lowerBound) { element in
            let first = body.bytes[element.lowerBound]
            // A list of numbers is one prompt of tokens.
            isList = first == UInt8(ascii: "\"") || first == UInt8(ascii: "[")
            return false
        }
        return isList ? prompt.elementCount : nil
    }

    private static func promptCount(of request: InferenceRequest, in body: SharedBytes) -> Int {
        batchSize(of: request, in: body) ?? 1
    }

    private static func objection(toSamplingOf request: InferenceRequest, in body: SharedBytes) -> Suitability? {
        guard let sampling = request.members[.samplingParams], sampling.kind != .null else { return nil }
        guard sampling.kind == .object else { return .refused("sampling_params must be an object") }
        let bytes = body.bytes
        guard let extra = JSONParts.member("extra_args", of: bytes, from: sampling.valueRange.lowerBound)?.valueRange
        else { return nil }
        let isFine = bytes[extra.lowerBound] == UInt8(ascii: "{") || bytes.extracting(extra).isEqual(to: "null")
        return isFine ? nil : .refused("sampling_params.extra_args must be an object")
    }
}
