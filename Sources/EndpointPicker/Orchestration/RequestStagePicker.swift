internal import Bytes
internal import Orchestration
internal import Pool
internal import Scheduling
internal import Telemetry

/// Chooses endpoints for the legs of one request by its decision's profiles, and shows each choice in the request's record.
final class RequestStagePicker: StagePicker {
    private let director: Director
    private let scheduler: Scheduler
    private let request: SchedulingRequest
    private let subset: SubsetHint?
    private let record: RequestRecord
    private var generator: SeededGenerator

    init(
        _ director: Director,
        _ scheduler: Scheduler,
        _ request: SchedulingRequest,
        subset: SubsetHint?,
        record: RequestRecord,
        generator: SeededGenerator
    ) {
        self.director = director
        self.scheduler = scheduler
        self.request = request
        self.subset = subset
        self.record = record
        self.generator = generator
    }

    func pick(_ stage: Stage, peer: Endpoint?, excluding isExcluded: (Endpoint) -> Bool) -> StagePick? {
        for attempt in 1...Director.rescheduleLimit {
            let all = director.pool.candidates(in: subset, at: .now())
            let candidates = all.filtered { !isExcluded(all.endpoint($0)) }
            let picked = try? scheduler.pick(stage, request, candidates, peer: peer, using: &generator)
            guard let result = picked ?? nil else { return nil }
            // Another request may have been sent there since the load was read; what it added counts now.
            if let pick = reserve(stage, result, whatever: attempt == Director.rescheduleLimit) { return pick }
        }
        return nil
    }

    func canPick(_ stage: Stage, excluding isExcluded: (Endpoint) -> Bool) -> Bool {
        let all = director.pool.candidates(in: subset, at: .now())
        let candidates = all.filtered { !isExcluded(all.endpoint($0)) }
        let picked = try? scheduler.pick(stage, request, candidates, using: &generator)
        return (picked ?? nil) != nil
    }

    private func reserve(_ stage: Stage, _ result: ProfileResult, whatever: Bool) -> StagePick? {
        let load = scheduler.policies.inFlightLoad
        let matches = scheduler.prefixCache?.match(request.prefix, result.candidates)
        var tokens = InFlightLoad.uncachedTokens(request, matches, at: result.index)
        if stage == .decode { tokens += load.outputTokens(request) }
        let reservation =
            whatever
            ? director.pool.reserve(result.endpoint, tokens: tokens)
            : director.pool.reserve(result.candidates, result.picked[0], tokens: tokens)
        guard let reservation else { return nil }
        scheduler.record(request, result)
        if stage == .decode { record.pick = RequestRecord.Pick(result.endpoint) }
        record.decision?.replace(result.decision)
        return StagePick(endpoint: result.endpoint, reservation: reservation)
    }
}
