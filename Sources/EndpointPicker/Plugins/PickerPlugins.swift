internal import Configuration
internal import Scheduling

extension PluginRegistry {
    static let pickerPlugins: [String: Factory] = [
        "max-score-picker": { parameters in
            .picker(MaxScorePicker(maxNumOfEndpoints: maxNumOfEndpoints(&parameters)))
        },
        "random-picker": { parameters in
            .picker(RandomPicker(maxNumOfEndpoints: maxNumOfEndpoints(&parameters)))
        },
        "weighted-random-picker": { parameters in
            .picker(WeightedRandomPicker(maxNumOfEndpoints: maxNumOfEndpoints(&parameters)))
        },
    ]

    /// How many endpoints a picker names. The reference takes anything below 1 for 1 and says nothing.
    private static func maxNumOfEndpoints(_ parameters: inout Fields) -> Int {
        guard let count = parameters.integer("maxNumOfEndpoints", in: Int.min...1_000) else { return 1 }
        if count < 1 {
            parameters.diagnostics.warning(
                "parameter \"maxNumOfEndpoints\" below 1 counts as 1",
                at: parameters.position(of: "maxNumOfEndpoints")
            )
        }
        return max(1, count)
    }
}
