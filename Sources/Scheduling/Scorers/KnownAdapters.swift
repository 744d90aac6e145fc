private import Bytes
internal import Pool

/// Which models are LoRA adapters: those that some page has named as one. A page names an adapter only while requests use it.
final class KnownAdapters: Sendable {
    /// More are not remembered; an adapter that is not known counts as a model that every endpoint has.
    private static let limit = 4_096

    private struct State {
        var names = Set<String>()
        /// The snapshot whose pages were read last, and whether any of its endpoints takes adapters.
        var snapshot: Snapshot?
        var takesAdapters = false
    }

    private let state = Lock(State())

    /// Whether the model is an adapter, as far as pages have told until now. Pages are read once, not for every decision.
    func contains(_ model: String, learningFrom snapshot: Snapshot) -> Bool {
        state.withLock { state in
            if state.snapshot !== snapshot {
                state.snapshot = snapshot
                state.takesAdapters = snapshot.forEachAdapter { Self.learn($0, &state.names) }
            }
            return state.takesAdapters && state.names.contains(model)
        }
    }

    private static func learn(_ name: String, _ names: inout Set<String>) {
        if names.count < limit { names.insert(name) }
    }
}
