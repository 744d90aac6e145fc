import TestSupport

/// Waits for what can only be asked for: something that another process reports on a page.
func eventually(
    _ what: String,
    within limit: Duration = .seconds(60),
    _ isMet: () async throws -> Bool
) async throws {
    let end = ContinuousClock.now + limit
    while true {
        if try await isMet() { return }
        guard ContinuousClock.now < end else { throw TestFailure("\(what): not within \(limit)") }
        try await Task.sleep(for: .milliseconds(20))
    }
}
