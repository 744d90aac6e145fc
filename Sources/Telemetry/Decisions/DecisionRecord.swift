import Bytes
import Synchronization

/// What one run of a scheduling profile saw and chose: candidates by position, as dense as the scheduler has them.
package struct ProfileDecision: Sendable {
    package let name: String
    /// The scorers' names, in the order of the rows of `scores`.
    package let scorers: [String]
    /// How many candidates there were.
    package let candidateCount: Int
    /// Unweighted scores, one row of `candidateCount` numbers per scorer.
    package let scores: [Float]
    /// The weighted sum of each candidate.
    package let totals: [Float]
    /// Positions of the picked candidates, best first.
    package let picked: [Int]
    /// `ip:port` of the candidate at a position. It is called when somebody asks, long after the decision; what it holds
    /// lives as long as the record does.
    package let endpoint: @Sendable (Int) -> String

    package init(
        name: String,
        scorers: [String],
        candidateCount: Int,
        scores: [Float],
        totals: [Float],
        picked: [Int],
        endpoint: @escaping @Sendable (Int) -> String
    ) {
        self.name = name
        self.scorers = scorers
        self.candidateCount = candidateCount
        self.scores = scores
        self.totals = totals
        self.picked = picked
        self.endpoint = endpoint
    }

    /// A scorer's score of the candidate at `position`; nil where the rows are shorter than promised.
    func score(scorer: Int, position: Int) -> Float? {
        let index = scorer * candidateCount + position
        return scores.indices.contains(index) ? scores[index] : nil
    }

    func total(_ position: Int) -> Float? {
        totals.indices.contains(position) ? totals[position] : nil
    }
}

/// One decision, made on the request path by storing references; turned into JSON only when somebody looks.
package final class DecisionRecord: Sendable {
    /// A request that Apus sent itself as a part of this one.
    package struct Leg: Sendable {
        /// `encode`, `prefill` or `decode`.
        package var leg: String
        /// `ip:port`.
        package var endpoint: String
        /// 1 for the first.
        package var attempt: Int
        /// `ok`, or a short code such as `connect_failed`.
        package var outcome: String
        package var seconds: Double
        /// Nanoseconds of the monotonic clock; noted when the leg is told of.
        var endedAt: UInt64 = 0

        package init(leg: String, endpoint: String, attempt: Int, outcome: String, seconds: Double) {
            self.leg = leg
            self.endpoint = endpoint
            self.attempt = attempt
            self.outcome = outcome
            self.seconds = seconds
        }
    }

    /// Something that happened to the request, and when.
    package struct Checkpoint: Sendable {
        package var name: String
        /// Nanoseconds since 1970.
        package var wallNanoseconds: UInt64

        package init(name: String, wallNanoseconds: UInt64) {
            self.name = name
            self.wallNanoseconds = wallNanoseconds
        }
    }

    private struct Trail {
        var legs: [Leg] = []
        var checkpoints: [Checkpoint] = []
        /// Profiles that ran again since the decision.
        var profiles: [ProfileDecision] = []
    }

    private final class SharedTrail: Sendable {
        let value = Lock(Trail())
    }

    /// More legs or checkpoints than this are not kept.
    private static let trailLimit = 64

    package let requestID: String
    /// When the decision was made, in nanoseconds since 1970.
    package let wallNanoseconds: UInt64
    package let model: String
    package let targetModel: String
    package let profiles: [ProfileDecision]
    /// Made by the first leg or checkpoint: most requests have none, and a record is made for every request.
    private let trail = AtomicLazyReference<SharedTrail>()
    private let status = Atomic<Int>(0)

    /// What clients chose is clipped to 256 bytes.
    package init(
        requestID: String,
        wallNanoseconds: UInt64 = TelemetryClock.wallNanoseconds(),
        model: String,
        targetModel: String,
        profiles: [ProfileDecision]
    ) {
        self.requestID = requestID.clipped(to: 256)
        self.wallNanoseconds = wallNanoseconds
        self.model = model.clipped(to: 256)
        self.targetModel = targetModel.clipped(to: 256)
        self.profiles = profiles
    }

    /// The profile whose pick the request goes to: the last one.
    var primary: ProfileDecision? { profiles.last }

    /// Notes the HTTP status of the response. From any thread.
    package func responded(status: Int) { self.status.store(status, ordering: .relaxed) }

    private var sharedTrail: SharedTrail { trail.load() ?? trail.storeIfNil(SharedTrail()) }

    /// Notes a leg that ended. From any thread.
    package func append(_ leg: Leg) {
        sharedTrail.value.withLock { if $0.legs.count < Self.trailLimit { $0.legs.append(leg) } }
    }

    /// Notes how a leg ended that was noted before its end. From any thread.
    package func replace(_ leg: Leg) {
        sharedTrail.value.withLock { trail in
            let index = trail.legs.lastIndex {
                $0.leg == leg.leg && $0.endpoint == leg.endpoint && $0.attempt == leg.attempt
            }
            if let index { trail.legs[index] = leg }
        }
    }

    /// Notes a checkpoint. From any thread.
    package func append(_ checkpoint: Checkpoint) {
        sharedTrail.value.withLock { if $0.checkpoints.count < Self.trailLimit { $0.checkpoints.append(checkpoint) } }
    }

    /// Takes back the last checkpoint, if it has this name. From any thread.
    package func removeLast(named name: String) {
        sharedTrail.value.withLock { if $0.checkpoints.last?.name == name { $0.checkpoints.removeLast() } }
    }

    /// A profile ran again: what it chose now takes the place of what it chose before.
    package func replace(_ profile: ProfileDecision) {
        sharedTrail.value.withLock { trail in
            trail.profiles.removeAll { $0.name == profile.name }
            trail.profiles.append(profile)
        }
    }

    func write(to json: inout JSONWriter) {
        let trail = trail.load()?.value.withLock { $0 } ?? Trail()
        let status = status.load(ordering: .relaxed)
        json.object { json in
            json.member("requestId", requestID)
            json.member("time", time: wallNanoseconds)
            json.member("model", model)
            json.member("targetModel", targetModel)
            json.array("profiles") { json in
                let later = trail.profiles
                for profile in profiles {
                    (later.first { $0.name == profile.name } ?? profile).write(to: &json)
                }
                for profile in later where !profiles.contains(where: { $0.name == profile.name }) {
                    profile.write(to: &json)
                }
            }
            json.array("legs") { json in
                for leg in trail.legs {
                    json.object { json in
                        json.member("leg", leg.leg)
                        json.member("endpoint", leg.endpoint)
                        json.member("attempt", leg.attempt)
                        json.member("outcome", leg.outcome)
                        json.member("seconds", leg.seconds)
                    }
                }
            }
            json.array("checkpoints") { json in
                for checkpoint in trail.checkpoints {
                    json.object { json in
                        json.member("name", checkpoint.name)
                        json.member("at", time: checkpoint.wallNanoseconds)
                    }
                }
            }
            json.member("status", status == 0 ? nil : status)
        }
    }
}

extension ProfileDecision {
    fileprivate func write(to json: inout JSONWriter) {
        json.object { json in
            json.member("name", name)
            json.array("candidates") { json in
                for position in 0..<max(0, candidateCount) {
                    json.object { json in
                        json.member("endpoint", endpoint(position))
                        json.object("scores") { json in
                            for (row, scorer) in scorers.enumerated() {
                                json.member(.init(scorer), score(scorer: row, position: position))
                            }
                        }
                        json.member("total", total(position))
                    }
                }
            }
            json.array("picked") { json in
                for position in picked { json.value(endpoint(position)) }
            }
        }
    }
}

extension JSONWriter {
    /// A member whose value is a time in RFC 3339.
    package mutating func member(_ name: Name, time wallNanoseconds: UInt64) {
        member(
            name,
            raw: { bytes in
                bytes.append(UInt8(ascii: "\""))
                bytes.append(rfc3339: wallNanoseconds)
                bytes.append(UInt8(ascii: "\""))
            }
        )
    }
}
