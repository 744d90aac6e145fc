package import Bytes
package import Inference
internal import Pool

/// vLLM's OffloadingConnector with its peer-to-peer tier: the decode endpoint fetches blocks out of the prefill endpoint's main memory while
/// that computes them.
package struct OffloadingConnector: Connector {
    package let order = LegOrder.concurrent

    package init() {}

    package func suitability(of request: InferenceRequest, in body: SharedBytes) -> Suitability {
        RequestShape.objection(to: request, in: body)
            ?? RequestShape.severalSequences(request, in: body).map { .decodeAlone($0) } ?? .suitable
    }

    package func editPrefill(_ leg: LegContext, _ edits: inout BodyEdits) {
        LegBodies.reduceToPrompt(leg.request, &edits)
        LegBodies.setTransfer(
            #"{"remote_decoder":{"kv_request_id":\#(requestID(leg))}}"#,
            leg.request,
            &edits
        )
    }

    package func readPrefill(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> Handover {
        Handover(cachedTokens: try EngineAnswer(reading: answer).cachedTokens)
    }

    package func editDecode(_ leg: LegContext, _ handover: Handover?, _ edits: inout BodyEdits) {
        let host = LegBodies.quoted(leg.prefill?.address ?? "")
        let port = leg.ports.p2p + (leg.peer?.rank ?? 0)
        LegBodies.setTransfer(
            #"{"remote_prefiller":{"kv_request_id":\#(requestID(leg)),"remote_host":\#(host),"remote_port":\#(port)}}"#,
            leg.request,
            &edits
        )
    }

    private func requestID(_ leg: LegContext) -> String {
        LegBodies.quoted(LegBodies.identifier(leg.attemptID))
    }
}
