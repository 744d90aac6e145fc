package import Bytes
package import Inference

/// TensorRT-LLM: the context server answers with `disaggregated_params`, which the generation server gets back with another `request_type`.
///
/// The prompt's token ids go along where the context server told them, so that it is tokenized once. `max_completion_tokens` is the same
/// member to these servers as `max_tokens` and comes first, so its value moves there. Requests for several sequences, and APIs that have no
/// such parameters, are left to the generation server alone.
///
/// The context server keeps a prompt's cache until a generation server has fetched it, or its own timeout of a minute or more is over: it heeds
/// no hanging up. So what it computed is fetched in any case.
package struct TRTLLMConnector: Connector {
    package let order = LegOrder.serial

    package init() {}

    package func suitability(of request: InferenceRequest, in body: SharedBytes) -> Suitability {
        if let objection = RequestShape.objection(to: request, in: body) { return objection }
        switch request.api {
        case .completions, .chatCompletions, .responses: break
        default: return .decodeAlone("TensorRT-LLM splits completions, chat completions and responses only")
        }
        return RequestShape.severalSequences(request, in: body).map { .decodeAlone($0) } ?? .suitable
    }

    package func editPrefill(_ leg: LegContext, _ edits: inout BodyEdits) {
        LegBodies.reduceToPrompt(leg.request, &edits)
        edits.remove(.maxCompletionTokens, in: leg.request)
        let parameters = #"{"request_type":"context_only","disagg_request_id":\#(Self.snowflake(leg.attemptID))}"#
        edits.set(.disaggregatedParams, to: parameters.utf8, in: leg.request)
    }

    package func readPrefill(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> Handover {
        let read = try EngineAnswer(reading: answer)
        // The text ended with the first token, so there is nothing to generate.
        if let reason = read.finishReason, reason != "length", reason != "not_finished" {
            // What is for the other server is nothing for the client.
            let answer = Self.removing("disaggregated_params", of: answer, firstOf: read)
            return Handover(cachedTokens: read.cachedTokens, isFinal: true, answer: answer)
        }
        let parameters = answer.extracting(try Self.parameters(in: read, answer))
        if let problem = Self.problem(in: parameters) { throw BadAnswer("disaggregated_params: \(problem)") }
        var extras: [(name: String, value: [UInt8])] = []
        if let tokens = read[.promptTokenIDs], tokens.kind != .null {
            guard HandedOver.isNumberList(tokens, in: answer) else {
                throw BadAnswer("prompt_token_ids is no list of numbers")
            }
            extras.append(("prompt_token_ids", answer.extracting(tokens.valueRange).copied()))
        }
        return Handover(parameters: parameters.copied(), extras: extras, cachedTokens: read.cachedTokens)
    }

    package func editDecode(_ leg: LegContext, _ handover: Handover?, _ edits: inout BodyEdits) {
        guard let handover, !handover.parameters.isEmpty else { return }
        let request = leg.request
        edits.set(.disaggregatedParams, to: Self.forGeneration(handover.parameters), in: request)
        if let tokens = handover.extras.first(where: { $0.name == "prompt_token_ids" }) {
            edits.set(request.api == .completions ? .prompt : .promptTokenIDs, to: tokens.value, in: request)
        }
        if let limit = request.members[.maxCompletionTokens] {
            if limit.kind != .null {
                edits.set(.maxTokens, to: leg.body.bytes.extracting(limit.valueRange).copied(), in: request)
            }
            edits.remove(.maxCompletionTokens, in: request)
        }
    }

    package let mustBeFetched = true

    /// One token suffices.
    package func editFetch(_ leg: LegContext, _ handover: Handover, _ edits: inout BodyEdits) {
        editDecode(leg, handover, &edits)
        LegBodies.reduceToPrompt(leg.request, &edits)
        edits.remove(.maxCompletionTokens, in: leg.request)
    }

    /// Below 2^42 the servers take an id for one that they gave out themselves.
    static func snowflake(_ attemptID: UInt64) -> UInt64 {
        let id = attemptID & (1 << 63 - 1)
        return id < 1 << 42 ? id | 1 << 42 : id
    }

    // MARK: Parameters

    private static let reader = JSONReader(names: ["request_type", "ctx_request_id", "disagg_request_id"])

    /// At the top, or else in the first choice.
    private static func parameters(in read: EngineAnswer, _ answer: RawSpan) throws(BadAnswer) -> Range<Int> {
        let name = "disaggregated_params"
        if let member = read[.disaggregatedParams], member.kind != .null {
            return try HandedOver.object(member, name, in: answer)
        }
        guard let choice = read.firstChoice,
            let range = JSONParts.member(name, of: answer, from: choice.lowerBound)?.valueRange,
            answer[range.lowerBound] == UInt8(ascii: "{")
        else { throw BadAnswer("\(name) is missing") }
        return try HandedOver.checked(range, name, in: answer)
    }

    private static func problem(in parameters: RawSpan) -> String? {
        let found = try? reader.read(parameters) { found in [found[0], found[1], found[2]] }
        guard let found else { return "no JSON object" }
        if found.contains(where: { ($0?.occurrences ?? 0) > 1 }) { return "a member is there twice" }
        if found[1]?.kind != .number, found[2]?.kind != .number { return "no id of the request" }
        return nil
    }

    /// The answer without that member, at its top and in its choices.
    private static func removing(_ name: String, of answer: RawSpan, firstOf read: EngineAnswer) -> [UInt8] {
        var cuts = JSONParts.places(of: name, in: answer, from: 0)
        if let choices = read[.choices], choices.kind == .array {
            JSONParts.forEachElement(of: answer, from: choices.valueRange.lowerBound) { choice in
                cuts += JSONParts.places(of: name, in: answer, from: choice.lowerBound)
                return true
            }
        }
        var kept: [UInt8] = []
        var start = 0
        for cut in cuts.sorted(by: { $0.lowerBound < $1.lowerBound }) where cut.lowerBound >= start {
            kept += answer.extracting(start..<cut.lowerBound).copied()
            start = cut.upperBound
        }
        return kept + answer.extracting(start..<answer.byteCount).copied()
    }

    /// The parameters with the request type of the decode; every other byte stays.
    static func forGeneration(_ parameters: [UInt8]) -> [UInt8] {
        let type = Array(#""generation_only""#.utf8)
        guard let brace = parameters.firstIndex(of: UInt8(ascii: "{")) else { return parameters }
        let place = parameters.withRawSpan { JSONParts.member("request_type", of: $0)?.valueRange }
        if let place { return parameters[..<place.lowerBound] + type + parameters[place.upperBound...] }
        let isEmpty = parameters[(brace + 1)...].first { !ASCII.isWhitespace($0) } == UInt8(ascii: "}")
        return parameters[...brace] + Array(#""request_type":"#.utf8) + type + (isEmpty ? [] : [UInt8(ascii: ",")])
            + parameters[(brace + 1)...]
    }
}
