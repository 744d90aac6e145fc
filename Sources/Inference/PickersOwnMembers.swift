package import Bytes

extension InferenceRequest {
    /// A member that only a picker may set and the body has, by its name or the path to it; nil when there is none.
    ///
    /// Besides the top level these are `sampling_params.extra_args`, from where engines take the parameters of token-in requests, and
    /// `vllm_xargs`, which vLLM makes into such arguments for the other APIs.
    package func pickersOwnMember(in body: borrowing ByteBuffer) -> String? {
        if let own = members.present.first(where: \.name.isPickersOwn) { return "\(own.name.text)" }
        let bytes = body.bytes
        if let name = Self.ownMember(of: members[.vllmXArgs], in: bytes) { return "vllm_xargs.\(name)" }
        guard let sampling = members[.samplingParams], sampling.kind == .object || sampling.occurrences > 1 else {
            return nil
        }
        var found: String?
        Self.forEach(sampling, in: bytes, "sampling_params") { value in
            JSONParts.forEachMember(of: bytes, from: value.lowerBound) { part in
                if JSONParts.isName(part.keyRange, in: bytes, "extra_args") {
                    found = found ?? Self.ownName(inObjectAt: part.valueRange, bytes)
                }
                return found == nil
            }
        }
        return found.map { "sampling_params.extra_args.\($0)" }
    }

    private static let ownNames = RequestMembers.Name.allCases.filter(\.isPickersOwn).map { "\($0.text)" }

    private static func ownMember(of member: JSONMember?, in bytes: RawSpan) -> String? {
        guard let member else { return nil }
        var found: String?
        forEach(member, in: bytes, "vllm_xargs") { found = found ?? ownName(inObjectAt: $0, bytes) }
        return found
    }

    private static func ownName(inObjectAt range: Range<Int>, _ bytes: RawSpan) -> String? {
        var found: String?
        JSONParts.forEachMember(of: bytes, from: range.lowerBound) { part in
            found = ownNames.first { JSONParts.isName(part.keyRange, in: bytes, $0) }
            return found == nil
        }
        return found
    }

    /// The values of a top-level member, all of them when the body has it several times.
    private static func forEach(_ member: JSONMember, in bytes: RawSpan, _ name: String, _ body: (Range<Int>) -> Void) {
        guard member.occurrences > 1 else { return body(member.valueRange) }
        JSONParts.forEachMember(of: bytes) { part in
            if JSONParts.isName(part.keyRange, in: bytes, name) { body(part.valueRange) }
            return true
        }
    }
}
