internal import Bytes
package import ExtProc
package import Orchestration
package import Pool
internal import Scheduling
package import SubRequests
package import Telemetry

/// Sends the legs of one request as sub-requests, with the client's header fields.
package struct SubRequestTransport: LegTransport {
    private let requester: SubRequester
    private let forwarded: ForwardedHeaders
    private let trace: TraceContext?

    package init(_ requester: SubRequester, _ headers: HeaderList, trace: TraceContext?) {
        self.requester = requester
        self.trace = trace
        var builder = ForwardedHeaders.Builder(ownNames: ControlHeaders.notForwarded)
        headers.forEach { name, value in builder.append(name: name.span.bytes, value: value.span.bytes) }
        forwarded = builder.finish()
    }

    package func send(_ leg: LegRequest) async -> Result<LegAnswer, LegFailure> {
        switch await requester.send(subRequest(leg)) {
        case .ok(let response): .success(LegAnswer(response, seconds: response.head.seconds))
        case .failed(let failure): Self.result(failure)
        }
    }

    package func open(_ leg: LegRequest) async -> Result<OpenLeg, LegFailure> {
        switch await requester.open(subRequest(leg)) {
        case .open(let stream):
            return .success(
                OpenLeg(status: stream.head.status, headers: stream.head.legHeaders, body: StreamedLegBody(stream))
            )
        case .failed(let failure):
            return Self.result(failure).map { answer in
                OpenLeg(status: answer.status, headers: answer.headers, body: WholeLegBody(answer.body))
            }
        }
    }

    package var isFullSomewhere: Bool { requester.limits.isFullSomewhere }

    package func hasRoom(at endpoint: Endpoint) -> Bool {
        requester.limits.hasRoom(endpoint.hostPort)
    }

    private func subRequest(_ leg: LegRequest) -> SubRequest {
        var request = SubRequest(
            to: SubRequestTarget(address: leg.endpoint.address, port: leg.port ?? leg.endpoint.port),
            method: leg.method,
            path: leg.path,
            forwarded: forwarded,
            body: leg.body.count > 0 || leg.method == "POST" ? HTTPBody(leg.body) : nil,
            requestID: leg.requestID,
            deadline: MonotonicTime.now() + leg.timeout + (leg.isLastMoment ? .zero : .seconds(1)),
            timeout: leg.timeout
        )
        request.attempt = leg.attempt
        request.traceparent = trace?.header(
            ofLeg: leg.stage.rawValue,
            endpoint: leg.endpoint.hostPort,
            attempt: leg.attempt
        )
        // A model may think for long, and a request may wait for long in an engine's queue.
        request.idleTimeout = nil
        request.maySendAgain = leg.mayResend
        request.isUrgent = leg.isUrgent
        // The ports beside the engines' own (bootstrap) have no certificates.
        request.isPlain = leg.port != nil
        request.extraHeaders = leg.headers.map { HTTPField($0.name, $0.value) }
        return request
    }

    /// An answer with a bad status is an answer all the same.
    private static func result(_ failure: SubRequestFailure) -> Result<LegAnswer, LegFailure> {
        let code: LegFailure.Code
        switch failure.code {
        case .http:
            if let response = failure.response { return .success(LegAnswer(response, seconds: failure.seconds)) }
            code = .badResponse
        case .connectFailed: code = .connectFailed
        case .reset: code = .reset
        case .timeout: code = .timeout
        case .badResponse, .refused: code = .badResponse
        case .tooLarge: code = .tooLarge
        case .cancelled: code = .cancelled
        case .noPermit: code = .noPermit
        }
        return .failure(
            LegFailure(
                code,
                failure.message,
                countsForBreaker: failure.countsForBreaker,
                mayHaveArrived: !failure.isConnectFailure && code != .noPermit,
                isOverall: failure.missingPermit == .overall,
                seconds: failure.seconds
            )
        )
    }
}

extension LegAnswer {
    fileprivate init(_ response: SubRequestResponse, seconds: Double) {
        self.init(status: response.status, headers: response.head.legHeaders, body: response.body, seconds: seconds)
    }
}

extension HTTPResponseHead {
    fileprivate var legHeaders: [(name: String, value: String)] { headers.map { ($0.name, $0.value) } }
}

/// The body of an answer that is still on its way.
private final class StreamedLegBody: LegBody {
    private let stream: SubRequestStream

    init(_ stream: SubRequestStream) {
        self.stream = stream
    }

    func next() async throws(LegFailure) -> SharedBytes? {
        do throws(SubRequestFailure) {
            return try await stream.next().map { SharedBytes(ByteBuffer(copying: $0)) }
        } catch {
            switch error.code {
            case .cancelled: throw LegFailure(.cancelled, error.message, seconds: error.seconds)
            case .timeout: throw LegFailure(.timeout, error.message, countsForBreaker: true, seconds: error.seconds)
            case .tooLarge: throw LegFailure(.tooLarge, error.message, seconds: error.seconds)
            case .badResponse: throw LegFailure(.badResponse, error.message, seconds: error.seconds)
            default: throw LegFailure(.reset, error.message, seconds: error.seconds)
            }
        }
    }

    func cancel() { stream.cancel() }
}

/// A body that is there already.
private final class WholeLegBody: LegBody {
    private let body: Lock<SharedBytes?>

    init(_ body: SharedBytes) {
        self.body = Lock(body.count > 0 ? body : nil)
    }

    func next() async throws(LegFailure) -> SharedBytes? {
        body.withLock { $0.take() }
    }

    func cancel() {}
}
