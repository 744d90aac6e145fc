internal import Bytes

/// A request with the preference `if-available` (RFC 7240) wants an endpoint only if it holds enough of the prompt: when it does not, the
/// decision fails with `notCached`. What enough is says a `prefix-based-pd-decider`; without one, any block is.
enum ConditionalDecode {
    /// - Parameter index: of the picked endpoint, in the snapshot.
    static func check(
        _ request: SchedulingRequest,
        at index: Int,
        _ decider: PrefixBasedDecider?
    ) throws(SchedulingError) {
        guard let preference = request.header("prefer"), isConditional(preference) else { return }
        let isHeld =
            if let decider, request.prefixMatches != nil {
                !decider.disaggregates(request, decode: index)
            } else {
                (request.prefixMatches?.blocks(at: index) ?? 0) > 0
            }
        if !isHeld { throw SchedulingError(.notCached, "no decode worker has the requested KV cache") }
    }

    /// Whether a `Prefer` header, a list of `token[=value][;parameter…]`, has the preference.
    static func isConditional(_ value: String) -> Bool {
        value.split(separator: ",").contains { preference in
            let name = preference.prefix { $0 != ";" && $0 != "=" }
            return ASCII.equalsIgnoringCase(String(ASCII.trimmed(name)), "if-available")
        }
    }
}
