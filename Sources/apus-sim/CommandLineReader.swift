import EngineSimulation

/// Reads `--name value`, `--name=value`, `--name` and `--no-name`.
enum CommandLineReader {
    static func read(_ arguments: [String], into options: inout Options) throws(OptionError) {
        var rest = arguments[...]
        while let argument = rest.popFirst() {
            guard argument.hasPrefix("--") else { throw OptionError("\(argument) is no flag; see --help") }
            let parts = argument.dropFirst(2).split(separator: "=", maxSplits: 1, omittingEmptySubsequences: false)
            var name = String(parts[0])
            var value = parts.count > 1 ? String(parts[1]) : nil
            if value == nil, name.hasPrefix("no-"), isToggle(String(name.dropFirst(3))) {
                name = String(name.dropFirst(3))
                value = "false"
            }
            guard let setting = Setting.all.first(where: { $0.name == name }) else {
                throw OptionError("--\(name) is not known; see --help")
            }
            do throws(OptionError) {
                try apply(setting, value, &rest, to: &options)
            } catch {
                throw OptionError("--\(name): \(error.message)")
            }
        }
    }

    private static var faultKinds: String {
        var lines = [""]
        for (name, _) in FaultRule.kinds {
            let last = lines[lines.count - 1]
            if last.count + name.count > 110 { lines.append(name) } else { lines[lines.count - 1] = last + " " + name }
        }
        return lines.map { String($0.drop { $0 == " " }) }.joined(separator: "\n")
    }

    private static func isToggle(_ name: String) -> Bool {
        switch Setting.all.first(where: { $0.name == name })?.effect {
        case .toggle, .liveToggle: true
        default: false
        }
    }

    private static func apply(
        _ setting: Setting,
        _ inline: String?,
        _ rest: inout ArraySlice<String>,
        to options: inout Options
    ) throws(OptionError) {
        switch setting.effect {
        case .atStart(let set): try set(&options, try value(inline, &rest))
        case .live(let set):
            let text = try value(inline, &rest)
            try options.changeLive { live throws(OptionError) in try set(&live, text) }
        case .toggle(let set): set(&options, try truth(inline))
        case .liveToggle(let set):
            let on = try truth(inline)
            try options.changeLive { live throws(OptionError) in set(&live, on) }
        case .list(let set):
            var values = inline.map { [$0] } ?? []
            while let next = rest.first, !next.hasPrefix("--") {
                values.append(next)
                rest.removeFirst()
            }
            guard !values.isEmpty else { throw OptionError("needs a value") }
            try set(&options, values)
        }
    }

    private static func value(_ inline: String?, _ rest: inout ArraySlice<String>) throws(OptionError) -> String {
        guard let value = inline ?? rest.popFirst() else { throw OptionError("needs a value") }
        return value
    }

    private static func truth(_ text: String?) throws(OptionError) -> Bool {
        switch text {
        case nil, "true": true
        case "false": false
        default: throw OptionError("takes true or false")
        }
    }

    static var help: String {
        var text = """
            apus-sim: simulated model servers with the wire behaviour of vLLM, SGLang or TensorRT-LLM.

            usage: apus-sim --model NAME [--count N] [--port P] [flags]

            Prints "listening ADDRESS:PORT" for every server, then "bootstrap" and "control" lines for what else listens, then
            "ready". Ends on SIGTERM and SIGINT.
            Flags (default in parentheses; those with * also as members of POST /admin/config):


            """
        let width = (Setting.all.map(\.name.count).max() ?? 0) + 2
        for setting in Setting.all {
            let isLive =
                switch setting.effect {
                case .live, .liveToggle: true
                default: false
                }
            let padding = String(repeating: " ", count: width - setting.name.count)
            let standard = setting.standard.isEmpty ? "" : " (\(setting.standard))"
            text += "  --\(setting.name)\(padding)\(isLive ? "*" : " ") \(setting.help)\(standard)\n"
        }
        text += """

            Requests may carry X-Return-Error: a status from 400 to 599, or the name of a failure type.
            GET /admin/requests lists what arrived; DELETE forgets it. GET /admin/config tells the settings.

            Faults: [LEG-]KIND[=RATE][,key=value…], several with ";" between, by --fault, by POST /sim/faults or by the request
            header X-Sim-Fault. LEG: prefill, decode, encode or monolithic. RATE: 0 to 1. Keys: attempt (X-Processor-Attempt),
            id (beginning of X-Request-Id), count, delay, tokens, down. KIND is a status from 400 to 599 or one of
            \(faultKinds)
            Example: --fault prefill-503=0.01 "decode-hang,attempt=1,count=3"

            GET  /sim/audit    legs, counters and gauges (?request_id=, ?leg=)
            GET  /sim/wait     answers when ?event=NAME&count=N or ?gauge=NAME&at_most=N holds, 408 after ?timeout=
            GET, POST, DELETE /sim/faults    {"rules":[…]} replaces them, {"add":[…]} adds
            POST /sim/restart  a new engine: open requests are cut, KV is lost, the engine id changes
            POST /sim/stop     {"down":"2s"}: the port refuses, until POST /sim/start
            POST /sim/expire   all leases end now
            All take ?server=N for another server of the process.

            """
        return text
    }
}

extension Options {
    /// Lets the settings that can change at run time be changed.
    mutating func changeLive(_ change: (inout LiveSettings) throws(OptionError) -> Void) throws(OptionError) {
        var live = live
        try change(&live)
        engine.latency = live.latency
        mode = live.mode
        faults = live.faults
        fakeMetrics = live.fakeMetrics
    }

    var live: LiveSettings {
        LiveSettings(latency: engine.latency, mode: mode, faults: faults, fakeMetrics: fakeMetrics)
    }
}
