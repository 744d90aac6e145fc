internal import Bytes

/// How far one endpoint is with the prompts that it was sent, told by when they were sent and when their answers began.
///
/// Engines compute prompts in the order in which they come. So what an endpoint has computed since its latest answer began is of the oldest prompt
/// that waits for one, and no more than that has; how much it computes in a second shows in what it has taken so far. Where answers are told of only
/// when they end, it seems to compute slowly, so less is taken to be done, never more.
struct PromptProgress {
    private struct Prompt {
        let number: UInt64
        let tokens: Int
    }

    /// What was learnt in as many seconds of computing counts half when twice as many have passed.
    private static let memory = 10.0

    /// Those whose answers have not begun, in order.
    private var prompts: [Prompt] = []
    /// Since when the endpoint has computed the first of them.
    private var since = MonotonicTime(nanoseconds: 0)
    /// What it has computed, and in which time, as far as remembered.
    private var tokens = 0.0
    private var seconds = 0.0

    /// - Parameters:
    ///   - number: of the reservation; higher than those before.
    ///   - tokens: to be computed.
    mutating func sent(_ number: UInt64, tokens: Int, at now: @autoclosure () -> MonotonicTime) {
        if prompts.isEmpty { since = now() }
        prompts.append(Prompt(number: number, tokens: tokens))
    }

    /// The answer to a prompt has begun, or what else tells that it is computed.
    mutating func computed(_ number: UInt64, at now: @autoclosure () -> MonotonicTime) {
        guard let position = position(of: number) else { return }
        tokens += Double(prompts[position].tokens)
        if position == 0 {
            let now = now()
            seconds += now.seconds(since: since)
            since = now
        }
        prompts.remove(at: position)
        guard seconds > 2 * Self.memory else { return }
        tokens /= 2
        seconds /= 2
    }

    /// A prompt is not waited for any more, computed or not.
    mutating func gone(_ number: UInt64, at now: @autoclosure () -> MonotonicTime) {
        guard let position = position(of: number) else { return }
        if position == 0 { since = now() }
        prompts.remove(at: position)
    }

    /// Tokens that are taken to be computed of those in flight: none before anything was learnt.
    func done(at now: MonotonicTime) -> Double {
        guard let first = prompts.first, seconds > 0 else { return 0 }
        return min(Double(first.tokens), tokens / seconds * now.seconds(since: since))
    }

    private func position(of number: UInt64) -> Int? {
        var low = 0
        var high = prompts.count
        while low < high {
            let middle = (low + high) / 2
            if prompts[middle].number < number { low = middle + 1 } else { high = middle }
        }
        return low < prompts.count && prompts[low].number == number ? low : nil
    }
}
