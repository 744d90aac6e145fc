package import Inference

// What most connectors have no use for.
extension Connector {
    package var decodesAlone: Bool { true }

    package func inquiry(_ leg: LegContext) -> SideRequest? { nil }

    package func readInquiry(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> PeerIdentity {
        throw BadAnswer("nothing was asked")
    }

    package func prefillHeaders(_ leg: LegContext) -> [(name: String, value: String)] { [] }

    package func editOwnDecode(_ leg: LegContext, _ edits: inout BodyEdits) {}

    package var mustBeFetched: Bool { false }

    package func editFetch(_ leg: LegContext, _ handover: Handover, _ edits: inout BodyEdits) {}

    package func asksDecode(_ leg: LegContext) -> Bool { false }

    package func editQuestion(_ leg: LegContext, _ edits: inout BodyEdits) {}

    package func readQuestion(_ answer: RawSpan) throws(BadAnswer) -> Handover? { nil }

    package func abort(_ leg: LegContext) -> SideRequest? { nil }
}
