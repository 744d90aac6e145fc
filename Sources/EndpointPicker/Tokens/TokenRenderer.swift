internal import Bytes
internal import Inference
package import SubRequests
package import Telemetry

/// Asks a server which tokens prompts are. Whatever goes wrong there is no request's business: it is then decided on by the estimate.
package final class TokenRenderer: Sendable {
    private struct State {
        var underWay = 0
        /// Nobody is asked before that.
        var pausedUntil = MonotonicTime(nanoseconds: 0)
        var isFailing = false
    }

    /// How many prompts are with the server at once; those beyond it are estimated.
    package static let limit = 256
    /// After a failure that is the server's, so that a dead one does not make every request wait for its timeout.
    package static let pause = Duration.seconds(1)

    private let client: HTTPClient
    private let telemetry: Telemetry
    private let onTransition: @Sendable (_ problem: String?) -> Void
    private let state = Lock(State())

    /// - Parameter onTransition: told why the server cannot be used, once, and nil when it can be again.
    package init(
        client: HTTPClient,
        telemetry: Telemetry,
        onTransition: @escaping @Sendable (_ problem: String?) -> Void = { _ in }
    ) {
        self.client = client
        self.telemetry = telemetry
        self.onTransition = onTransition
    }

    /// The number of tokens of a prompt; nil when it could not be told. Ends at once when the task is cancelled.
    package func count(_ request: HTTPRequest) async -> Int? {
        guard begin() else {
            telemetry.tokensRendered(outcome: "skipped", nanoseconds: nil)
            return nil
        }
        let startedAt = MonotonicTime.now()
        let outcome: Result<Int, RenderProblem>
        do {
            let response = try await client.send(request)
            if response.status == 200 {
                let count = response.body.withRawSpan { TokenIDs.count(in: $0) }
                outcome = count.map { .success($0) } ?? .failure(.server("no token_ids in its answer"))
            } else {
                // What is wrong with one request may be right with the next.
                let isOfRequest = response.status == 400 || response.status == 413 || response.status == 422
                outcome = .failure(isOfRequest ? .request : .server("it answers with status \(response.status)"))
            }
        } catch {
            switch error.code {
            case .cancelled, .badRequest: outcome = .failure(.request)
            default: outcome = .failure(.server("\(error)"))
            }
        }
        end(outcome)
        switch outcome {
        case .success(let count):
            let time = MonotonicTime.now().elapsed(since: startedAt).nanoseconds
            telemetry.tokensRendered(outcome: "ok", nanoseconds: UInt64(max(0, time)))
            return count
        case .failure:
            telemetry.tokensRendered(outcome: "error", nanoseconds: nil)
            return nil
        }
    }

    private func begin() -> Bool {
        let now = MonotonicTime.now()
        return state.withLock { state in
            guard state.underWay < Self.limit, now >= state.pausedUntil else { return false }
            state.underWay += 1
            return true
        }
    }

    private func end(_ outcome: Result<Int, RenderProblem>) {
        let now = MonotonicTime.now()
        let isTransition: Bool
        var problem: String?
        switch outcome {
        case .success:
            isTransition = state.withLock { state in
                state.underWay -= 1
                defer { state.isFailing = false }
                return state.isFailing
            }
        case .failure(.request):
            isTransition = false
            state.withLock { $0.underWay -= 1 }
        case .failure(.server(let text)):
            problem = text
            isTransition = state.withLock { state in
                state.underWay -= 1
                state.pausedUntil = now + Self.pause
                defer { state.isFailing = true }
                return !state.isFailing
            }
        }
        if isTransition { onTransition(problem) }
    }
}

private enum RenderProblem: Error {
    /// The server is well.
    case request
    case server(String)
}
