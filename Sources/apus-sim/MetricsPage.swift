import EngineSimulation

/// The `/metrics` page of a vLLM server: everything that never changes is rendered once, and the values are filled in for each scrape.
struct MetricsPage: Sendable {
    /// A place on the page whose value changes.
    enum Slot: Sendable {
        case running, waiting, waitingForCapacity, waitingDeferred, kvCacheUsage
        case prefixCacheQueries, prefixCacheHits, promptTokens, computedPromptTokens, generationTokens, preemptions
        case finishedByStop, finishedByLength, aborted, rejected
        case externalQueries, externalTokens, cachedTokens
        case failedTransfers, expiredLeases, notificationsAfterExpiry
        case bucket(HistogramName, Int), histogramCount(HistogramName), histogramSum(HistogramName)
        case completionsRequests, completionsRequestBytes, completionsResponseBytes
        case chatRequests, chatRequestBytes, chatResponseBytes
        /// Whole lines: there are as many as there were sets of adapters.
        case adapterSets
    }

    private struct Place: Sendable {
        /// The end of the constant text before it.
        let end: Int
        let slot: Slot
    }

    private var constants: [UInt8] = []
    private var places: [Place] = []

    mutating func append(_ text: String) {
        constants.append(contentsOf: text.utf8)
    }

    mutating func append(_ slot: Slot) {
        places.append(Place(end: constants.count, slot: slot))
    }

    /// The page with these values.
    func rendered(_ values: MetricsValues) -> [UInt8] {
        var page: [UInt8] = []
        page.reserveCapacity(constants.count + places.count * 12)
        var start = 0
        for place in places {
            page.append(contentsOf: constants[start..<place.end])
            start = place.end
            if case .adapterSets = place.slot {
                values.appendAdapterSets(to: &page)
            } else {
                page.appendSample(values[place.slot])
            }
        }
        page.append(contentsOf: constants[start...])
        return page
    }
}

/// The values of one scrape.
struct MetricsValues {
    let engine: EngineStatistics
    let server: ServerMetrics
    let fake: FakeMetrics?
    let maxLoras: Int
    /// By `ServerEvent`.
    let events: [Int]

    subscript(_ slot: MetricsPage.Slot) -> Double {
        switch slot {
        case .running: Double(fake?.runningRequests ?? engine.running)
        case .waiting: Double(waiting)
        case .waitingForCapacity: Double(waiting - deferred)
        case .waitingDeferred: Double(deferred)
        case .kvCacheUsage: fake?.kvCacheUsage ?? engine.kvCacheUsage
        case .prefixCacheQueries: Double(fake?.prefixCacheQueries ?? engine.prefixCacheQueries)
        case .prefixCacheHits: Double(fake?.prefixCacheHits ?? engine.prefixCacheHits)
        case .promptTokens: Double(fake?.promptTokens ?? engine.promptTokens)
        case .computedPromptTokens:
            Double(engine.prefixCacheQueries - engine.prefixCacheHits - engine.externalTokens)
        case .externalQueries: Double(engine.prefixCacheQueries - engine.prefixCacheHits)
        case .externalTokens: Double(engine.externalTokens)
        case .cachedTokens: Double((fake?.prefixCacheHits ?? engine.prefixCacheHits) + engine.externalTokens)
        case .failedTransfers: count(.transferFailed)
        case .expiredLeases: count(.expired)
        case .notificationsAfterExpiry: count(.afterExpiry)
        case .generationTokens: Double(fake?.generationTokens ?? engine.generatedTokens)
        case .preemptions: Double(engine.preemptions)
        case .finishedByStop: Double(engine.finishedByStop)
        case .finishedByLength: Double(engine.finishedByLength)
        case .aborted: Double(engine.aborted)
        case .rejected: Double(engine.rejected)
        case .bucket(let name, let index): Double(server.histograms[name.rawValue].cumulative[index])
        case .histogramCount(let name): Double(server.histograms[name.rawValue].count)
        case .histogramSum(let name): server.histograms[name.rawValue].sum
        case .completionsRequests: Double(server.completionsRequests)
        case .completionsRequestBytes: Double(server.completionsRequestBytes)
        case .completionsResponseBytes: Double(server.completionsResponseBytes)
        case .chatRequests: Double(server.chatRequests)
        case .chatRequestBytes: Double(server.chatRequestBytes)
        case .chatResponseBytes: Double(server.chatResponseBytes)
        case .adapterSets: 0
        }
    }

    private func count(_ event: ServerEvent) -> Double {
        ServerEvent.allCases.firstIndex(of: event).map { Double(events[$0]) } ?? 0
    }

    private var waiting: Int { fake?.waitingRequests ?? engine.waiting }
    private var deferred: Int { fake?.waitingRequests == nil ? engine.deferred : 0 }

    func appendAdapterSets(to page: inout [UInt8]) {
        let sets =
            fake?.adapters?.map {
                ServerMetrics.AdapterSet(running: $0.running, waiting: $0.waiting, timestamp: $0.timestamp)
            } ?? server.adapterSets
        for set in sets {
            let labels =
                "max_lora=\"\(maxLoras)\",running_lora_adapters=\"\(set.running.escapedAsLabel)\","
                + "waiting_lora_adapters=\"\(set.waiting.escapedAsLabel)\""
            page.append(contentsOf: "vllm:lora_requests_info{\(labels)} ".utf8)
            page.appendSample(set.timestamp)
            page.append(UInt8(ascii: "\n"))
        }
    }
}

extension String {
    /// As the value of a Prometheus label, between quotes.
    var escapedAsLabel: String {
        guard utf8.contains(where: { $0 == 0x5C || $0 == 0x22 || $0 == 0x0A }) else { return self }
        return unicodeScalars.reduce(into: "") { text, scalar in
            switch scalar {
            case "\\": text += "\\\\"
            case "\"": text += "\\\""
            case "\n": text += "\\n"
            default: text.unicodeScalars.append(scalar)
            }
        }
    }
}

extension [UInt8] {
    /// A sample's value as Python's Prometheus client writes it: `3.0`, `0.25`, `1.7951674776e+09`.
    mutating func appendSample(_ value: Double) {
        if value >= 0, value < 1_000_000, value == value.rounded(.towardZero) {
            appendDigits(Int(value))
            append(contentsOf: [UInt8(ascii: "."), UInt8(ascii: "0")])
            return
        }
        append(contentsOf: sampleText(value).utf8)
    }

    private mutating func appendDigits(_ value: Int) {
        if value >= 10 { appendDigits(value / 10) }
        append(UInt8(ascii: "0") + UInt8(value % 10))
    }
}

/// From a million on the client writes `d.ddde+dd`.
func sampleText(_ value: Double) -> String {
    guard value.isFinite else { return value.isNaN ? "NaN" : value > 0 ? "+Inf" : "-Inf" }
    let text = "\(value)"
    guard value >= 1_000_000, let point = text.firstIndex(of: "."), !text.contains("e") else { return text }
    let exponent = text.distance(from: text.startIndex, to: point) - 1
    var digits = Array(text.filter { $0 != "." })
    while digits.count > 1, digits.last == "0" { digits.removeLast() }
    let fraction = digits.count > 1 ? "." + String(digits.dropFirst()) : ""
    return "\(digits[0])\(fraction)e+\(exponent < 10 ? "0" : "")\(exponent)"
}
