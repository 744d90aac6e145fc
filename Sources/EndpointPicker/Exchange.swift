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

    // From the decision to the end of the response.
    var reservation: Reservation?
    var prompt: PlacedPrompt?
    var stages: StageReservations?
    var answer = ResponsePolicies()
    /// Held while the request may be called back for one of a higher priority: until its response begins.
    var callBackPlace: CallBackPlace?
    var restorer: ModelNameRestorer?

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
            while let message = try await nextMessage() {
                record.isEmpty = false
                let frame = try Frame(decoding: message.bytes)
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
        } catch let error as RPCError {
            // Envoy resets the stream when it has no more to show, too.
            end()
            return error.status
        } catch {
            director.telemetry.finish(record, .failed("protocol"))
            return RPCStatus(code: .invalidArgument, message: "external processing: \(error)")
        }
    }

    private func nextMessage() async throws -> Message? {
        do {
            return try await call.receive()
        } catch {
            guard error.code == ServerCall.interrupted.code else { throw error }
        }
        // Called back, unless the response has begun meanwhile. That happens once.
        guard callBackPlace != nil else { return try await call.receive() }
        reservation = nil
        callBackPlace = nil
        throw PickerError.calledBack
    }

    /// The stream has ended: what that means depends on what was to come.
    private func end() {
        switch conversation.progress {
        case .complete:
            director.telemetry.finish(record, .complete)
        case .cutShort:
            // Where bodies were stopped, the stream's end is the response's.
            director.telemetry.finish(record, hasStoppedBodies ? .unobserved : .clientGone)
        case .unobserved:
            // Envoy may have left long before the response ends. The load stays until the endpoint itself tells what it is doing.
            if let reservation = reservation.take() { director.pool.linger(reservation, at: .now()) }
            director.telemetry.finish(record, .unobserved)
        }
    }

    private func handle(_ event: Conversation.Event, _ frame: borrowing Frame) async throws {
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
        record.status = refusal.code.status
        record.errorCode = refusal.code.name
        var reply = Reply(.immediate(status: refusal.code.status))
        if let reason = refusal.droppedReason { reply.headers.set(ControlHeaders.droppedReason, reason) }
        if let seconds = refusal.retryAfter { reply.headers.set("retry-after", String(seconds)) }
        let text = ByteBuffer(copying: refusal.body.utf8)
        do {
            try await send([PlannedReply(reply, body: 0..<text.count)]) { $0(text.bytes) }
            director.telemetry.finish(record, .immediate(status: refusal.code.status))
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
