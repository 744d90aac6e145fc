internal import Configuration
internal import EndpointPicker
internal import Telemetry

extension SchedulingSetup {
    /// What `/debug/config` shows of priorities and rewritten models.
    func writeObjectives(to json: inout JSONWriter) {
        json.array("objectives") { json in
            for objective in objectives.objectives {
                json.object { json in
                    json.member("name", objective.name)
                    json.member("priority", objective.priority)
                }
            }
        }
        json.array("modelRewrites") { json in
            for rewrite in modelRewrites.rewrites { rewrite.write(to: &json) }
        }
    }
}

extension InferenceModelRewrite {
    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.member("name", name)
            json.array("rules") { json in
                for rule in rules {
                    json.object { json in
                        json.array("models") { json in for model in rule.models { json.value(model) } }
                        json.array("targets") { json in
                            for target in rule.targets {
                                json.object { json in
                                    json.member("modelRewrite", target.model)
                                    json.member("weight", target.weight)
                                }
                            }
                        }
                    }
                }
            }
        }
    }
}
