private import Bytes
internal import Pool

/// Which models are LoRA adapters: those that some page has named as one. A page names an adapter only while requests use it.
final class KnownAdapters: Sendable {
    /// More are not remembered; an adapter that is not known counts as a model that every endpoint has.
    private static let limit = 4_096

    private let names = Lock(Set<String>())

    /// Whether the model is an adapter, as far as pages have told until now.
    func contains(_ model: String, learningFrom candidates: Candidates) -> Bool {
        guard candidates.list.contains(where: { candidates.snapshot.metrics[$0.index].maxActiveModels > 0 }) else {
            return false
        }
        return names.withLock { names in
            for candidate in candidates.list {
                let metrics = candidates.snapshot.metrics[candidate.index]
                for name in metrics.activeModels + metrics.waitingModels where names.count < Self.limit {
                    names.insert(name)
                }
            }
            return names.contains(model)
        }
    }
}
