package import Bytes
package import Inference
internal import Pool

/// vLLM's OffloadingConnector with its peer-to-peer tier: the decode endpoint fetches blocks out of the prefill endpoint's main memory.
///
/// It may do so while they are computed, but waits for them only a short time and then computes the prompt itself. So the prefill goes first.
package struct OffloadingConnector: Connector {
    package let order = LegOrder.serial

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
        let cachedTokens = try EngineAnswer(reading: answer).cachedTokens
        let host = LegBodies.quoted(leg.prefill?.address ?? "")
        let port = leg.ports.p2p + (leg.peer?.rank ?? 0)
        let parameters =
            #"{"remote_prefiller":{"kv_request_id":\#(requestID(leg)),"remote_host":\#(host),"remote_port":\#(port)}}"#
        return Handover(parameters: Array(parameters.utf8), cachedTokens: cachedTokens)
    }

    package func editDecode(_ leg: LegContext, _ handover: Handover?, _ edits: inout BodyEdits) {
        guard let handover else { return }
        LegBodies.setTransfer(.kvTransferParams, to: handover.parameters, leg.request, &edits)
    }

    private func requestID(_ leg: LegContext) -> String {
        LegBodies.quoted(LegBodies.identifier(leg.attemptID))
    }
}
