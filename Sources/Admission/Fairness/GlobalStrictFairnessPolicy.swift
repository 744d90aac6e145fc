/// `global-strict-fairness-policy`: flows do not matter; the ordering policy alone decides.
package struct GlobalStrictFairnessPolicy: FairnessPolicy {
    package init() {}

    package func makeLine() -> any WaitingLine { Line() }

    private struct Line: WaitingLine {
        private var heap = RequestHeap()

        mutating func append(_ request: QueuedRequest) { heap.insert(request) }
        mutating func popNext() -> QueuedRequest? { heap.popFirst() }
        mutating func remove(_ request: QueuedRequest) { heap.remove(request) }
    }
}
