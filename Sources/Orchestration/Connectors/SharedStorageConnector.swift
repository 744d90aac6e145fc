package import Bytes
package import Inference

/// Engines that find each other's blocks in a storage both reach: the legs need to know nothing of each other.
///
/// A client's `cache_hit_threshold` asks the engine to send the request back (`finish_reason: "cache_threshold"`) when less than that share of
/// its prompt is cached. So an endpoint that decodes is asked first, for one token; only when it wants none of it a prefill is made.
package struct SharedStorageConnector: Connector {
    package let order = LegOrder.serial

    package init() {}

    /// Several answers are fine: each finds the prompt's blocks for itself.
    package func suitability(of request: InferenceRequest, in body: SharedBytes) -> Suitability {
        RequestShape.objection(to: request, in: body) ?? .suitable
    }

    package func editPrefill(_ leg: LegContext, _ edits: inout BodyEdits) {
        LegBodies.reduceToPrompt(leg.request, &edits)
        serveWhateverIsCached(leg, &edits)
    }

    package func readPrefill(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> Handover {
        Handover(cachedTokens: try EngineAnswer(reading: answer).cachedTokens)
    }

    package func editDecode(_ leg: LegContext, _ handover: Handover?, _ edits: inout BodyEdits) {
        serveWhateverIsCached(leg, &edits)
    }

    package func asksDecode(_ leg: LegContext) -> Bool {
        guard let threshold = leg.request.members[.cacheHitThreshold], threshold.kind == .number else { return false }
        // Zero is no threshold, in whatever way it is written.
        let digits = leg.body.bytes.extracting(threshold.valueRange).copied().prefix { $0 | 0x20 != UInt8(ascii: "e") }
        return digits.contains { (UInt8(ascii: "1")...UInt8(ascii: "9")).contains($0) }
    }

    package func editQuestion(_ leg: LegContext, _ edits: inout BodyEdits) {
        LegBodies.reduceToPrompt(leg.request, &edits)
    }

    package func readQuestion(_ answer: RawSpan) throws(BadAnswer) -> Handover? {
        let read = try EngineAnswer(reading: answer)
        return read.finishReason == "cache_threshold" ? nil : Handover(cachedTokens: read.cachedTokens)
    }

    package func editOwnDecode(_ leg: LegContext, _ edits: inout BodyEdits) {
        serveWhateverIsCached(leg, &edits)
    }

    /// A client's threshold asks the engine to send the request back when too little of it is cached; the legs are past that question.
    private func serveWhateverIsCached(_ leg: LegContext, _ edits: inout BodyEdits) {
        edits.replace(.cacheHitThreshold, with: "0".utf8, in: leg.request)
    }
}
