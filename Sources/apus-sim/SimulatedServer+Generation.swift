import Bytes
import EngineSimulation
import HTTPServer
import Synchronization

extension SimulatedServer {
    func generate(_ api: GenerationAPI, _ http: HTTPRequest) -> HTTPReply {
        state.withLock { state in
            state.requestCount += 1
            let requestID = http.header("x-request-id") ?? "\(index)-\(state.requestCount)"
            let logNumber = state.log.add(http, id: requestID, at: WallClock.seconds)
            let faults = state.live.faults
            if faults.drops {
                state.log.change(logNumber) { $0.status = "dropped" }
                return .drop
            }
            if faults.hangs { return hang(&state, logNumber) }
            do throws(APIError) {
                if let failure = try injected(http, &state) { throw failure }
                return try start(api, http, requestID, logNumber, &state)
            } catch {
                state.log.change(logNumber) { entry in
                    entry.status = "failed"
                    entry.httpStatus = error.status
                }
                state.page = nil
                let headers = headers(requestID, port: state.port)
                return .response(json(error.body(for: api), status: error.status, headers: headers))
            }
        }
    }

    private func hang(_ state: inout State, _ logNumber: Int) -> HTTPReply {
        state.log.change(logNumber) { $0.status = "hanging" }
        let reply = HTTPLaterReply()
        reply.onDisconnect {
            self.state.withLock { $0.log.change(logNumber) { $0.status = "aborted" } }
        }
        return .later(reply)
    }

    /// The failure that the request asks for, or that chance has in store for it.
    private func injected(_ http: HTTPRequest, _ state: inout State) throws(APIError) -> APIError? {
        if let wanted = http.header("x-return-error") {
            if let type = FailureType(rawValue: wanted) { return failure(type) }
            guard let status = Int(wanted), (400...599).contains(status) else {
                throw .badRequest("X-Return-Error must be a status from 400 to 599 or a failure type")
            }
            return APIError(status: status, type: "InjectedError", message: "The request asked for status \(status)")
        }
        return state.live.faults.failure(&state.random).map(failure)
    }

    private func failure(_ type: FailureType) -> APIError {
        APIError(status: type.status, type: type.rawValue, message: "A failure that was asked for: \(type.rawValue)")
    }

    private func start(
        _ api: GenerationAPI,
        _ http: HTTPRequest,
        _ requestID: String,
        _ logNumber: Int,
        _ state: inout State
    ) throws(APIError) -> HTTPReply {
        let document: JSONValue
        do throws(JSONError) {
            document = try JSONReader.read(http.body)
        } catch {
            throw .badRequest("The body is not JSON: \(error.message) at byte \(error.offset)")
        }
        let request = try GenerationRequest(api, document)
        state.log.change(logNumber) { entry in
            entry.model = request.model
            entry.promptTokens = request.promptTokens
        }
        let isAdapter = options.adapters.contains(request.model)
        guard isAdapter || options.modelNames.contains(request.model) else {
            throw APIError(
                status: 404,
                type: "NotFoundError",
                message: "The model `\(request.model)` does not exist.",
                parameter: "model"
            )
        }
        let room = options.engine.maxModelLen - request.promptTokens
        let limit = request.maxTokens ?? max(room, 1)
        guard limit <= room else {
            throw .badRequest(
                "This model's maximum context length is \(options.engine.maxModelLen) tokens, but the request needs"
                    + " \(request.promptTokens + limit): \(request.promptTokens) for the prompt and \(limit) for the answer.",
                parameter: request.promptTokens >= options.engine.maxModelLen ? nil : "max_tokens"
            )
        }
        let answer =
            api == .embeddings
            ? (tokens: [], reason: .stop)
            : TextGenerator.answer(to: request, mode: state.live.mode, limit: limit, random: &state.random)
        let now = MonotonicTime.now()
        pump(&state, to: now)
        let id: EngineRequestID
        do throws(EngineRejection) {
            id = try state.engine.submit(
                EngineRequest(
                    promptTokens: request.prompts.flatMap { $0 },
                    outputTokens: answer.tokens.map(\.number),
                    finishReason: answer.reason,
                    adapter: isAdapter ? request.model : nil,
                    cacheSalt: request.cacheSalt
                ),
                at: now
            )
        } catch {
            switch error {
            case .queueFull:
                throw APIError(status: 429, type: "TooManyRequests", message: "The waiting queue is full.")
            case .contextTooLong(let tokens, let limit):
                throw .badRequest("The request needs \(tokens) tokens; the KV cache holds \(limit).")
            }
        }
        let headers = headers(requestID, port: state.port)
        let sink = sink(request, id)
        state.active[id] = ActiveRequest(
            format: ResponseFormat(request, requestID: requestID, created: Int(WallClock.seconds)),
            request: request,
            sink: sink,
            tokens: answer.tokens,
            maxTokens: limit,
            reason: answer.reason,
            logNumber: logNumber,
            headers: headers,
            arrived: now,
            requestBytes: http.body.count,
            usage: Usage(promptTokens: request.promptTokens, cachedTokens: 0, completionTokens: 0)
        )
        pump(&state, to: now)
        switch sink {
        case .whole(let reply): return .later(reply)
        case .stream(let stream):
            let type = HTTPHeader("content-type", "text/event-stream; charset=utf-8")
            return .stream(HTTPResponseHead(headers: [type] + headers), stream)
        }
    }

    /// The server's own headers, under the names of llm-d-inference-sim.
    private func headers(_ requestID: String, port: Int) -> [HTTPHeader] {
        var headers = [
            HTTPHeader("x-inference-pod", "\(options.podName)-\(index)"), HTTPHeader("x-inference-port", "\(port)"),
        ]
        if !options.podNamespace.isEmpty {
            headers.append(HTTPHeader("x-inference-namespace", options.podNamespace))
        }
        if options.enableRequestIDHeaders { headers.append(HTTPHeader("x-request-id", requestID)) }
        return headers
    }

    private func sink(_ request: GenerationRequest, _ id: EngineRequestID) -> ActiveRequest.Sink {
        if request.isStream, request.api != .embeddings {
            let stream = HTTPBodyStream()
            stream.onDisconnect { self.clientLeft(id) }
            return .stream(stream)
        }
        let reply = HTTPLaterReply()
        reply.onDisconnect { self.clientLeft(id) }
        return .whole(reply)
    }

    private func clientLeft(_ id: EngineRequestID) {
        state.withLock { state in
            let now = MonotonicTime.now()
            pump(&state, to: now)
            guard let active = state.active.removeValue(forKey: id) else { return }
            state.engine.abort(id, at: now)
            state.log.change(active.logNumber) { entry in
                entry.status = "aborted"
                entry.completionTokens = active.usage.completionTokens
            }
            pump(&state, to: now)
        }
    }
}
