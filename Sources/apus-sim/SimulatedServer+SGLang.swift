import Bytes
import EngineSimulation
import HTTPServer

/// What only SGLang servers have.
extension SimulatedServer {
    /// Ends the requests whose body's `rid` begins so. The answer is 200 whether there was one or not.
    func abortRequest(_ request: HTTPRequest) -> HTTPReply {
        let body = try? JSONReader.read(request.body)
        let prefix = body?["rid"]?.string ?? ""
        let all = body?["abort_all"]?.bool == true
        update { state in
            count(.abortRequest, &state)
            guard all || !prefix.isEmpty else { return }
            let numbers = state.active.values.filter { active in
                all || active.request.rid?.hasPrefix(prefix) == true
            }.map(\.number)
            for number in numbers.sorted() {
                count(.aborted, &state)
                // A prefill in transfer answers as if it had succeeded.
                if let answer = state.active[number]?.parkedAnswer,
                    let active = state.active.removeValue(forKey: number)
                {
                    release(active, &state)
                    give(answer, active, &state)
                } else {
                    answerWithoutTokens(number, reason: "abort", &state)
                }
            }
            pump(&state, to: MonotonicTime.now())
        }
        return .response(HTTPResponse())
    }
}
