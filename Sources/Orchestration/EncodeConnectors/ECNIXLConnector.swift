package import Bytes
package import Inference

/// Encoders that answer with where their embeddings are, by the hash of each item, for the later legs to pull.
///
/// What an engine says of an item is passed on as it is, since its members differ between versions; only where to fetch it is checked.
package struct ECNIXLConnector: EncodeConnector {
    package init() {}

    package func items(of request: InferenceRequest, in body: SharedBytes) -> [EncodeItem] {
        MediaParts.find(in: request, body)
    }

    package func body(of item: EncodeItem, _ leg: LegContext) -> PiecedBytes {
        EncodeBodies.primer(of: item, leg)
    }

    package func read(_ answer: RawSpan) throws(BadAnswer) -> [(hash: String, value: [UInt8])] {
        let name = "ec_transfer_params"
        let range = try HandedOver.object(try EngineAnswer(reading: answer)[.ecTransferParams], name, in: answer)
        let parameters = answer.extracting(range)
        var results: [(hash: String, value: [UInt8])] = []
        var hashes: Set<String> = []
        var problem: String?
        JSONParts.forEachMember(of: parameters) { part in
            let hash = JSONParts.string(part.keyRange, in: parameters) ?? ""
            let value = parameters.extracting(part.valueRange)
            if hash.isEmpty {
                problem = "an item has no hash"
            } else if !hashes.insert(hash).inserted {
                problem = "an item is there twice"
            } else {
                problem = Self.problem(in: value)
                results.append((hash, value.copied()))
            }
            return problem == nil
        }
        if let problem { throw BadAnswer("\(name): \(problem)") }
        guard !results.isEmpty else { throw BadAnswer("\(name) is empty") }
        return results
    }

    package func edit(_ leg: LegContext, with results: [(hash: String, value: [UInt8])], _ edits: inout BodyEdits) {
        edits.set(.cacheHitThreshold, to: "0".utf8, in: leg.request)
        guard !results.isEmpty else { return }
        var members: [[UInt8]] = []
        var hashes: Set<String> = []
        // Two encoders may have been given the same picture by different names.
        for result in results where hashes.insert(result.hash).inserted {
            members.append(JSONValue.quoted(result.hash) + [UInt8(ascii: ":")] + result.value)
        }
        let value = [UInt8(ascii: "{")] + members.joined(separator: [UInt8(ascii: ",")]) + [UInt8(ascii: "}")]
        LegBodies.setTransfer(.ecTransferParams, to: value, leg.request, &edits)
    }

    private static let reader = JSONReader(names: ["peer_host", "peer_port"])

    private static func problem(in item: RawSpan) -> String? {
        let found = try? reader.read(item) { found in [found[0], found[1]] }
        guard let found else { return "an item is no object" }
        if found.contains(where: { ($0?.occurrences ?? 0) > 1 }) { return "a member is there twice" }
        guard let host = found[0], host.kind == .string, !host.contentRange.isEmpty else {
            return "peer_host is no text"
        }
        guard let port = found[1].flatMap({ JSONValue.count($0, in: item) }), (1...65_535).contains(port) else {
            return "peer_port is no port"
        }
        return nil
    }
}
