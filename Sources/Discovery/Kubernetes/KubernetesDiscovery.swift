internal import Bytes
package import Configuration
package import Pool

/// Endpoints, objectives and rewritten models as a Kubernetes API tells them, for as long as this object lives.
///
/// While the API is away everything stays as it was last known.
package final class KubernetesDiscovery: Sendable {
    /// Which pods are the endpoints.
    package enum Source: Sendable, Equatable {
        /// Those that an `InferencePool` selects, on its ports.
        case pool(name: String, group: String)
        /// Those with these labels, on these ports. `poolName`: whose objectives count; nil for all.
        case pods(LabelSelector, ports: [Int], poolName: String?)
    }

    package struct Settings: Sendable {
        package var source: Source
        package var namespace: String
        package var reflector = ReflectorSettings()

        package init(_ source: Source, namespace: String) {
            self.source = source
            self.namespace = namespace
        }
    }

    package enum Event: Sendable {
        /// The endpoints, when they are first known and after each change.
        case endpoints([EndpointDescription])
        /// There is no such pool, or none any more; there are no endpoints until there is one. Told once each time.
        case poolMissing
        /// The pool says that its pods speak another protocol than HTTP/1.1, the only one of scrapes and of requests of our own. Told once for
        /// each protocol.
        case foreignProtocol(String)
        case objectives([InferenceObjective])
        /// The one that wins first.
        case modelRewrites([InferenceModelRewrite])
        /// The API does not answer for one kind of objects, or refuses. Told once, until it does again.
        case failing(kind: String, KubernetesError)
        case recovered(kind: String)
        /// Something was passed over because it cannot be read. Told for the first of each kind.
        case malformed(String)
    }

    private struct State {
        var pods: Reflector<PodObject>?
        /// Of `pods`, or of what will take its place once it is listed.
        var podSelector: LabelSelector?
        var nextPods: Reflector<PodObject>?
        var isMissing = false
        var protocolTold = "http"
        /// Of `pods`; nil before they are listed.
        var endpoints: EndpointList?
        var objectives: [InferenceObjective] = []
        var rewrites: [InferenceModelRewrite] = []
        var task: Task<Void, Never>?
    }

    private let client: KubernetesClient
    private let settings: Settings
    private let onEvent: @Sendable (Event) -> Void
    private let pools: Reflector<InferencePoolObject>?
    private let objectives: [Reflector<InferenceObjectiveObject>]
    private let rewrites: [Reflector<InferenceModelRewriteObject>]
    private let state = Lock(State())
    /// At most one signal waits: whoever takes it sees all changes up to then.
    private let signals: AsyncStream<Void>
    private let signal: AsyncStream<Void>.Continuation

    /// - Parameter onEvent: one call at a time, on a task of its own for what the objects say, and on others for the rest; must not block.
    package init(_ settings: Settings, client: KubernetesClient, onEvent: @escaping @Sendable (Event) -> Void) {
        self.settings = settings
        self.client = client
        self.onEvent = onEvent
        (signals, signal) = AsyncStream.makeStream(bufferingPolicy: .bufferingNewest(1))
        let signal = signal
        let maker = ReflectorMaker(client: client, settings: settings, signal: signal, onEvent: onEvent)
        if case .pool(let name, let group) = settings.source {
            let version = InferencePoolObject.version(of: group)
            pools = maker.make(group: group, version: version, "inferencepools", field: "metadata.name=\(name)")
        } else {
            pools = nil
        }
        objectives = ObjectiveGroup.all.map {
            maker.make(group: $0, version: ObjectiveGroup.version, "inferenceobjectives")
        }
        rewrites = ObjectiveGroup.all.map {
            maker.make(group: $0, version: ObjectiveGroup.version, "inferencemodelrewrites")
        }
    }

    deinit { stop() }

    /// Asks the API from now on.
    package func start() {
        pools?.start()
        for reflector in objectives { reflector.start() }
        for reflector in rewrites { reflector.start() }
        let signals = signals
        let task = Task { [weak self] in
            for await _ in signals {
                guard let self else { return }
                update()
            }
        }
        state.withLock { $0.task = task }
        signal.yield()
    }

    /// Ends all requests. No endpoints are told of afterwards, except by a call under way.
    package func stop() {
        signal.finish()
        let (task, pods) = state.withLock { ($0.task, [$0.pods, $0.nextPods]) }
        task?.cancel()
        pools?.stop()
        for reflector in pods { reflector?.stop() }
        for reflector in objectives { reflector.stop() }
        for reflector in rewrites { reflector.stop() }
    }

    /// What the reflectors have seen and done, by kind.
    package var counts: [String: ReflectorCounts] {
        var counts: [String: ReflectorCounts] = [:]
        if let pools { counts["inferencepools"] = pools.counts }
        counts["pods"] = state.withLock { $0.pods ?? $0.nextPods }?.counts
        for (group, reflector) in zip(ObjectiveGroup.all, objectives) {
            counts["inferenceobjectives.\(group)"] = reflector.counts
        }
        for (group, reflector) in zip(ObjectiveGroup.all, rewrites) {
            counts["inferencemodelrewrites.\(group)"] = reflector.counts
        }
        return counts
    }

    // MARK: From objects to events, on the task only

    private func update() {
        let pool: (selector: LabelSelector, ports: [Int])?
        let poolName: String?
        var poolLabels: [String: String] = [:]
        switch settings.source {
        case .pods(let selector, let ports, let name):
            pool = (selector, ports)
            poolName = name
        case .pool(let name, _):
            poolName = name
            guard let known = pools?.objects else { return }
            let object = known[ObjectKey(namespace: settings.namespace, name: name)]
            pool = object.flatMap { $0.metadata.isBeingDeleted ? nil : ($0.selector, $0.targetPorts) }
            poolLabels = object?.metadata.labels ?? [:]
            if let object { noteProtocol(object.appProtocol) }
        }
        if let pool { updateEndpoints(pool.selector, pool.ports) } else { forgetEndpoints() }
        updateObjectives(poolName, poolLabels)
    }

    private func noteProtocol(_ name: String) {
        let isNews = state.withLock { state in
            guard name != "http", !name.isEmpty, name != state.protocolTold else { return false }
            state.protocolTold = name
            return true
        }
        if isNews { onEvent(.foreignProtocol(name)) }
    }

    private func forgetEndpoints() {
        let (isNews, reflectors) = state.withLock { state in
            let isNews = !state.isMissing
            state.isMissing = true
            state.endpoints = nil
            state.podSelector = nil
            defer { (state.pods, state.nextPods) = (nil, nil) }
            return (isNews, [state.pods, state.nextPods])
        }
        for reflector in reflectors { reflector?.stop() }
        if isNews { onEvent(.poolMissing) }
    }

    private func updateEndpoints(_ selector: LabelSelector, _ ports: [Int]) {
        followPods(selector)
        let (isNews, endpoints, replaced) = state.withLock { state in
            state.isMissing = false
            var replaced: Reflector<PodObject>?
            // Pods of a changed selector take the others' place when they are known, so that nobody is without endpoints meanwhile.
            if let next = state.nextPods, next.objects != nil {
                replaced = state.pods
                (state.pods, state.nextPods) = (next, nil)
            }
            let isNews = Self.update(&state, selector, ports)
            return (isNews, state.endpoints?.endpoints ?? [], replaced)
        }
        replaced?.stop()
        if isNews { onEvent(.endpoints(endpoints)) }
    }

    /// Brings the endpoints up to date; true when that changed them.
    private static func update(_ state: inout State, _ selector: LabelSelector, _ ports: [Int]) -> Bool {
        // The server selects, but what it says of a pod may be older than what it says of the pool. Until the pods of a changed selector are
        // known, all those of the one before stay.
        let rules = EndpointList.Rules(selector: state.nextPods == nil ? selector : nil, ports: ports)
        switch state.pods?.takeChanges(needsAll: state.endpoints?.rules != rules) {
        case nil: return false
        case .some(let changes)?:
            var isNews = false
            for (key, pod) in changes where state.endpoints?.update(key, pod) ?? false { isNews = true }
            return isNews
        case .all(let pods)?:
            let now = EndpointList(of: pods.values, rules)
            defer { state.endpoints = now }
            return state.endpoints?.endpoints != now.endpoints
        }
    }

    /// Makes sure that pods of this selector are watched.
    private func followPods(_ selector: LabelSelector) {
        guard state.withLock({ $0.podSelector }) != selector else { return }
        let maker = ReflectorMaker(client: client, settings: settings, signal: signal, onEvent: onEvent)
        let reflector: Reflector<PodObject> = maker.make(
            group: "",
            version: "v1",
            "pods",
            label: selector.requirements.isEmpty ? nil : selector.description
        )
        let abandoned = state.withLock { state in
            state.podSelector = selector
            defer { state.nextPods = reflector }
            return state.nextPods
        }
        abandoned?.stop()
        reflector.start()
    }

    private func updateObjectives(_ pool: String?, _ labels: [String: String]) {
        let objectives = objectives.flatMap { reflector in
            (reflector.objects ?? [:]).values
                .filter { $0.pools.includes(pool: pool, labels: labels) && !$0.metadata.isBeingDeleted }
                .map(\.objective).sorted { $0.name < $1.name }
        }
        // Of several rules for one model the oldest object's counts, as the API's documentation says.
        let rewrites = rewrites.flatMap { ($0.objects ?? [:]).values }
            .filter { $0.pools.includes(pool: pool, labels: labels) && !$0.metadata.isBeingDeleted }
            .sorted {
                ($0.metadata.creationTimestamp, $0.metadata.name) < ($1.metadata.creationTimestamp, $1.metadata.name)
            }
            .map(\.rewrite)
        let (areObjectivesNew, areRewritesNew) = state.withLock { state in
            defer { (state.objectives, state.rewrites) = (objectives, rewrites) }
            return (state.objectives != objectives, state.rewrites != rewrites)
        }
        if areObjectivesNew { onEvent(.objectives(objectives)) }
        if areRewritesNew { onEvent(.modelRewrites(rewrites)) }
    }
}

/// Makes reflectors that signal changes and pass on the rest.
private struct ReflectorMaker {
    let client: KubernetesClient
    let settings: KubernetesDiscovery.Settings
    let signal: AsyncStream<Void>.Continuation
    let onEvent: @Sendable (KubernetesDiscovery.Event) -> Void

    func make<Object: KubernetesObject>(
        group: String,
        version: String,
        _ kind: String,
        field: String? = nil,
        label: String? = nil
    ) -> Reflector<Object> {
        var reflectorSettings = settings.reflector
        // Kinds that are not Kubernetes' own may not be installed.
        reflectorSettings.mayBeAbsent = !group.isEmpty
        let collection = KubernetesCollection(
            group: group,
            version: version,
            namespace: settings.namespace,
            name: kind,
            fieldSelector: field,
            labelSelector: label
        )
        let name = group.isEmpty ? kind : "\(kind).\(group)"
        let (signal, onEvent) = (signal, onEvent)
        return Reflector(collection, client: client, settings: reflectorSettings) { event in
            switch event {
            case .changed: signal.yield()
            case .failing(let error): onEvent(.failing(kind: name, error))
            case .recovered: onEvent(.recovered(kind: name))
            case .malformed(let what): onEvent(.malformed(what))
            }
        }
    }
}
