package import Bytes
package import Inference
internal import Pool

/// vLLM's MooncakeConnector: the decode endpoint is told the prefill engine's id, which that is asked for first, and claims the transfer there.
///
/// A restarted engine has another id, so it is asked for with every attempt. As with NIXL, a transfer is one sequence's.
package struct MooncakeConnector: Connector {
    package let order = LegOrder.concurrent

    package init() {}

    package func suitability(of request: InferenceRequest, in body: SharedBytes) -> Suitability {
        RequestShape.objection(to: request, in: body)
            ?? RequestShape.severalSequences(request, in: body).map { .decodeAlone($0) } ?? .suitable
    }

    package func inquiry(_ leg: LegContext) -> SideRequest? {
        SideRequest(method: "GET", port: leg.ports.bootstrap, path: "/query")
    }

    /// `{"<rank>":{"engine_id":"…"}}`, one member for each data-parallel engine.
    package func readInquiry(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> PeerIdentity {
        do {
            try Self.anyReader.read(answer) { _ in }
        } catch {
            throw BadAnswer("the answer is no JSON object: \(error)")
        }
        var engines: [PeerIdentity] = []
        var isGood = true
        JSONParts.forEachMember(of: answer) { part in
            let rank = JSONParts.string(part.keyRange, in: answer).flatMap { Int($0) }
            let id = JSONParts.member("engine_id", of: answer, from: part.valueRange.lowerBound)
                .flatMap { JSONParts.string($0.valueRange, in: answer) }
            isGood = rank.map { (0..<Self.maxRanks).contains($0) } == true && id?.isEmpty == false
            if let rank, let id, isGood { engines.append(PeerIdentity(engineID: id, rank: rank)) }
            return isGood && engines.count < Self.maxRanks
        }
        guard isGood, !engines.isEmpty else { throw BadAnswer("the answer names no engine") }
        return engines[Int(leg.attemptID % UInt64(engines.count))]
    }

    package func editPrefill(_ leg: LegContext, _ edits: inout BodyEdits) {
        LegBodies.reduceToPrompt(leg.request, &edits)
        LegBodies.setTransfer(
            #"{"do_remote_decode":true,"do_remote_prefill":false,"transfer_id":\#(transferID(leg))}"#,
            leg.request,
            &edits
        )
    }

    package func prefillHeaders(_ leg: LegContext) -> [(name: String, value: String)] {
        leg.peer.map { [("X-data-parallel-rank", "\($0.rank)")] } ?? []
    }

    package func readPrefill(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> Handover {
        Handover(cachedTokens: try EngineAnswer(reading: answer).cachedTokens)
    }

    package func editDecode(_ leg: LegContext, _ handover: Handover?, _ edits: inout BodyEdits) {
        let host = LegBodies.urlHost(leg.prefill?.address ?? "")
        let address = LegBodies.quoted("http://\(host):\(leg.ports.bootstrap)")
        let engine = LegBodies.quoted(leg.peer?.engineID ?? "")
        LegBodies.setTransfer(
            #"{"do_remote_decode":false,"do_remote_prefill":true,"remote_bootstrap_addr":\#(address),"#
                + #""remote_engine_id":\#(engine),"transfer_id":\#(transferID(leg))}"#,
            leg.request,
            &edits
        )
    }

    private static let maxRanks = 1024
    private static let anyReader = JSONReader(names: ["0"])

    private func transferID(_ leg: LegContext) -> String {
        LegBodies.quoted(LegBodies.identifier(leg.attemptID, prefix: "xfer-"))
    }
}
