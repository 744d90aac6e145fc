internal import Admission
internal import Telemetry

extension AdmissionSettings {
    /// What `/debug/config` shows of admission; of flow control nothing while it is off.
    func write(to json: inout JSONWriter) {
        json.object("saturationDetector") { json in
            json.member("type", "\(type(of: detector))")
            json.reflect("parameters", detector)
        }
        guard let flowControl else { return }
        json.object("flowControl") { json in
            json.member("maxRequests", flowControl.maxRequests)
            json.member("maxBytes", flowControl.maxBytes)
            json.member("defaultRequestTTL", flowControl.requestTTL.map { JSONWriter.text($0) })
            json.member("noEndpointRequestTTL", flowControl.noEndpointTTL.map { JSONWriter.text($0) })
            json.reflect("usageLimitPolicy", flowControl.usageLimit)
            json.member("enableEviction", flowControl.evictsDispatched)
            json.object("defaultPriorityBand") { flowControl.defaultBand.write(to: &$0) }
            if let band = flowControl.defaultNegativeBand {
                json.object("defaultNegativePriorityBand") { band.write(to: &$0) }
            }
            json.array("priorityBands") { json in
                for (priority, band) in flowControl.bands.sorted(by: { $0.key > $1.key }) {
                    json.object { json in
                        json.member("priority", priority)
                        band.write(to: &json)
                    }
                }
            }
        }
    }
}

extension BandSettings {
    fileprivate func write(to json: inout JSONWriter) {
        json.member("maxRequests", maxRequests)
        json.member("maxBytes", maxBytes)
        json.member("fairnessPolicy", "\(type(of: fairness))")
        json.member("orderingPolicy", "\(type(of: ordering))")
    }
}
