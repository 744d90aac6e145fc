import Bytes
import EngineSimulation

/// The histograms of a vLLM metrics page.
enum HistogramName: Int, CaseIterable, Sendable {
    case requestPromptTokens, requestGenerationTokens, iterationTokens, requestMaxGenerationTokens, requestN
    case requestMaxTokens, timeToFirstToken, interTokenLatency, requestTimePerOutputToken, endToEnd, queueTime
    case inferenceTime, prefillTime, decodeTime, preemptions, prefillComputedTokens
    case httpDuration, httpCompletionsDuration, httpChatDuration

    /// vLLM's bucket bounds, which grow with nothing but for the token counts, whose last is set by the context window.
    func bounds(maxModelLen: Int) -> [Double] {
        switch self {
        case .requestPromptTokens, .requestGenerationTokens, .requestMaxGenerationTokens, .requestMaxTokens,
            .prefillComputedTokens:
            Self.tokenCounts(upTo: maxModelLen)
        case .iterationTokens: [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384]
        case .requestN: [1, 2, 5, 10, 20]
        case .timeToFirstToken:
            [
                0.001, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.25, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80, 160,
                640, 2560,
            ]
        case .interTokenLatency, .requestTimePerOutputToken:
            [0.01, 0.025, 0.05, 0.075, 0.1, 0.15, 0.2, 0.3, 0.4, 0.5, 0.75, 1, 2.5, 5, 7.5, 10, 20, 40, 80]
        case .endToEnd, .queueTime, .inferenceTime, .prefillTime, .decodeTime:
            [0.3, 0.5, 0.8, 1, 1.5, 2, 2.5, 5, 10, 15, 20, 30, 40, 50, 60, 120, 240, 480, 960, 1920, 7680]
        case .preemptions: [1, 2, 3, 4, 5, 10, 20]
        case .httpDuration:
            [0.01, 0.025, 0.05, 0.075, 0.1, 0.25, 0.5, 0.75, 1, 1.5, 2, 2.5, 3, 3.5, 4, 4.5, 5, 7.5, 10, 30, 60]
        case .httpCompletionsDuration, .httpChatDuration: [0.1, 0.5, 1]
        }
    }

    /// 1, 2, 5, 10, 20, 50 … up to the limit.
    private static func tokenCounts(upTo limit: Int) -> [Double] {
        var bounds: [Double] = []
        var power = 1
        while true {
            for mantissa in [1, 2, 5] {
                guard mantissa * power <= limit else { return bounds }
                bounds.append(Double(mantissa * power))
            }
            power *= 10
        }
    }
}

/// What a server counts beside its engine's own statistics.
struct ServerMetrics: Sendable {
    /// The set of adapters that ran and waited at a time; old sets stay on the page with their old times, as vLLM leaves them there.
    struct AdapterSet: Sendable {
        var running: String
        var waiting: String
        var timestamp: Double
    }

    private static let keptAdapterSets = 32

    var histograms: [Histogram]
    var adapterSets: [AdapterSet] = []
    var completionsRequests = 0
    var completionsRequestBytes = 0
    var completionsResponseBytes = 0
    var chatRequests = 0
    var chatRequestBytes = 0
    var chatResponseBytes = 0

    init(maxModelLen: Int) {
        histograms = HistogramName.allCases.map { Histogram(bounds: $0.bounds(maxModelLen: maxModelLen)) }
    }

    mutating func observe(_ name: HistogramName, _ value: Double) {
        histograms[name.rawValue].observe(value)
    }

    /// A request that has run to its end.
    mutating func finished(_ record: EngineRequestRecord, maxTokens: Int) {
        observe(.requestPromptTokens, Double(record.promptTokens))
        observe(.requestGenerationTokens, Double(record.generatedTokens))
        observe(.requestMaxGenerationTokens, Double(record.generatedTokens))
        observe(.requestN, 1)
        observe(.requestMaxTokens, Double(maxTokens))
        observe(.preemptions, Double(record.preemptions))
        observe(.prefillComputedTokens, Double(record.promptTokens - record.cachedTokens))
        observe(.endToEnd, record.ended.seconds(since: record.arrived))
        guard let started = record.started else { return }
        observe(.queueTime, started.seconds(since: record.arrived))
        observe(.inferenceTime, record.ended.seconds(since: started))
        guard let firstToken = record.firstToken else { return }
        let decode = record.ended.seconds(since: firstToken)
        observe(.prefillTime, firstToken.seconds(since: started))
        observe(.decodeTime, decode)
        if record.generatedTokens > 1 {
            observe(.requestTimePerOutputToken, decode / Double(record.generatedTokens - 1))
        }
    }

    /// The adapters as they are now. A set that was there before gets a new time.
    mutating func adapters(running: [String], waiting: [String], at timestamp: Double) {
        let set = AdapterSet(
            running: running.joined(separator: ","),
            waiting: waiting.joined(separator: ","),
            timestamp: timestamp
        )
        if let index = adapterSets.firstIndex(where: { $0.running == set.running && $0.waiting == set.waiting }) {
            adapterSets[index].timestamp = timestamp
        } else {
            if adapterSets.count == Self.keptAdapterSets { adapterSets.removeFirst() }
            adapterSets.append(set)
        }
    }
}
