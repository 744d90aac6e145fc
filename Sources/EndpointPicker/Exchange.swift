internal import Admission
internal import Bytes
internal import ExtProc
internal import Inference
internal import Pool
internal import RPC
internal import Telemetry

/// One HTTP request as Envoy shows it: read, decided, followed to its end.
///
/// This is the only place that knows the order of things. It lives on the poller of its stream and is touched by no other thread. Whatever
/// way it ends, its reservation and its memory are given back when it is dropped, and its record is reported once.
final class Exchange {
    let director: Director
    let limits: PickerLimits
    /// Those of the configuration with which the exchange began.
    let settings: DirectorSettings
    let record: RequestRecord
    let call: ServerCall
    private(set) var conversation = Conversation()

    // The request.
    var headers = HeaderList()
    var subset: SubsetHint?
    var body = ByteBuffer()
    var generator: SeededGenerator
    /// The client sent no request id, so it has one of Apus's.
    var hasOwnRequestID = false

    // From the decision to the end of the response.
    var reservation: Reservation?
    var prompt: PlacedPrompt?
    var stages: StageReservations?
    var answer = ResponsePolicies()
    /// Held while the request may be called back for one of a higher priority: until its response begins.
    var callBackPlace: CallBackPlace?
    /// What changes the response's body on its way.
    var editors = ResponseEditors()
    /// The sub-requests that Apus makes for the request; nil where it makes none.
    var orchestrated: OrchestratedExchange?
    /// Tokens of the prompt that the prefill endpoint had cached, for the response's usage.
    var cachedTokens: Int?
    /// Why `call` was interrupted.
    let alarms = ExchangeAlarms()

    // The response.
    var isEventStream = false
    var usage: UsageReader?
    /// In place of a reader, where only the end of a stream is read.
    var tail: EventTail?
    /// Envoy was asked to send no more of the response, and has sent no more.
    var hasStoppedBodies = false
    /// What is kept of a response that is sent on as a whole.
    var held = ByteBuffer()
    /// The response grew over the limit of what is kept and is passed on piece by piece.
    var isPassing = false
    /// Apus has answered by itself; whatever Envoy still shows is of no interest.
    var isAnswered = false

    init(call: ServerCall, director: Director, limits: PickerLimits) {
        self.call = call
        self.director = director
        self.limits = limits
        settings = director.settings
        record = director.telemetry.begin()
        generator = director.nextGenerator()
        record.isEmpty = true
    }

    /// Follows the stream to its end and says with which status it ends.
    func run() async -> RPCStatus {
        do {
            while !isAnswered, let frame = try await nextFrame() {
                record.isEmpty = false
                let event = try conversation.receive(
                    frame.kind,
                    endOfStream: frame.endOfStream,
                    modes: frame.bodyModes,
                    isObservation: frame.isObservation
                )
                try await handle(event, frame)
            }
            end()
            return .ok
        } catch let refusal as PickerError {
            return await refuse(refusal)
        } catch let answer as ImmediateAnswer {
            return await answerAtOnce(answer)
        } catch let broken as RelayBroken {
            concludeLegs(isDecoded: false)
            director.telemetry.finish(record, .failed(broken.reason))
            return RPCStatus(code: .aborted, message: "the decode's answer broke off: \(broken.reason)")
        } catch let error as RPCError {
            // Envoy resets the stream when it has no more to show, too.
            end()
            return error.status
        } catch {
            concludeLegs(isDecoded: false)
            director.telemetry.finish(record, .failed("protocol"))
            return RPCStatus(code: .invalidArgument, message: "external processing: \(error)")
        }
    }

    /// The frame is a copy: the message it came in goes back to the transport at once.
    private func nextFrame() async throws -> Frame? {
        while true {
            do {
                guard let message = try await call.receive() else { return nil }
                return try Frame(decoding: message.bytes)
            } catch let error as RPCError {
                guard error.code == ServerCall.interrupted.code else { throw error }
            }
            let reasons = alarms.take()
            // Called back, unless the response has begun meanwhile.
            if reasons.contains(.calledBack), callBackPlace != nil {
                reservation = nil
                callBackPlace = nil
                throw PickerError.calledBack
            }
            try await attend(to: reasons)
            if isAnswered { return nil }
        }
    }

    /// The stream has ended: what that means depends on what was to come.
    private func end() {
        if let active = orchestrated {
            let isUnseen = conversation.progress == .unobserved
            reportDecode(isUnseen ? "unobserved" : record.responseHeadersAt == 0 ? "cancelled" : "reset")
            active.letGo()
        }
        switch conversation.progress {
        case .complete:
            concludeLegs(isDecoded: true)
            director.telemetry.finish(record, .complete)
        case .cutShort:
            // Where bodies were stopped, the stream's end is the response's.
            concludeLegs(isDecoded: hasStoppedBodies)
            director.telemetry.finish(record, hasStoppedBodies ? .unobserved : .clientGone)
        case .unobserved:
            // Envoy may have left long before the response ends. The load stays until the endpoint itself tells what it is doing.
            if let reservation = reservation.take() { director.pool.linger(reservation, at: .now()) }
            concludeLegs(isDecoded: true)
            director.telemetry.finish(record, .unobserved)
        }
    }

    private func handle(_ event: Conversation.Event, _ frame: consuming Frame) async throws {
        switch event {
        case .ignored:
            break
        case .requestStarted:
            readHeaders(of: frame)
        case .requestHeld:
            readHeaders(of: frame)
            // Envoy may route by these headers alone when no body follows, so a client's must not stay until the decision.
            var reply = Conversation.continueRequestHeaders
            for name in ControlHeaders.pickersOwn(in: headers) { reply.headers.remove(name) }
            try await send(reply)
        case .requestContinued:
            try keep(frame)
        case .requestReady(let form):
            if frame.kind == .requestHeaders { readHeaders(of: frame) }
            try keep(frame)
            // The decision may wait for long, in a queue or for a prefill, and everything it needs has been read.
            _ = consume frame
            try await decide(form)
        case .acknowledged(let kind):
            try await send(Reply(kind))
        case .responseStarted(let isLast):
            try await answerResponseHeaders(frame, isLast: isLast)
        case .responseBody(let form):
            try await answerResponseBody(frame, form)
        case .responseTrailers(let form):
            try await answerResponseTrailers(form)
        }
    }

    /// Answers in Apus's own name and ends the exchange.
    private func refuse(_ refusal: PickerError) async -> RPCStatus {
        record.errorCode = refusal.code.name
        var answer = ImmediateAnswer(status: refusal.code.status, body: ByteBuffer(copying: refusal.body.utf8))
        if let reason = refusal.droppedReason { answer.headers.append((ControlHeaders.droppedReason, reason)) }
        if let seconds = refusal.retryAfter { answer.headers.append(("retry-after", String(seconds))) }
        return await answerAtOnce(answer)
    }

    /// Sends a whole response and ends the exchange.
    private func answerAtOnce(_ answer: ImmediateAnswer) async -> RPCStatus {
        record.status = answer.status
        if answer.status >= 400, record.errorCode == nil { record.errorCode = "ModelServerError" }
        concludeLegs(isDecoded: false)
        var reply = Reply(.immediate(status: answer.status))
        for header in answer.headers { reply.headers.set(header.name, header.value) }
        if let attempts = record.attempts { reply.headers.set(ControlHeaders.attempts, String(attempts)) }
        do {
            try await send([PlannedReply(reply, body: 0..<answer.body.count)]) { $0(answer.body.bytes) }
            director.telemetry.finish(record, .immediate(status: answer.status))
            return .ok
        } catch {
            director.telemetry.finish(record, .clientGone)
            return error.status
        }
    }

    // MARK: Sending

    func send(_ reply: Reply) async throws(RPCError) {
        try await send([PlannedReply(reply)]) { $0(RawSpan()) }
    }

    /// Sends replies in order, each straight from `source` into the transport's buffer.
    func send(_ plan: [PlannedReply], from source: ((RawSpan) -> Void) -> Void) async throws(RPCError) {
        for (index, planned) in plan.enumerated() {
            var byteCount = 0
            source { byteCount = planned.reply.packedByteCount(body: $0.extracting(planned.body)) }
            try await call.send(byteCount: byteCount, moreFollows: index + 1 < plan.count) { out in
                source { planned.reply.pack(body: $0.extracting(planned.body), into: out) }
            }
        }
    }

    /// Sends replies in order. Only the chunk that is being sent is ever in memory as a whole.
    ///
    /// - Parameter beforeLast: called before the last is.
    func send(_ plan: [PlannedReply], of body: PiecedBytes, beforeLast: () -> Void) async throws(RPCError) {
        for (index, planned) in plan.enumerated() {
            if index + 1 == plan.count { beforeLast() }
            let chunk = body.joined(planned.body)
            try await call.send(
                byteCount: planned.reply.packedByteCount(body: chunk.bytes),
                moreFollows: index + 1 < plan.count
            ) { planned.reply.pack(body: chunk.bytes, into: $0) }
        }
    }
}

/// A whole response that Envoy shall give at once, in place of whatever it waits for. Thrown, since it ends the exchange wherever it is.
struct ImmediateAnswer: Error {
    var status: Int
    var headers: [(name: String, value: String)] = []
    var body: SharedBytes

    init(status: Int, headers: [(name: String, value: String)] = [], body: SharedBytes) {
        self.status = status
        self.headers = headers
        self.body = body
    }

    init(status: Int, body: consuming ByteBuffer) {
        self.init(status: status, body: SharedBytes(body))
    }
}

/// The response that Apus was passing on broke off. The client's stream is reset: it must not look complete.
struct RelayBroken: Error {
    /// A short word, as `LegFailure.Code` has them.
    let reason: String
}

/// Why an exchange's call was interrupted. Raised from any thread, taken by the exchange.
final class ExchangeAlarms: Sendable {
    struct Reasons: OptionSet, Sendable {
        let rawValue: UInt8
        /// A request of a higher priority needs the place.
        static let calledBack = Reasons(rawValue: 1)
        /// The prefill that runs beside the decode has ended.
        static let companionEnded = Reasons(rawValue: 2)
        /// It is time to see whether the decode is still alive.
        static let decodeIsSilent = Reasons(rawValue: 4)
    }

    private let raised = Lock(Reasons())

    func raise(_ reason: Reasons, _ call: ServerCall) {
        raised.withLock { _ = $0.insert(reason) }
        call.interrupt()
    }

    func take() -> Reasons {
        raised.withLock { exchange(&$0, with: []) }
    }
}

/// How much of one exchange Apus keeps in memory.
package struct PickerLimits: Sendable {
    /// The longest request body, in bytes; a longer one is answered with 413.
    package var requestBodyBytes: Int
    /// The longest response kept to be sent on as a whole; a longer one is passed on as it comes.
    package var heldResponseBytes: Int

    package init(requestBodyBytes: Int, heldResponseBytes: Int) {
        self.requestBodyBytes = requestBodyBytes
        self.heldResponseBytes = heldResponseBytes
    }

    package static let defaults = PickerLimits(requestBodyBytes: 64 << 20, heldResponseBytes: 64 << 20)
}

/// What the decision wants of the response.
struct ResponsePolicies {
    var headers: [(name: String, value: String)] = []
    var reportsServedEndpoint = false
    var tokensEndWithFirstByte = false
    /// What the gateway was told, the best first.
    var destinations: [Destination] = []
}
