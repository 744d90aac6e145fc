package import Bytes
package import Pool

/// `header-based-testing-filter`: the endpoints that the header `test-epp-endpoint-selection` lists, as `ip` or `ip:port` with commas; nobody
/// without it. For conformance tests.
package struct HeaderBasedTestingFilter: Filter {
    package static let header = "test-epp-endpoint-selection"

    package init() {}

    package func filter(
        _ request: SchedulingRequest,
        _ candidates: Candidates,
        using generator: inout SeededGenerator
    ) -> Candidates {
        let wanted = SubsetHint((request.header(Self.header) ?? "").split(separator: ",").map(String.init))
        return candidates.filtered { wanted.contains(candidates.endpoint($0)) }
    }
}
