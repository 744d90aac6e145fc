import Bytes
import EngineSimulation
import HTTPServer

/// What goes wrong on purpose.
extension SimulatedServer {
    /// The fault of a request that has arrived: the one its own header asks for, else the first rule that takes it.
    func takeFault(
        _ http: HTTPRequest,
        _ plan: KVPlan,
        _ number: Int,
        _ requestID: String,
        _ state: inout State
    ) throws(APIError) -> FaultRule? {
        let attempt = http.header("x-processor-attempt").flatMap { Int($0) } ?? 1
        var wanted: [FaultRule] = []
        if let text = http.header("x-sim-fault") {
            do throws(OptionError) {
                wanted = try FaultRule.list(text)
            } catch {
                throw .badRequest("x-sim-fault: \(error.message)")
            }
        }
        var random = state.random
        let fault =
            wanted.take(leg: plan.leg, attempt: attempt, requestID: requestID, random: &random)
            ?? state.rules.take(leg: plan.leg, attempt: attempt, requestID: requestID, random: &random)
        state.random = random
        guard let fault else { return nil }
        state.log.change(number) { $0.fault = fault.text }
        count(.fault, &state)
        return fault
    }

    /// The reply of a request that never reaches the engine; nil when it goes on.
    func misbehave(_ fault: FaultRule?, _ http: HTTPRequest, _ number: Int, _ state: inout State) -> HTTPReply? {
        let old = state.live.faults
        switch fault?.kind {
        case nil where old.drops, .close:
            end(number, "dropped", &state)
            return .drop
        case nil where old.hangs, .hang: return hang(number, &state)
        case .status(let status):
            fail(number, status, &state)
            let error = APIError(
                status: status,
                type: "InjectedError",
                message: "A fault that was asked for: \(status)"
            )
            let headers = headers(state.log.id(of: number), port: state.port) + error.headers
            let body = error.body(for: GenerationAPI(rawValue: http.path))
            state.log.change(number) { $0.bytes = body.utf8.count }
            return .response(json(body, status: status, headers: headers))
        case .reset:
            RawSocket(sharing: http.socket)?.reset()
            end(number, "dropped", &state)
            return .drop
        case .crash:
            end(number, "dropped", &state)
            state.after.append { [fault] in self.lifecycle.crash(down: fault?.down) }
            return .later(HTTPLaterReply())
        case .exit:
            end(number, "dropped", &state)
            state.after.append { self.lifecycle.exit() }
            return .later(HTTPLaterReply())
        case .garbage:
            return raw(http, number, &state) { socket in
                socket.write(Array("\u{1}\u{2}not HTTP at all\r\n\r\n".utf8))
            }
        case .endlessHeaders:
            return raw(http, number, &state) { socket in
                guard socket.write(Array("HTTP/1.1 200 OK\r\n".utf8)) else { return false }
                let lines = Array(
                    String(repeating: "x-more: \(String(repeating: "y", count: 100))\r\n", count: 100).utf8
                )
                while socket.write(lines) {}
                return false
            }
        case .hugeBody:
            return raw(http, number, &state) { socket in
                let head = "HTTP/1.1 200 OK\r\ncontent-type: application/json\r\ntransfer-encoding: chunked\r\n\r\n"
                guard socket.write(Array((head + "8\r\n{\"sim\":\"\r\n").utf8)) else { return false }
                let piece = Array("10000\r\n".utf8) + [UInt8](repeating: 0x78, count: 65536) + [13, 10]
                while socket.write(piece) {}
                return false
            }
        default: return nil
        }
    }

    private func end(_ number: Int, _ status: String, _ state: inout State) {
        state.log.change(number) { entry in
            entry.status = status
            entry.ended = WallClock.seconds
        }
        state.page = nil
    }

    private func hang(_ number: Int, _ state: inout State) -> HTTPReply {
        state.log.change(number) { $0.status = "hanging" }
        count(.hang, &state)
        let reply = HTTPLaterReply()
        reply.onDisconnect { self.hungUp(number) }
        return .later(reply)
    }

    /// The client of a request that is not among the active ones has gone.
    private func hungUp(_ number: Int) {
        update { state in
            guard state.log.disconnect(number) else { return }
            end(number, "aborted", &state)
            count(.disconnect, &state)
        }
    }

    /// Lets a thread write an answer past the HTTP server; `write` tells whether the client stayed.
    private func raw(
        _ http: HTTPRequest,
        _ number: Int,
        _ state: inout State,
        _ write: @escaping @Sendable (RawSocket) -> Bool
    ) -> HTTPReply {
        guard let socket = RawSocket(sharing: http.socket) else { return .drop }
        end(number, "dropped", &state)
        let reply = HTTPLaterReply()
        reply.onDisconnect { self.hungUp(number) }
        Threads.run {
            if !write(socket) { self.hungUp(number) }
            reply.drop()
        }
        return .later(reply)
    }

    // MARK: Answers

    /// Gives a whole answer, or ends a stream with what was held back of it, as the request's fault has it.
    func give(_ text: String, _ active: ActiveRequest, _ state: inout State) {
        guard case .whole(let reply) = active.sink else { return finishStream(text, active, &state) }
        let response = json(text, headers: active.headers)
        switch active.fault?.kind {
        case .truncatedJSON:
            answered(active, &state)
            reply.complete(
                json(String(decoding: text.utf8.prefix(text.utf8.count / 2), as: UTF8.self), headers: active.headers)
            )
        case .eofBody, .resetBody, .hangBody, .slow: giveRaw(text, response, active, reply, &state)
        default:
            answered(active, &state)
            reply.complete(response)
        }
    }

    private func finishStream(_ text: String, _ active: ActiveRequest, _ state: inout State) {
        guard case .stream(let stream) = active.sink else { return }
        guard active.fault?.kind == .slow else {
            if !text.isEmpty { stream.write(text.utf8) }
            answered(active, &state)
            stream.finish()
            return
        }
        let pause = active.fault?.delay ?? .milliseconds(10)
        let number = active.number
        stream.onDisconnect { self.hungUp(number) }
        Threads.run {
            for byte in text.utf8 {
                pause.sleepOnThread()
                guard stream.write([byte]) else { return }
            }
            self.update { self.answered(active, &$0) }
            stream.finish()
        }
    }

    private func giveRaw(
        _ text: String,
        _ response: HTTPResponse,
        _ active: ActiveRequest,
        _ reply: HTTPLaterReply,
        _ state: inout State
    ) {
        guard let socket = active.socket, let fault = active.fault else { return reply.drop() }
        let fields = response.head.headers.map { "\($0.name): \($0.value)\r\n" }.joined()
        let body = Array(text.utf8)
        let head = Array("HTTP/1.1 200 OK\r\ncontent-length: \(body.count)\r\n\(fields)\r\n".utf8)
        let half = fault.tokens == 0 ? [] : Array(body[..<(body.count / 2)])
        state.log.change(active.number) { entry in
            entry.status = "cut"
            entry.httpStatus = 200
            entry.bytes = half.count
            entry.ended = WallClock.seconds
        }
        let number = active.number
        switch fault.kind {
        case .slow:
            reply.onDisconnect { self.hungUp(number) }
            let pause = fault.delay ?? .milliseconds(10)
            Threads.run {
                let isWhole =
                    socket.write(head)
                    && body.allSatisfy { byte in
                        pause.sleepOnThread()
                        return socket.write([byte])
                    }
                if isWhole { self.update { self.answered(active, &$0) } } else { self.hungUp(number) }
                reply.drop()
            }
        case .hangBody:
            count(.hang, &state)
            reply.onDisconnect { self.hungUp(number) }
            Threads.run { _ = socket.write(head + half) }
        default:
            let resets = fault.kind == .resetBody
            Threads.run {
                _ = socket.write(head + half)
                if resets { socket.reset() }
                reply.drop()
            }
        }
    }

    /// Breaks a stream off where a fault wants it.
    ///
    /// - Returns: whether the request is over.
    func breakStream(_ active: inout ActiveRequest, _ state: inout State) -> Bool {
        guard case .stream(let stream) = active.sink else { return false }
        let written = active.usage.completionTokens
        if let cut = state.live.faults.cutAfterTokens, written >= cut {
            stream.cut()
        } else if let fault = active.fault, written >= fault.tokens {
            switch fault.kind {
            case .cut, .eofBody: stream.cut()
            case .resetBody:
                // What is written goes out first: the server's thread may not have come to it.
                let socket = active.socket
                Threads.run {
                    for _ in 0..<1000 where stream.bufferedBytes > 0 { Duration.milliseconds(1).sleepOnThread() }
                    socket?.reset()
                }
            case .hangBody:
                // The stream stays open, and nothing more is written.
                count(.hang, &state)
                state.log.change(active.number) { $0.status = "hanging" }
                release(active, &state)
                active.engineID = nil
                active.source = nil
                state.active[active.number] = active
                return true
            default: return false
            }
        } else {
            return false
        }
        release(active, &state)
        state.log.change(active.number) { entry in
            entry.status = "cut"
            entry.completionTokens = written
            entry.bytes = active.answerBytes
            entry.ended = WallClock.seconds
        }
        return true
    }
}
