package import Bytes
package import Inference
package import Pool

/// How one family of engines hands a prompt's KV cache from a prefill to a decode endpoint: which bodies the two legs get, and what an answer
/// must hold.
///
/// A connector is pure: it sends nothing and keeps nothing between requests.
package protocol Connector: Sendable {
    var order: LegOrder { get }

    /// Whether an endpoint that decodes can compute the prompt, too. Where it cannot, a request without a prefill would wait in vain.
    var decodesAlone: Bool { get }

    /// Whether the request's work can be split over two endpoints of this family.
    func suitability(of request: InferenceRequest, in body: SharedBytes) -> Suitability

    /// What must be asked of the prefill endpoint before either leg can begin; nil for nothing.
    func inquiry(_ leg: LegContext) -> SideRequest?

    /// Reads the answer to the inquiry. Of several engines behind the endpoint, the attempt's number chooses one.
    func readInquiry(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> PeerIdentity

    /// Makes the prefill leg's body out of the client's, beyond what `edits` already change.
    func editPrefill(_ leg: LegContext, _ edits: inout BodyEdits)

    /// Header fields of the prefill leg's own.
    func prefillHeaders(_ leg: LegContext) -> [(name: String, value: String)]

    /// Reads a prefill's answer of status 200.
    func readPrefill(_ answer: RawSpan, _ leg: LegContext) throws(BadAnswer) -> Handover

    /// Makes the decode leg's body out of the client's, beyond what `edits` already change.
    ///
    /// - Parameter handover: what the prefill left; nil for a connector whose legs run at the same time.
    func editDecode(_ leg: LegContext, _ handover: Handover?, _ edits: inout BodyEdits)

    /// The same for an endpoint that has computed the prompt itself, and has it in its own cache.
    func editOwnDecode(_ leg: LegContext, _ edits: inout BodyEdits)

    /// Whether what a prefill left stays at its endpoint for long unless a decode has fetched it: then a decode is not called off before it
    /// has, and one is sent for nothing but that when no other will be.
    var mustBeFetched: Bool { get }

    /// Makes the body of a decode that does nothing but fetch what the prefill left.
    func editFetch(_ leg: LegContext, _ handover: Handover, _ edits: inout BodyEdits)

    /// Whether the endpoint that decodes is asked first whether it needs a prefill at all.
    func asksDecode(_ leg: LegContext) -> Bool

    /// Makes the body of that question.
    func editQuestion(_ leg: LegContext, _ edits: inout BodyEdits)

    /// Reads the answer, of status 200: what the endpoint has cached; nil when that is too little.
    func readQuestion(_ answer: RawSpan) throws(BadAnswer) -> Handover?

    /// What tells the decode endpoint to give up a request whose prefill has failed; nil when hanging up does.
    func abort(_ leg: LegContext) -> SideRequest?
}

/// What is to be done with a request that a client sent, before any leg.
package enum Suitability: Sendable, Equatable {
    case suitable
    /// The decode endpoint can only serve it alone, and can; the text says why.
    case decodeAlone(String)
    /// No endpoint can serve it: 400 with this text.
    case refused(String)
}

package enum LegOrder: Sendable, Equatable {
    /// The decode's body needs what the prefill answered.
    case serial
    /// The prefill's answer comes only once the decode has begun, so both are under way together.
    case concurrent
}

/// What a connector may know of a request when it builds the body of one attempt.
package struct LegContext: Sendable {
    /// Read from `body`: ranges in it are ranges of `body`.
    package var request: InferenceRequest
    /// The name of the model that the endpoints get; the client may have named another.
    package var model: String
    /// As the client sent it.
    package var body: SharedBytes
    /// The one `x-request-id` of all legs.
    package var requestID: String
    /// New for every attempt: 63 random bits, never 0. What the two engines know the transfer by is made of it.
    package var attemptID: UInt64
    package var prefill: Endpoint?
    /// Nil in a serial prefill leg, whose decode endpoint is chosen later.
    package var decode: Endpoint?
    package var ports: OrchestrationSettings.Ports
    /// What the inquiry found.
    package var peer: PeerIdentity?

    package init(
        request: InferenceRequest,
        body: SharedBytes,
        requestID: String,
        attemptID: UInt64,
        model: String? = nil,
        prefill: Endpoint? = nil,
        decode: Endpoint? = nil,
        ports: OrchestrationSettings.Ports = .init(),
        peer: PeerIdentity? = nil
    ) {
        self.request = request
        self.model = model ?? request.model
        self.body = body
        self.requestID = requestID
        self.attemptID = attemptID
        self.prefill = prefill
        self.decode = decode
        self.ports = ports
        self.peer = peer
    }
}

/// A short request beside the legs, to the host of an endpoint.
package struct SideRequest: Sendable, Equatable {
    package var method: String
    /// Nil: the endpoint's own port.
    package var port: Int?
    package var path: String
    /// JSON, or empty.
    package var body: [UInt8]

    package init(method: String, port: Int? = nil, path: String, body: [UInt8] = []) {
        self.method = method
        self.port = port
        self.path = path
        self.body = body
    }
}

/// How engines name a prefill endpoint among themselves.
package struct PeerIdentity: Sendable, Equatable {
    package var engineID: String
    /// Of the data-parallel engines behind one endpoint, the one that serves.
    package var rank: Int

    package init(engineID: String, rank: Int = 0) {
        self.engineID = engineID
        self.rank = rank
    }
}

/// What a prefill leaves for the decode. Good for one decode only.
package struct Handover: Sendable, Equatable {
    /// The engine's transfer parameters, as JSON, byte for byte; empty for engines that need none.
    package var parameters: [UInt8]
    /// Other members of the prefill's answer that the decode's body needs, as JSON.
    package var extras: [(name: String, value: [UInt8])]
    /// Tokens of the prompt that the prefill endpoint had cached, as it reported.
    package var cachedTokens: Int?
    /// Whether the prefill has already answered the request: there is nothing left to decode.
    package var isFinal: Bool
    /// Where `isFinal`: the answer as the client shall get it; nil for the prefill's own.
    package var answer: [UInt8]?

    package init(
        parameters: [UInt8] = [],
        extras: [(name: String, value: [UInt8])] = [],
        cachedTokens: Int? = nil,
        isFinal: Bool = false,
        answer: [UInt8]? = nil
    ) {
        self.parameters = parameters
        self.extras = extras
        self.cachedTokens = cachedTokens
        self.isFinal = isFinal
        self.answer = answer
    }

    package static func == (one: Handover, other: Handover) -> Bool {
        one.parameters == other.parameters && one.cachedTokens == other.cachedTokens && one.isFinal == other.isFinal
            && one.answer == other.answer
            && one.extras.elementsEqual(other.extras) { $0.name == $1.name && $0.value == $1.value }
    }
}

/// An engine answered 200 with something that no leg can go on with.
package struct BadAnswer: Error, Equatable {
    package let message: String

    package init(_ message: String) {
        self.message = message
    }
}
