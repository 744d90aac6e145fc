package import Scheduling

/// How far a request has come. After a failure it goes on from the last of these that was reached.
package enum Checkpoint: String, Sendable {
    /// What there was to encode has been, and later legs know of it.
    case encodeComplete = "ENCODE_COMPLETE"
    /// A prefill endpoint has been chosen and its load reserved.
    case prefillSelected = "PREFILL_SELECTED"
    /// The prompt is in that endpoint's cache, and it has said how to get it.
    case prefillComplete = "PREFILL_COMPLETE"
    /// All that the decode endpoint needs to take the cache over is in its request, and it has been chosen.
    case transferComplete = "TRANSFER_COMPLETE"
    /// The decode is on its way. What the prefill left is spent.
    case decodeForwarded = "DECODE_FORWARDED"
}

/// Learns of everything that orchestration does for one request. Called on the request's own task.
package protocol OrchestrationJournal: AnyObject {
    func reached(_ checkpoint: Checkpoint)

    /// What was reached last was not reached after all.
    func retracted(_ checkpoint: Checkpoint)

    /// A leg ended.
    func ended(_ leg: LegReport)

    /// The request ends, and a leg goes on.
    ///
    /// - Returns: to be called when it has ended, from any thread.
    func outlived(by leg: LegReport) -> @Sendable (LegReport) -> Void

    /// The request goes on from where an earlier one with its id had come.
    func resumed()

    /// No prefill (or encode) endpoint could do it: the request fails, or is decoded where its prompt is computed, too.
    func exhausted(_ stage: Stage, decodesLocally: Bool)

    /// The engines cannot split the request, so that the endpoint that decodes does it all; why.
    func decodedAlone(_ reason: String)

    /// A prompt was computed for a decode that never began.
    func stranded()
}

package struct LegReport: Sendable, Equatable {
    package var stage: Stage
    /// `ip:port`.
    package var endpoint: String
    package var attempt: Int
    /// `ok`, `http_503`, a `LegFailure.Code`, or `unfinished`.
    package var outcome: String
    package var seconds: Double

    package init(stage: Stage, endpoint: String, attempt: Int, outcome: String, seconds: Double) {
        self.stage = stage
        self.endpoint = endpoint
        self.attempt = attempt
        self.outcome = outcome
        self.seconds = seconds
    }
}

/// Why a request cannot be served.
package enum OrchestrationError: Error {
    /// The client has left, so nobody is told.
    case clientGone
    /// No endpoint could serve the request as it is; why.
    case unsuitable(String)
    /// An engine says that the request itself is wrong: its answer is the client's.
    case refused(LegAnswer)
    /// Every endpoint that could be tried failed.
    case exhausted(Stage, [LegReport])
    /// The limit of sub-requests left no room for a single attempt.
    case noPermit
    /// The time for all sub-requests is over.
    case deadline
    /// Nobody is there to decode.
    case noDecodeEndpoint

    /// Which endpoints failed how, for who reads the answer.
    package static func describe(_ legs: [LegReport]) -> String {
        legs.map { "\($0.stage.rawValue) \($0.endpoint) \($0.outcome)" }.joined(separator: ", ")
    }
}
