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
            apus-sim: simulated model servers with vLLM's wire behaviour.

            usage: apus-sim --model NAME [--count N] [--port P] [flags]

            Prints "listening ADDRESS:PORT" for every server, then "ready". Ends on SIGTERM and SIGINT.
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
