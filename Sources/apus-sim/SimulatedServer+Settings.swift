import Bytes
import EngineSimulation
import HTTPServer

/// The settings that are told and changed at run time.
extension SimulatedServer {
    func configuration(_ state: borrowing State) -> JSONValue {
        let live = state.live
        let latency = live.latency
        let faults = live.faults
        return .object([
            ("model", .string(options.model)),
            ("role", .string(role?.rawValue ?? "")),
            ("port", .integer(state.port)),
            ("max-num-seqs", .integer(options.engine.maxNumSeqs)),
            ("max-model-len", .integer(options.engine.maxModelLen)),
            ("kv-cache-size", .integer(options.engine.kvCacheSize)),
            ("block-size", .integer(options.engine.blockSize)),
            ("mode", .string(live.mode.rawValue)),
            ("latency-calculator", .string(latency.calculator.rawValue)),
            ("time-to-first-token", .string(DurationText.write(latency.timeToFirstToken))),
            ("prefill-overhead", .string(DurationText.write(latency.prefillOverhead))),
            ("prefill-time-per-token", .string(DurationText.write(latency.prefillTimePerToken))),
            ("inter-token-latency", .string(DurationText.write(latency.interTokenLatency))),
            ("time-factor-under-load", .number(latency.timeFactorUnderLoad)),
            ("failure-injection-rate", .integer(faults.failureInjectionRate)),
            ("failure-types", .array(faults.failureTypes.map { .string($0.rawValue) })),
            ("hang", .bool(faults.hangs)),
            ("drop", .bool(faults.drops)),
            ("cut-after-tokens", .integer(faults.cutAfterTokens ?? -1)),
            ("metrics-status", .integer(faults.metricsStatus)),
            ("metrics-hang", .bool(faults.metricsHang)),
            ("health-status", .integer(faults.healthStatus)),
            ("fake-metrics", live.fakeMetrics?.json ?? .null),
        ])
    }

    func configure(_ request: HTTPRequest) -> HTTPResponse {
        do {
            let document: JSONValue
            do throws(JSONError) {
                document = try JSONReader.read(request.body)
            } catch {
                throw OptionError("not JSON: \(error.message) at byte \(error.offset)")
            }
            guard let members = document.members else { throw OptionError("a JSON object is expected") }
            return try state.withLock { state in
                var live = state.live
                for (name, value) in members { try live.set(name, value) }
                try options.latency(live.latency)
                state.live = live
                state.engine.setLatency(live.latency)
                state.page = nil
                return json(configuration(state).text)
            }
        } catch {
            let message = (error as? OptionError)?.message ?? "\(error)"
            return json(APIError.badRequest(message).body(for: nil), status: 400)
        }
    }
}

extension LiveSettings {
    /// Sets what a member of `POST /admin/config` says.
    mutating func set(_ name: String, _ value: JSONValue) throws(OptionError) {
        let setting = Setting.all.first { $0.name == name }
        do throws(OptionError) {
            switch setting?.effect {
            case .live(let set):
                let text =
                    switch value {
                    case .string(let text): text
                    case .array(let elements) where name == "failure-types":
                        elements.compactMap(\.string).joined(separator: ",")
                    default: value.text
                    }
                try set(&self, text)
            case .liveToggle(let set):
                guard let on = value.bool else { throw OptionError("takes true or false") }
                set(&self, on)
            case nil: throw OptionError("is not known")
            default: throw OptionError("cannot change at run time")
            }
        } catch {
            throw OptionError("\(name): \(error.message)")
        }
    }
}
