import Bytes
import EngineSimulation
import HTTPServer

/// The pages of `/admin` and `/sim`, for tests and for people who look.
extension SimulatedServer {
    /// nil for a path that is none of them.
    func administer(_ request: HTTPRequest) -> HTTPReply? {
        guard request.path.hasPrefix("/sim/") || request.path.hasPrefix("/admin/") else { return nil }
        if let name = request.parameters["server"], let number = Int(name), number != index {
            guard let other = lifecycle.fleet.server(number) else {
                return .response(json(APIError.badRequest("there is no server \(number)").body(for: nil), status: 400))
            }
            return other.administer(request, isOwn: false)
        }
        return administer(request, isOwn: true)
    }

    /// - Parameter isOwn: whether the request came over a connection of this server.
    func administer(_ request: HTTPRequest, isOwn: Bool) -> HTTPReply? {
        switch (request.method, request.path) {
        case ("GET", "/admin/config"): return .response(json(state.withLock { configuration($0).text }))
        case ("POST", "/admin/config"): return .response(configure(request))
        case ("GET", "/admin/requests"): return .response(json(state.withLock { $0.log.json.text }))
        case ("DELETE", "/admin/requests"), ("DELETE", "/sim/audit"):
            state.withLock { $0.log.removeAll() }
            return .response(HTTPResponse())
        case ("GET", "/sim/audit"): return .response(json(audit(request).text))
        case ("GET", "/sim/faults"): return .response(json(state.withLock { Self.describe($0.rules).text }))
        case ("POST", "/sim/faults"): return .response(changeFaults(request))
        case ("DELETE", "/sim/faults"):
            state.withLock { $0.rules = [] }
            return .response(HTTPResponse())
        case ("GET", "/sim/wait"): return wait(request)
        case ("POST", "/sim/restart"):
            restart()
            return .response(json("{\"engine_id\":\(state.withLock { $0.ledger.engineID }.quotedAsJSON)}"))
        case ("POST", "/sim/stop"), ("POST", "/sim/crash"):
            let down = (try? JSONReader.read(request.body))?["down"]?.string.flatMap { DurationText.read($0) }
            if isOwn {
                // The answer may get lost with the connection.
                lifecycle.crash(down: down)
            } else {
                lifecycle.stop(self)
                if let down { lifecycle.start(self, after: down) }
            }
            return .response(HTTPResponse())
        case ("POST", "/sim/start"):
            lifecycle.start(self)
            return .response(HTTPResponse())
        case ("POST", "/sim/expire"):
            update { state in
                let now = MonotonicTime.now()
                expire(&state, at: MonotonicTime(nanoseconds: .max))
                pump(&state, to: now)
            }
            return .response(HTTPResponse())
        default: return nil
        }
    }

    // MARK: Faults

    private static func describe(_ rules: [FaultRule]) -> JSONValue {
        let list = rules.map { rule in
            JSONValue.object([("rule", .string(rule.text)), ("hits", .integer(rule.hits))])
        }
        return .object([("rules", .array(list))])
    }

    private func changeFaults(_ request: HTTPRequest) -> HTTPResponse {
        do throws(OptionError) {
            guard let document = try? JSONReader.read(request.body), document.members != nil else {
                throw OptionError("a JSON object with rules or add is expected")
            }
            var replacing: [FaultRule]?
            var added: [FaultRule] = []
            for text in (document["rules"]?.elements ?? []).compactMap(\.string) {
                replacing = try (replacing ?? []) + FaultRule.list(text)
            }
            if document["rules"]?.elements?.isEmpty == true { replacing = [] }
            for text in (document["add"]?.elements ?? []).compactMap(\.string) { added += try FaultRule.list(text) }
            let rules: [FaultRule] = state.withLock { [replacing, added] state in
                state.rules = (replacing ?? state.rules) + added
                return state.rules
            }
            return json(Self.describe(rules).text)
        } catch {
            return json(APIError.badRequest(error.message).body(for: nil), status: 400)
        }
    }

    // MARK: What happened

    private func audit(_ request: HTTPRequest) -> JSONValue {
        let query = request.parameters
        return state.withLock { state in
            let legs = state.log.legs { entry in
                (query["request_id"].map { $0 == entry.id } ?? true)
                    && (query["leg"].map { $0 == entry.leg.rawValue } ?? true)
            }
            let counters = zip(ServerEvent.allCases, state.counts).map { ($0.rawValue, JSONValue.integer($1)) }
            let gauges = ServerGauge.allCases.map { ($0.rawValue, JSONValue.integer(value($0, state))) }
            return .object([
                ("engine_id", .string(state.ledger.engineID)),
                ("server", .integer(index)),
                ("role", .string(role?.rawValue ?? "")),
                ("counters", .object(counters)),
                ("gauges", .object(gauges)),
                ("legs", legs),
            ])
        }
    }

    private func value(_ gauge: ServerGauge, _ state: borrowing State) -> Int {
        switch gauge {
        case .active: state.active.count
        case .waiting: state.engine.statistics.waiting
        case .running: state.engine.runningCount
        case .leases: state.ledger.count
        case .meetings: state.meetings.count
        case .pinned: state.engine.statistics.keeping
        }
    }

    // MARK: Waiting

    private func wait(_ request: HTTPRequest) -> HTTPReply {
        let query = request.parameters
        func whole(_ name: String) -> Int? { query[name].flatMap { Int($0) } }
        let condition: EventWaiter.Condition
        if let event = query["event"].flatMap({ ServerEvent(rawValue: $0) }) {
            condition = .event(event, atLeast: whole("count") ?? 1)
        } else if let gauge = query["gauge"].flatMap({ ServerGauge(rawValue: $0) }) {
            let least = whole("at_least") ?? 0
            condition = .gauge(gauge, least...max(whole("at_most") ?? .max, least))
        } else {
            return .response(
                json(APIError.badRequest("event or gauge must be one of the audit's").body(for: nil), status: 400)
            )
        }
        let timeout = query["timeout"].flatMap { DurationText.read($0) } ?? .seconds(30)
        let reply = HTTPLaterReply()
        update { state in
            let deadline = state.deadlines.add(at: MonotonicTime.now() + timeout) { [weak self] state in
                guard let self else { return }
                state.waiters.removeAll { $0.reply === reply }
                reply.complete(json("{\"timeout\":true}", status: 408))
            }
            state.waiters.append(EventWaiter(condition: condition, reply: reply, deadline: deadline))
            schedule(&state)
        }
        reply.onDisconnect {
            self.update { state in
                for waiter in state.waiters where waiter.reply === reply { state.deadlines.cancel(waiter.deadline) }
                state.waiters.removeAll { $0.reply === reply }
            }
        }
        return .later(reply)
    }

    /// Counts an event; whoever waits for it is told when the change of the state is complete.
    func count(_ event: ServerEvent, _ state: inout State) {
        guard let index = ServerEvent.allCases.firstIndex(of: event) else { return }
        state.counts[index] += 1
    }

    /// Answers those whose condition holds.
    func settleWaiters(_ state: inout State) {
        for (position, waiter) in state.waiters.enumerated().reversed() {
            let count: Int
            switch waiter.condition {
            case .event(let event, let least):
                count = ServerEvent.allCases.firstIndex(of: event).map { state.counts[$0] } ?? 0
                guard count >= least else { continue }
            case .gauge(let gauge, let range):
                count = value(gauge, state)
                guard range.contains(count) else { continue }
            }
            state.deadlines.cancel(waiter.deadline)
            state.waiters.remove(at: position)
            waiter.reply.complete(json("{\"count\":\(count)}"))
        }
    }
}

extension HTTPRequest {
    /// The query's parts; of equal names the last one counts. Nothing is decoded but `%2C`-like escapes of ASCII.
    var parameters: [String: String] {
        var result: [String: String] = [:]
        for part in query.split(separator: "&") {
            let pair = part.split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            result[String(pair[0])] = pair.count > 1 ? Self.decoded(pair[1]) : ""
        }
        return result
    }

    private static func decoded(_ text: Substring) -> String {
        var bytes: [UInt8] = []
        var rest = text.utf8[...]
        while let byte = rest.popFirst() {
            let digits = rest.prefix(2)
            if byte == UInt8(ascii: "%"), digits.count == 2, let value = UInt8(String(Substring(digits)), radix: 16) {
                bytes.append(value)
                rest = rest.dropFirst(2)
            } else {
                bytes.append(byte)
            }
        }
        return String(decoding: bytes, as: UTF8.self)
    }
}
