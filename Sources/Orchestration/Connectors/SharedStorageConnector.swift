package import Bytes
package import Inference

/// Engines that find each other's blocks in a storage both reach: the legs need to know nothing of each other.
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

    package func editOwnDecode(_ leg: LegContext, _ edits: inout BodyEdits) {
        serveWhateverIsCached(leg, &edits)
    }

    /// A client's threshold asks the engine to send the request back when too little of it is cached; the legs are past that question.
    private func serveWhateverIsCached(_ leg: LegContext, _ edits: inout BodyEdits) {
        edits.replace(.cacheHitThreshold, with: "0".utf8, in: leg.request)
    }
}
