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

    package func abort(_ leg: LegContext) -> SideRequest? { nil }
}
