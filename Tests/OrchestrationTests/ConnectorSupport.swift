import Bytes
import Inference
import Orchestration
import Pool
import Testing

/// Endpoints at these addresses, on port 8000.
func endpoints(_ addresses: String...) -> [Endpoint] {
    let pool = Pool(stalenessThreshold: .seconds(2))
    pool.replaceEndpoints(
        addresses.enumerated().map {
            EndpointDescription(name: "e\($0.offset)", namespace: "n", address: $0.element, port: 8000)
        }
    )
    return addresses.compactMap { address in pool.snapshot.endpoints.first { $0.address == address } }
}

/// A leg of a client's request, with a prefill endpoint 10.0.0.1 and a decode endpoint 10.0.0.2.
func leg(
    _ body: String,
    _ api: InferenceAPI,
    attemptID: UInt64 = 0x0123_4567_89ab_cdef,
    model: String? = nil,
    prefill: String = "10.0.0.1",
    peer: PeerIdentity? = nil
) throws -> LegContext {
    let buffer = ByteBuffer(copying: body.utf8)
    let request = try InferenceRequest.read(buffer, api: api)
    let pair = endpoints(prefill, "10.0.0.2")
    return LegContext(
        request: request,
        body: SharedBytes(buffer),
        requestID: "r-1",
        attemptID: attemptID,
        model: model,
        prefill: pair[0],
        decode: pair[1],
        peer: peer
    )
}

extension LegContext {
    /// The body that an edit makes of the client's.
    func edited(_ edit: (inout BodyEdits) -> Void) -> String {
        var edits = BodyEdits()
        edit(&edits)
        return String(repairing: edits.applied(to: body).joined().bytes)
    }

    func prefillBody(_ connector: any Connector) -> String {
        edited { connector.editPrefill(self, &$0) }
    }

    func decodeBody(_ connector: any Connector, _ handover: Handover? = nil) -> String {
        edited { connector.editDecode(self, handover, &$0) }
    }

    func read(_ answer: String, _ connector: any Connector) throws(BadAnswer) -> Handover {
        try Array(answer.utf8).withRawSpan { bytes throws(BadAnswer) in try connector.readPrefill(bytes, self) }
    }

    func suitability(_ connector: any Connector) -> Suitability {
        connector.suitability(of: request, in: body)
    }
}

func text(_ bytes: [UInt8]) -> String { String(decoding: bytes, as: UTF8.self) }
