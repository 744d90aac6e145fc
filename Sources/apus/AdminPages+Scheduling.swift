internal import Scheduling
internal import Telemetry

extension Scheduler {
    /// What `/debug/config` shows of scheduling: the plugins with the parameters that they go by.
    func write(to json: inout JSONWriter) {
        json.array("schedulingProfiles") { json in
            for profile in profiles { profile.write(to: &json) }
        }
        json.object("profileHandler") { json in
            json.member("name", handlerPlugin.name)
            json.member("type", handlerPlugin.type)
            json.reflect("parameters", handler)
        }
        if let conditionalDecider { json.reflect("conditionalDecider", conditionalDecider) }
        if let prefixCache { json.reflect("prefixCache", prefixCache.settings) }
        json.reflect("inFlightLoad", policies.inFlightLoad)
    }
}

extension SchedulingProfile {
    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.member("name", name)
            json.array("filters") { json in
                for filter in filters {
                    json.object { json in
                        json.member("name", filter.name)
                        json.member("type", filter.type)
                        json.reflect("parameters", filter.filter)
                    }
                }
            }
            json.array("scorers") { json in
                for scorer in scorers {
                    json.object { json in
                        json.member("name", scorer.name)
                        json.member("type", scorer.type)
                        json.member("weight", scorer.weight)
                        json.reflect("parameters", scorer.scorer)
                    }
                }
            }
            json.object("picker") { json in
                json.member("name", pickerName)
                json.member("type", pickerType)
                json.reflect("parameters", picker)
            }
        }
    }
}
