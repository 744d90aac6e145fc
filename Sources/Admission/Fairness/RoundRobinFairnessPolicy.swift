/// `round-robin-fairness-policy`: one request of each flow in turn. A flow that begins to wait joins at the end of the round.
package struct RoundRobinFairnessPolicy: FairnessPolicy {
    package init() {}

    package func makeLine() -> any WaitingLine { Line() }

    private final class Flow {
        let id: String
        var heap = RequestHeap()

        init(id: String) { self.id = id }
    }

    private struct Line: WaitingLine {
        private var flows: [String: Flow] = [:]
        /// Every flow of `flows` once, the next one at `head`. One that has emptied stays until its turn or the next sweep.
        private var round: [Flow] = []
        private var head = 0
        private var emptyFlows = 0

        mutating func append(_ request: QueuedRequest) {
            if let flow = flows[request.request.fairnessID] {
                if flow.heap.isEmpty { emptyFlows -= 1 }
                flow.heap.insert(request)
                return
            }
            let flow = Flow(id: request.request.fairnessID)
            flow.heap.insert(request)
            flows[flow.id] = flow
            round.append(flow)
        }

        mutating func popNext() -> QueuedRequest? {
            while head < round.count {
                let flow = round[head]
                head += 1
                if head >= 64, head * 2 >= round.count {
                    round.removeFirst(head)
                    head = 0
                }
                guard let request = flow.heap.popFirst() else {
                    emptyFlows -= 1
                    flows[flow.id] = nil
                    continue
                }
                if flow.heap.isEmpty { flows[flow.id] = nil } else { round.append(flow) }
                return request
            }
            return nil
        }

        mutating func remove(_ request: QueuedRequest) {
            guard let flow = flows[request.request.fairnessID], flow.heap.remove(request) else { return }
            guard flow.heap.isEmpty else { return }
            emptyFlows += 1
            // Clients that come and go under ever new names must not make the round grow.
            if emptyFlows > 32, emptyFlows * 2 > flows.count { sweep() }
        }

        private mutating func sweep() {
            round.removeFirst(head)
            head = 0
            round.removeAll { flow in
                guard flow.heap.isEmpty else { return false }
                flows[flow.id] = nil
                return true
            }
            emptyFlows = 0
        }
    }
}
