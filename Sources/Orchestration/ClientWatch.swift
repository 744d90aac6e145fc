/// Does something while somebody watches whether the client is still there.
struct ClientWatch: Sendable {
    /// Returns true once the client has left; false when that can no longer be told, or the task was cancelled.
    let clientGone: @Sendable () async -> Bool

    private enum Event<Value: Sendable>: Sendable {
        case done(Value)
        case gone(Bool)
    }

    /// The work's result; nil when the client left before there was one. The work has been cancelled then, and has ended.
    func during<Value: Sendable>(_ work: @escaping @Sendable () async -> Value) async -> Value? {
        await withTaskGroup(of: Event<Value>.self) { group in
            group.addTask { .done(await work()) }
            group.addTask { [clientGone] in .gone(await clientGone()) }
            var result: Value?
            var isGone = false
            while let event = await group.next() {
                switch event {
                case .done(let value):
                    if !isGone { result = value }
                    group.cancelAll()
                case .gone(true):
                    // After the work it is no news: the watch was called off.
                    if result == nil { isGone = true }
                    group.cancelAll()
                case .gone(false):
                    break
                }
            }
            return result
        }
    }
}
