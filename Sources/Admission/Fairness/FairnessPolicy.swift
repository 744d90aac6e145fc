/// Says which flow's turn it is among the requests of one priority.
package protocol FairnessPolicy: Sendable {
    func makeLine() -> any WaitingLine
}

/// The requests of one priority, in the order in which they go. Touched under the controller's lock only.
package protocol WaitingLine {
    mutating func append(_ request: QueuedRequest)
    /// Takes the next one out; nil when there is none.
    mutating func popNext() -> QueuedRequest?
    /// Takes out one that is in it.
    mutating func remove(_ request: QueuedRequest)
}
