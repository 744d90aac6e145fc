package import Bytes
package import Inference
internal import Pool

/// SGLang: both servers get the client's whole request and meet in a room of the prefill server, which answers only when the transfer is done.
///
/// `rid`, by which a request is aborted, is always ours. SGLang matches its beginning, hence the fixed length. Of a list of prompts each has
/// a room of its own. `n` above 1 is refused: the server would use a room for each answer that nobody gave it, and a decode server can do
/// nothing alone.
package struct SGLangConnector: Connector {
    package let order = LegOrder.concurrent
    package let decodesAlone = false

    package init() {}

    package func suitability(of request: InferenceRequest, in body: SharedBytes) -> Suitability {
        if let objection = RequestShape.objection(to: request, in: body) { return objection }
        guard request.choices == 1 else {
            return .refused("n must be 1 where prefill and decode are separate, not \(request.choices)")
        }
        if let prompts = RequestShape.batchSize(of: request, in: body), prompts > Self.maxPrompts {
            return .refused("at most \(Self.maxPrompts) prompts are allowed where prefill and decode are separate")
        }
        return .suitable
    }

    package func editPrefill(_ leg: LegContext, _ edits: inout BodyEdits) {
        edit(leg, &edits)
    }

    package func readPrefill(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> Handover {
        try EngineAnswer.readEvents(answer)
    }

    package func editDecode(_ leg: LegContext, _ handover: Handover?, _ edits: inout BodyEdits) {
        edit(leg, &edits)
    }

    /// Answered with 200 whether or not the server knows the request, so it may be sent again.
    package func abort(_ leg: LegContext) -> SideRequest? {
        let body = "{\"rid\":\(LegBodies.quoted(LegBodies.identifier(leg.attemptID)))}"
        return SideRequest(method: "POST", path: "/abort_request", body: Array(body.utf8))
    }

    /// The bodies of all rooms are small beside the prompts; this bounds them.
    private static let maxPrompts = 4096

    private func edit(_ leg: LegContext, _ edits: inout BodyEdits) {
        let request = leg.request
        let host = LegBodies.quoted(LegBodies.urlHost(leg.prefill?.address ?? ""))
        let port = "\(leg.ports.bootstrap)"
        edits.set(.rid, to: LegBodies.quoted(LegBodies.identifier(leg.attemptID)).utf8, in: request)
        guard let count = RequestShape.batchSize(of: request, in: leg.body) else {
            edits.set(.bootstrapHost, to: host.utf8, in: request)
            edits.set(.bootstrapPort, to: port.utf8, in: request)
            edits.set(.bootstrapRoom, to: "\(Self.room(leg.attemptID, 0))".utf8, in: request)
            return
        }
        let rooms = (0..<count).map { "\(Self.room(leg.attemptID, $0))" }
        edits.set(.bootstrapHost, to: Self.list(repeatElement(host, count: count)).utf8, in: request)
        edits.set(.bootstrapPort, to: Self.list(repeatElement(port, count: count)).utf8, in: request)
        edits.set(.bootstrapRoom, to: Self.list(rooms).utf8, in: request)
    }

    /// 63 bits: the servers read it as a signed integer.
    private static func room(_ attemptID: UInt64, _ index: Int) -> UInt64 {
        (attemptID &+ UInt64(index)) & (1 << 63 - 1)
    }

    private static func list(_ values: some Sequence<String>) -> String {
        "[" + values.joined(separator: ",") + "]"
    }
}
