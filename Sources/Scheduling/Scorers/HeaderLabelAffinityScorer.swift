internal import Bytes
package import Pool

/// `header-label-affinity-scorer`: 1 for endpoints whose label has the value of the request's header, else 0.
package struct HeaderLabelAffinityScorer: Scorer {
    /// In lower case.
    package let headerName: String
    package let labelKey: String

    package init(headerName: String, labelKey: String) {
        self.headerName = ASCII.lowercased(headerName)
        self.labelKey = labelKey
    }

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        guard let wanted = request.header(headerName), !wanted.isEmpty else { return }
        for position in scores.indices where candidates.endpoint(position).labels[labelKey] == wanted {
            scores[position] = 1
        }
    }
}
