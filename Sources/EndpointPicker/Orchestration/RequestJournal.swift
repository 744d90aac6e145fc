internal import Orchestration
internal import Scheduling
internal import Telemetry

/// Writes what orchestration does for one request where operators look: the decision, the access log, the metrics.
final class RequestJournal: OrchestrationJournal {
    private let record: RequestRecord
    private let telemetry: Telemetry

    init(_ record: RequestRecord, _ telemetry: Telemetry) {
        self.record = record
        self.telemetry = telemetry
        record.attempts = 0
    }

    func reached(_ checkpoint: Checkpoint) {
        // An answer may begin while the prefill beside its decode has not ended, and tells of it all the same.
        if checkpoint == .prefillSelected { record.attempts = (record.attempts ?? 0) + 1 }
        record.decision?.append(
            DecisionRecord.Checkpoint(name: checkpoint.rawValue, wallNanoseconds: TelemetryClock.wallNanoseconds())
        )
    }

    func retracted(_ checkpoint: Checkpoint) {
        if checkpoint == .prefillSelected { record.attempts = max(0, (record.attempts ?? 0) - 1) }
        record.decision?.removeLast(named: checkpoint.rawValue)
    }

    func ended(_ leg: LegReport) {
        if leg.stage == .prefill, leg.outcome == LegFailure.Code.noPermit.rawValue {
            record.attempts = max(0, (record.attempts ?? 0) - 1)
        }
        let leg = DecisionRecord.Leg(leg)
        record.decision?.append(leg)
        telemetry.legEnded(record, leg)
    }

    func outlived(by leg: LegReport) -> @Sendable (LegReport) -> Void {
        let leg = DecisionRecord.Leg(leg)
        record.decision?.append(leg)
        telemetry.legOutlives(record, leg)
        return { [telemetry, decision = record.decision] leg in
            let leg = DecisionRecord.Leg(leg)
            decision?.replace(leg)
            telemetry.legEnded(leg)
        }
    }

    func resumed() { telemetry.orchestration(.resumed) }

    func exhausted(_ stage: Stage, decodesLocally: Bool) {
        telemetry.orchestration(decodesLocally ? .decodedLocally : .exhausted)
    }

    func decodedAlone(_ reason: String) {
        telemetry.orchestration(.decodedAlone)
        record.decision?.append(
            DecisionRecord.Checkpoint(
                name: "DECODE_ALONE: \(reason)",
                wallNanoseconds: TelemetryClock.wallNanoseconds()
            )
        )
    }

    func stranded() { telemetry.orchestration(.stranded) }
}

extension DecisionRecord.Leg {
    fileprivate init(_ leg: LegReport) {
        self.init(
            leg: leg.stage.rawValue,
            endpoint: leg.endpoint,
            attempt: leg.attempt,
            outcome: leg.outcome,
            seconds: leg.seconds
        )
    }
}
