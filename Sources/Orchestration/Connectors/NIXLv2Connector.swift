package import Bytes
package import Inference

/// vLLM's NixlConnector: the prefill endpoint answers with where its blocks are, the decode endpoint pulls them.
///
/// The parameters are good for one sequence, so requests for several (`n`, `best_of`, a list of prompts) are left to the decode endpoint alone:
/// the engine answers for the first sequence only and frees the blocks after one reading.
package struct NIXLv2Connector: Connector {
    package let order = LegOrder.serial

    package init() {}

    package func suitability(of request: InferenceRequest, in body: SharedBytes) -> Suitability {
        RequestShape.objection(to: request, in: body)
            ?? RequestShape.severalSequences(request, in: body).map { .decodeAlone($0) } ?? .suitable
    }

    package func editPrefill(_ leg: LegContext, _ edits: inout BodyEdits) {
        LegBodies.reduceToPrompt(leg.request, &edits)
        LegBodies.setTransfer(Self.prefillParameters, leg.request, &edits)
    }

    package func readPrefill(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> Handover {
        let read = try EngineAnswer(reading: answer)
        let range = try HandedOver.object(read[.kvTransferParams], "kv_transfer_params", in: answer)
        let parameters = answer.extracting(range)
        if let problem = Self.problem(in: parameters) { throw BadAnswer("kv_transfer_params: \(problem)") }
        return Handover(parameters: parameters.copied(), cachedTokens: read.cachedTokens)
    }

    package func editDecode(_ leg: LegContext, _ handover: Handover?, _ edits: inout BodyEdits) {
        guard let handover else { return }
        LegBodies.setTransfer(.kvTransferParams, to: handover.parameters, leg.request, &edits)
    }

    private static let prefillParameters = """
        {"do_remote_decode":true,"do_remote_prefill":false,"remote_engine_id":null,"remote_block_ids":null,\
        "remote_host":null,"remote_port":null}
        """

    // MARK: What a decode endpoint would hang or die of

    private enum Name: Int, CaseIterable { case prefill, blocks, engine, host, port, request }

    private static let reader = JSONReader(names: [
        "do_remote_prefill", "remote_block_ids", "remote_engine_id", "remote_host", "remote_port", "remote_request_id",
    ])

    private static func problem(in parameters: RawSpan) -> String? {
        let found = try? reader.read(parameters) { found in Name.allCases.map { found[$0.rawValue] } }
        guard let found else { return "no JSON object" }
        if found.contains(where: { ($0?.occurrences ?? 0) > 1 }) { return "a member is there twice" }
        func isText(_ name: Name) -> Bool {
            found[name.rawValue].map { $0.kind == .string && !$0.contentRange.isEmpty } == true
        }
        guard found[Name.prefill.rawValue]?.kind == .true else { return "do_remote_prefill is not true" }
        guard let blocks = found[Name.blocks.rawValue], HandedOver.isNumberList(blocks, in: parameters) else {
            return "remote_block_ids is no list of numbers"
        }
        guard isText(.engine) else { return "remote_engine_id is no text" }
        guard isText(.host) else { return "remote_host is no text" }
        guard let port = found[Name.port.rawValue].flatMap({ JSONValue.count($0, in: parameters) }),
            (1...65_535).contains(port)
        else { return "remote_port is no port" }
        // Older engines do not have it.
        guard found[Name.request.rawValue] == nil || isText(.request) else { return "remote_request_id is no text" }
        return nil
    }
}
