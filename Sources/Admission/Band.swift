/// What waits at one priority. A class, so that nobody who looks at one copies what waits in it.
final class Band {
    let priority: Int
    let settings: BandSettings
    private(set) var byteCount = 0
    private(set) var arrivals = ArrivalList()
    /// Those of them that wait as long as the settings say, so that the first of them ends first.
    private(set) var common = ArrivalList(\.commonPlace)
    private var line: any WaitingLine

    init(priority: Int, settings: BandSettings) {
        self.priority = priority
        self.settings = settings
        line = settings.fairness.makeLine()
    }

    var count: Int { arrivals.count }
    var isEmpty: Bool { arrivals.isEmpty }

    func append(_ request: QueuedRequest) {
        byteCount += request.request.byteCount
        arrivals.append(request)
        if request.request.timeToLive == nil { common.append(request) }
        line.append(request)
    }

    func popNext() -> QueuedRequest? {
        guard let request = line.popNext() else { return nil }
        byteCount -= request.request.byteCount
        arrivals.remove(request)
        common.remove(request)
        return request
    }

    func remove(_ request: QueuedRequest) {
        byteCount -= request.request.byteCount
        arrivals.remove(request)
        common.remove(request)
        line.remove(request)
    }
}
