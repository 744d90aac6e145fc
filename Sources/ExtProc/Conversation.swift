/// One HTTP request's conversation with Envoy: which frame may come now, what it means, and in which form an answer may be given.
///
/// It is fed the shape of every frame in order and says what to do with it; it holds no bytes and sends nothing. The request's and the
/// response's direction each have a phase of their own, since Envoy may report a response before it has delivered the whole request.
///
/// When Envoy waits for a reply depends on how it sends bodies. FULL_DUPLEX_STREAMED: never, so headers are answered together with the body
/// once the decision is made. NONE and STREAMED: after the headers, so the decision is made on them alone. BUFFERED and BUFFERED_PARTIAL:
/// after the headers and after the one body frame, whose reply may still change headers. In every mode but the first, each frame gets
/// exactly one reply.
package struct Conversation: Sendable {
    package enum Event: Sendable, Equatable {
        /// Nothing to read and nothing to send.
        case ignored
        /// Keep the request's headers; nothing to send yet.
        case requestStarted
        /// Keep the request's headers, and send `continueRequestHeaders`: Envoy holds the body back until then.
        case requestHeld
        /// Keep the body's bytes; nothing to send yet.
        case requestContinued
        /// The request is as complete as it gets before an answer: keep what the frame carries, decide, and answer in this form.
        case requestReady(DecisionForm)
        /// Behind the decision: send the reply as it is.
        case acknowledged(Reply.Kind)
        /// Read the response's headers and answer them. Nothing follows when `isLast`.
        case responseStarted(isLast: Bool)
        /// Read the body's bytes and answer in this form.
        case responseBody(ResponseForm)
        /// Send what was kept of the response, then answer the trailers.
        case responseTrailers(ResponseForm)
    }

    /// How a decision is told to Envoy.
    package enum DecisionForm: Sendable, Equatable {
        /// In the reply to the headers, which is the only one: the body is absent, or not Apus's to see before it must answer.
        case headers
        /// The reply to the headers, then the whole body in chunks, then, when the request has trailers, the reply to them.
        case headersAndBody(hasTrailers: Bool)
        /// In the reply to the one body frame. `isPartial`: Envoy's buffer was full, and the rest of the body follows unseen.
        case bufferedBody(isPartial: Bool)
        /// In the reply to the trailers; headers can no longer change, so only metadata is told.
        case trailers
    }

    /// How a piece of the response is answered.
    package enum ResponseForm: Sendable, Equatable {
        /// In chunks of our own, whenever we like. `isLast`: nothing follows.
        case chunks(isLast: Bool)
        /// With one reply to this frame, which may replace its bytes. `isLast`: nothing follows.
        case frame(isLast: Bool)
    }

    /// The frame came where the protocol has no place for it.
    package struct UnexpectedFrame: Error, Equatable {
        package let kind: Frame.Kind
    }

    private enum RequestPhase {
        case waiting
        case receiving
        /// Decided; what still comes is acknowledged frame by frame.
        case passing
        /// Decided and nothing more to say, or never to be decided.
        case over
    }

    private enum ResponsePhase {
        case waiting
        case receiving
        case over
    }

    package private(set) var modes = BodyModes.fullDuplex
    private var request = RequestPhase.waiting
    private var response = ResponsePhase.waiting
    private var isFirst = true
    private var isObserved = false

    package init() {}

    package mutating func receive(
        _ kind: Frame.Kind,
        endOfStream: Bool,
        modes announced: BodyModes? = nil,
        isObservation: Bool = false
    ) throws(UnexpectedFrame) -> Event {
        if isFirst {
            isFirst = false
            isObserved = isObservation
            if let announced { modes = announced }
        }
        if isObserved { return .ignored }
        switch kind {
        case .requestHeaders: return try requestHeaders(endOfStream: endOfStream)
        case .requestBody: return requestBody(endOfStream: endOfStream)
        case .requestTrailers: return requestTrailers()
        case .responseHeaders: return try responseHeaders(endOfStream: endOfStream)
        case .responseBody: return responseBody(endOfStream: endOfStream)
        case .responseTrailers: return responseTrailers()
        case .none: return .ignored
        }
    }

    /// How far Envoy has told the request's story.
    package enum Progress: Sendable, Equatable {
        /// To the end of the response, or there is no story: nothing was sent, or Envoy only lets Apus watch.
        case complete
        /// The request was answered, and Envoy does not show what bodies responses have.
        case unobserved
        /// More should have come. Envoy ends the stream like this when the client or the model server breaks off.
        case cutShort
    }

    /// What it means when the stream ends now.
    package var progress: Progress {
        if isObserved || response == .over { return .complete }
        switch request {
        case .receiving: return .cutShort
        case .waiting: return .complete
        case .passing, .over: return modes.response == .none ? .unobserved : .cutShort
        }
    }

    // MARK: Request

    private mutating func requestHeaders(endOfStream: Bool) throws(UnexpectedFrame) -> Event {
        guard request == .waiting else { throw UnexpectedFrame(kind: .requestHeaders) }
        if endOfStream {
            request = .over
            return .requestReady(.headers)
        }
        switch modes.request {
        case .fullDuplexStreamed, .grpc:
            request = .receiving
            return .requestStarted
        case .none, .streamed:
            request = .passing
            return .requestReady(.headers)
        case .buffered, .bufferedPartial:
            request = .receiving
            return .requestHeld
        }
    }

    private mutating func requestBody(endOfStream: Bool) -> Event {
        switch request {
        case .over:
            // Envoy 1.35 and later repeat the end of a large body (envoy#46237).
            return .ignored
        case .passing:
            return .acknowledged(.requestBody)
        case .waiting, .receiving:
            switch modes.request {
            case .fullDuplexStreamed, .grpc:
                request = endOfStream ? .over : .receiving
                return endOfStream ? .requestReady(.headersAndBody(hasTrailers: false)) : .requestContinued
            case .buffered:
                request = .passing
                // The end is missing when trailers follow; the body is whole all the same.
                return .requestReady(.bufferedBody(isPartial: false))
            case .bufferedPartial:
                request = .passing
                return .requestReady(.bufferedBody(isPartial: !endOfStream))
            case .none, .streamed:
                // Headers are not sent to the processor (SKIP), so nothing can be decided any more.
                request = .passing
                return .acknowledged(.requestBody)
            }
        }
    }

    private mutating func requestTrailers() -> Event {
        switch request {
        case .over:
            return .ignored
        case .passing:
            request = .over
            return .acknowledged(.requestTrailers)
        case .waiting, .receiving:
            request = .over
            return .requestReady(modes.request.isDuplex ? .headersAndBody(hasTrailers: true) : .trailers)
        }
    }

    // MARK: Response

    private mutating func responseHeaders(endOfStream: Bool) throws(UnexpectedFrame) -> Event {
        guard response == .waiting else { throw UnexpectedFrame(kind: .responseHeaders) }
        // A response before the decision comes from Envoy itself or from another filter: there is nothing left to decide.
        if request == .waiting || request == .receiving { request = .over }
        response = endOfStream ? .over : .receiving
        return .responseStarted(isLast: endOfStream)
    }

    private mutating func responseBody(endOfStream: Bool) -> Event {
        guard response != .over else { return .ignored }
        response = endOfStream ? .over : .receiving
        return .responseBody(responseForm(isLast: endOfStream))
    }

    private mutating func responseTrailers() -> Event {
        guard response != .over else { return .acknowledged(.responseTrailers) }
        response = .over
        return .responseTrailers(responseForm(isLast: false))
    }

    private func responseForm(isLast: Bool) -> ResponseForm {
        modes.response.isDuplex ? .chunks(isLast: isLast) : .frame(isLast: isLast)
    }
}
