import Bytes
import EngineSimulation
import HTTPServer

/// From a request's arrival until the engine has it.
extension SimulatedServer {
    func generate(_ api: GenerationAPI, _ http: HTTPRequest) -> HTTPReply {
        var document: JSONValue?
        var problem: APIError?
        do throws(JSONError) {
            document = try JSONReader.read(http.body)
        } catch {
            problem = .badRequest("The body is not JSON: \(error.message) at byte \(error.offset)")
        }
        let plan = KVPlan(document ?? .null, api: api, options: options.disaggregation, role: role)
        return update { [document, problem] state in
            if state.isDown { return .drop }
            let number = arrive(http, plan, &state)
            let requestID = state.log.id(of: number)
            do throws(APIError) {
                let fault = try takeFault(http, plan, number, requestID, &state)
                if let reply = misbehave(fault, http, number, &state) { return reply }
                if let failure = try injected(http, &state) { throw failure }
                if let problem { throw problem }
                let request = try GenerationRequest(api, document ?? .null)
                return try start(request, http, plan, fault, number, requestID, &state)
            } catch {
                fail(number, error.status, &state)
                let headers = headers(requestID, port: state.port) + error.headers
                return .response(json(error.body(for: api), status: error.status, headers: headers))
            }
        }
    }

    private func arrive(_ http: HTTPRequest, _ plan: KVPlan, _ state: inout State) -> Int {
        state.requestCount += 1
        let requestID = http.header("x-request-id") ?? "\(index)-\(state.requestCount)"
        let number = state.log.add(http, id: requestID, at: WallClock.seconds)
        state.log.change(number) { entry in
            entry.leg = plan.leg
            entry.kvID = plan.id
        }
        count(.request, &state)
        count(ServerEvent(plan.leg), &state)
        return number
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
        _ request: GenerationRequest,
        _ http: HTTPRequest,
        _ plan: KVPlan,
        _ fault: FaultRule?,
        _ number: Int,
        _ requestID: String,
        _ state: inout State
    ) throws(APIError) -> HTTPReply {
        state.log.change(number) { entry in
            entry.model = request.model
            entry.promptTokens = request.promptTokens
        }
        let isAdapter = options.adapters.contains(request.model)
        let limit = plan.isOneToken ? 1 : try limit(of: request, isAdapter: isAdapter)
        let answer =
            request.api == .embeddings
            ? (tokens: [], reason: .stop)
            : TextGenerator.answer(to: request, mode: state.live.mode, limit: limit, random: &state.random)
        let active = ActiveRequest(
            number: number,
            requestID: requestID,
            format: ResponseFormat(request, requestID: requestID, created: Int(WallClock.seconds)),
            request: request,
            sink: sink(request, number),
            tokens: answer.tokens,
            maxTokens: limit,
            reason: answer.reason,
            isAdapter: isAdapter,
            headers: headers(requestID, port: state.port),
            arrived: MonotonicTime.now(),
            requestBytes: http.body.count,
            plan: plan,
            fault: fault,
            socket: fault?.needsSocket == true ? RawSocket(sharing: http.socket) : nil,
            usage: Usage(promptTokens: request.promptTokens, cachedTokens: 0, completionTokens: 0)
        )
        if !request.items.isEmpty { fetchEmbeddings(active, &state) }
        if case .error200 = fault?.kind {
            state.active[number] = active
            answerWithoutTokens(number, reason: "error", &state)
        } else if case .delay = fault?.kind {
            state.active[number] = active
            after(fault?.delay ?? .milliseconds(100), number, &state) { server, state in
                server.begin(number, &state)
            }
        } else if case .none = plan.action {
            state.active[number] = active
            if let error = submit(number, &state) {
                state.active[number] = nil
                throw error
            }
        } else {
            state.active[number] = active
            begin(number, &state)
        }
        schedule(&state)
        switch active.sink {
        case .whole(let reply): return .later(reply)
        case .stream(let stream):
            let type = HTTPHeader("content-type", "text/event-stream; charset=utf-8")
            return .stream(HTTPResponseHead(headers: [type] + active.headers), stream)
        }
    }

    /// How many tokens the answer may have.
    private func limit(of request: GenerationRequest, isAdapter: Bool) throws(APIError) -> Int {
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
        return limit
    }

    /// Hands a request to the engine.
    ///
    /// - Returns: why the engine does not take it.
    func submit(_ number: Int, _ state: inout State) -> APIError? {
        let now = MonotonicTime.now()
        pump(&state, to: now)
        guard let request = state.active[number]?.engineRequest else { return nil }
        do throws(EngineRejection) {
            let id = try state.engine.submit(request, at: now)
            state.active[number]?.engineID = id
            state.numbers[id] = number
            state.log.change(number) { $0.status = "running" }
        } catch {
            switch error {
            case .queueFull:
                return APIError(status: 429, type: "TooManyRequests", message: "The waiting queue is full.")
            case .contextTooLong(let tokens, let limit):
                return .badRequest("The request needs \(tokens) tokens; the KV cache holds \(limit).")
            }
        }
        pump(&state, to: now)
        return nil
    }

    /// Notes that a request has failed.
    func fail(_ number: Int, _ status: Int, _ state: inout State) {
        state.log.change(number) { entry in
            entry.status = "failed"
            entry.httpStatus = status
            entry.ended = WallClock.seconds
        }
        count(.failed, &state)
        state.page = nil
    }

    /// The server's own headers, under the names of llm-d-inference-sim.
    func headers(_ requestID: String, port: Int) -> [HTTPHeader] {
        var headers = [
            HTTPHeader("x-inference-pod", "\(options.podName)-\(index)"), HTTPHeader("x-inference-port", "\(port)"),
        ]
        if !options.podNamespace.isEmpty {
            headers.append(HTTPHeader("x-inference-namespace", options.podNamespace))
        }
        if options.enableRequestIDHeaders { headers.append(HTTPHeader("x-request-id", requestID)) }
        return headers
    }

    private func sink(_ request: GenerationRequest, _ number: Int) -> ActiveRequest.Sink {
        if request.isStream, request.api != .embeddings {
            let stream = HTTPBodyStream()
            stream.onDisconnect { self.clientLeft(number) }
            return .stream(stream)
        }
        let reply = HTTPLaterReply()
        reply.onDisconnect { self.clientLeft(number) }
        return .whole(reply)
    }

    /// A client has gone before its answer was complete: whatever the request holds is given up at once.
    func clientLeft(_ number: Int) {
        update { state in
            let now = MonotonicTime.now()
            pump(&state, to: now)
            guard let active = state.active.removeValue(forKey: number) else { return }
            state.log.change(number) { entry in
                entry.status = "aborted"
                entry.disconnected = true
                entry.completionTokens = active.usage.completionTokens
                entry.ended = WallClock.seconds
            }
            release(active, &state)
            count(.disconnect, &state)
            count(.aborted, &state)
            pump(&state, to: now)
        }
    }

    /// Frees what a request holds that ends before its time.
    func release(_ active: ActiveRequest, _ state: inout State) {
        state.deadlines.cancel(active.deadline)
        if let id = active.engineID {
            state.engine.abort(id, at: MonotonicTime.now())
            state.numbers[id] = nil
        }
        leaveSource(active, &state)
        guard case .announce(let key, _) = active.plan.action else { return }
        state.meetings.prefillLeft(key)
        guard let finished = state.finished[key], finished.parked == active.number else { return }
        state.finished[key] = nil
        state.deadlines.cancel(finished.deadline)
        if let blocks = finished.blocks { state.engine.release(blocks, at: MonotonicTime.now()) }
    }

    /// Lets something be done with a request later, unless it has ended until then.
    func after(
        _ wait: Duration,
        _ number: Int,
        _ state: inout State,
        _ action: @escaping @Sendable (SimulatedServer, inout State) -> Void
    ) {
        let deadline = state.deadlines.add(at: MonotonicTime.now() + wait) { [weak self] state in
            guard let self, state.active[number] != nil else { return }
            state.active[number]?.deadline = nil
            action(self, &state)
        }
        state.deadlines.cancel(state.active[number]?.deadline)
        state.active[number]?.deadline = deadline
    }
}
