package import Bytes
package import Inference

/// vLLM's ECExampleConnector: encoders put what they compute into a storage that all endpoints reach, so their answers tell nothing.
package struct ECExampleConnector: EncodeConnector {
    package init() {}

    package func items(of request: InferenceRequest, in body: SharedBytes) -> [EncodeItem] {
        MediaParts.find(in: request, body)
    }

    package func body(of item: EncodeItem, _ leg: LegContext) -> PiecedBytes {
        EncodeBodies.primer(of: item, leg)
    }

    package func read(_ answer: RawSpan) throws(BadAnswer) -> [(hash: String, value: [UInt8])] {
        _ = try EngineAnswer(reading: answer)
        return []
    }

    package func edit(_ leg: LegContext, with results: [(hash: String, value: [UInt8])], _ edits: inout BodyEdits) {
        edits.set(.cacheHitThreshold, to: "0".utf8, in: leg.request)
    }
}
