import TestSupport
import Testing

@testable import ExtProc

/// One frame of a script: its kind, whether it ends its direction, and what it must mean.
private typealias Step = (kind: Frame.Kind, endOfStream: Bool, event: Conversation.Event)

@Suite struct ConversationTests {
    private func run(_ modes: BodyModes?, _ steps: [Step], sourceLocation: SourceLocation = #_sourceLocation) throws {
        var conversation = Conversation()
        for (index, step) in steps.enumerated() {
            let event = try conversation.receive(
                step.kind,
                endOfStream: step.endOfStream,
                modes: index == 0 ? modes : nil
            )
            #expect(event == step.event, "step \(index)", sourceLocation: sourceLocation)
        }
    }

    private func modes(_ both: BodyMode) -> BodyModes { BodyModes(request: both, response: both) }

    @Test("Full duplex: nothing is sent before the body has ended, then headers and body together")
    func fullDuplex() throws {
        try run(
            modes(.fullDuplexStreamed),
            [
                (.requestHeaders, false, .requestStarted),
                (.requestBody, false, .requestContinued),
                (.requestBody, true, .requestReady(.headersAndBody(hasTrailers: false))),
                (.responseHeaders, false, .responseStarted(isLast: false)),
                (.responseBody, false, .responseBody(.chunks(isLast: false))),
                (.responseBody, true, .responseBody(.chunks(isLast: true))),
            ]
        )
    }

    @Test("A stream that ends before the story is told was cut short, unless Envoy shows no response bodies")
    func progress() throws {
        func progress(_ modes: BodyModes, observed: Bool = false, _ frames: [(Frame.Kind, Bool)]) throws
            -> Conversation.Progress
        {
            var conversation = Conversation()
            for (kind, end) in frames {
                _ = try conversation.receive(kind, endOfStream: end, modes: modes, isObservation: observed)
            }
            return conversation.progress
        }
        let duplex = modes(.fullDuplexStreamed)
        let request: [(Frame.Kind, Bool)] = [(.requestHeaders, false), (.requestBody, true)]
        #expect(try progress(duplex, []) == .complete)
        #expect(try progress(duplex, [(.requestHeaders, false)]) == .cutShort)
        #expect(try progress(duplex, request) == .cutShort)
        #expect(try progress(duplex, request + [(.responseHeaders, false)]) == .cutShort)
        #expect(try progress(duplex, request + [(.responseHeaders, true)]) == .complete)
        #expect(try progress(duplex, request + [(.responseHeaders, false), (.responseBody, true)]) == .complete)
        #expect(try progress(duplex, observed: true, request) == .complete)
        let unseen = BodyModes(request: .fullDuplexStreamed, response: .none)
        #expect(try progress(unseen, request) == .unobserved)
        #expect(try progress(unseen, request + [(.responseHeaders, false)]) == .unobserved)
        #expect(try progress(unseen, [(.requestHeaders, false)]) == .cutShort)
    }

    @Test("A stream that does not tell its modes is taken for full duplex")
    func withoutModes() throws {
        try run(
            nil,
            [
                (.requestHeaders, false, .requestStarted),
                (.requestBody, true, .requestReady(.headersAndBody(hasTrailers: false))),
            ]
        )
    }

    @Test("Full duplex: trailers end the request in place of the last body frame")
    func requestTrailers() throws {
        try run(
            modes(.fullDuplexStreamed),
            [
                (.requestHeaders, false, .requestStarted),
                (.requestBody, false, .requestContinued),
                (.requestTrailers, false, .requestReady(.headersAndBody(hasTrailers: true))),
            ]
        )
    }

    @Test("Full duplex: a body frame after the end is ignored")
    func repeatedEnd() throws {
        try run(
            modes(.fullDuplexStreamed),
            [
                (.requestHeaders, false, .requestStarted),
                (.requestBody, true, .requestReady(.headersAndBody(hasTrailers: false))),
                (.requestBody, true, .ignored),
                (.requestBody, false, .ignored),
            ]
        )
    }

    @Test("A request that ends with its headers is decided at once, in every mode", arguments: EnvoyFrame.Mode.allCases)
    func headersOnly(mode: EnvoyFrame.Mode) throws {
        let all: [BodyMode] = [.none, .streamed, .buffered, .bufferedPartial, .fullDuplexStreamed, .grpc]
        try run(modes(all[Int(mode.rawValue)]), [(.requestHeaders, true, .requestReady(.headers))])
    }

    @Test("NONE: the headers are all there is, so the decision is made on them")
    func none() throws {
        try run(
            modes(.none),
            [
                (.requestHeaders, false, .requestReady(.headers)),
                (.responseHeaders, false, .responseStarted(isLast: false)),
            ]
        )
    }

    @Test("STREAMED: the decision is made on the headers, and every later frame gets one reply")
    func streamed() throws {
        try run(
            modes(.streamed),
            [
                (.requestHeaders, false, .requestReady(.headers)),
                (.requestBody, false, .acknowledged(.requestBody)),
                (.requestBody, false, .acknowledged(.requestBody)),
                (.requestTrailers, false, .acknowledged(.requestTrailers)),
                (.responseHeaders, false, .responseStarted(isLast: false)),
                (.responseBody, false, .responseBody(.frame(isLast: false))),
                (.responseBody, true, .responseBody(.frame(isLast: true))),
            ]
        )
    }

    @Test("BUFFERED: the headers are let go, and the decision is told with the body")
    func buffered() throws {
        try run(
            modes(.buffered),
            [
                (.requestHeaders, false, .requestHeld),
                (.requestBody, true, .requestReady(.bufferedBody(isPartial: false))),
                (.responseHeaders, false, .responseStarted(isLast: false)),
                (.responseBody, true, .responseBody(.frame(isLast: true))),
            ]
        )
    }

    @Test("BUFFERED with trailers: the body is whole though its frame does not end the request")
    func bufferedWithTrailers() throws {
        try run(
            modes(.buffered),
            [
                (.requestHeaders, false, .requestHeld),
                (.requestBody, false, .requestReady(.bufferedBody(isPartial: false))),
                (.requestTrailers, false, .acknowledged(.requestTrailers)),
            ]
        )
        try run(
            modes(.buffered),
            [
                (.requestHeaders, false, .requestHeld),
                (.requestTrailers, false, .requestReady(.trailers)),
            ]
        )
    }

    @Test("BUFFERED_PARTIAL: a body frame that does not end the request is only the beginning of the body")
    func bufferedPartial() throws {
        try run(
            modes(.bufferedPartial),
            [
                (.requestHeaders, false, .requestHeld),
                (.requestBody, false, .requestReady(.bufferedBody(isPartial: true))),
            ]
        )
        try run(
            modes(.bufferedPartial),
            [
                (.requestHeaders, false, .requestHeld),
                (.requestBody, true, .requestReady(.bufferedBody(isPartial: false))),
            ]
        )
    }

    @Test("Observation asks for no reply at all")
    func observation() throws {
        var conversation = Conversation()
        let first = try conversation.receive(
            .requestHeaders,
            endOfStream: false,
            modes: modes(.streamed),
            isObservation: true
        )
        let second = try conversation.receive(.requestBody, endOfStream: true)
        let third = try conversation.receive(.responseHeaders, endOfStream: true)
        #expect([first, second, third] == [.ignored, .ignored, .ignored])
    }

    @Test("A stream may begin with the response")
    func responseOnly() throws {
        try run(
            nil,
            [
                (.responseHeaders, false, .responseStarted(isLast: false)),
                (.responseBody, true, .responseBody(.chunks(isLast: true))),
                (.responseBody, true, .ignored),
            ]
        )
    }

    @Test("Response trailers end the response, and what was kept of it is sent first")
    func responseTrailers() throws {
        try run(
            nil,
            [
                (.responseHeaders, false, .responseStarted(isLast: false)),
                (.responseBody, false, .responseBody(.chunks(isLast: false))),
                (.responseTrailers, false, .responseTrailers(.chunks(isLast: false))),
            ]
        )
    }

    @Test("A response that comes before the decision leaves nothing to decide")
    func earlyResponse() throws {
        try run(
            nil,
            [
                (.requestHeaders, false, .requestStarted),
                (.responseHeaders, false, .responseStarted(isLast: false)),
                (.requestBody, true, .ignored),
                (.responseBody, true, .responseBody(.chunks(isLast: true))),
            ]
        )
    }

    @Test("Headers that come twice are refused", arguments: [Frame.Kind.requestHeaders, .responseHeaders])
    func headersTwice(kind: Frame.Kind) throws {
        var conversation = Conversation()
        _ = try conversation.receive(kind, endOfStream: false)
        #expect(throws: Conversation.UnexpectedFrame(kind: kind)) {
            try conversation.receive(kind, endOfStream: false)
        }
    }
}
