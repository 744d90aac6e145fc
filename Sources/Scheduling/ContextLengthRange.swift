/// The lengths of prompts that an endpoint is made for, in tokens: a label such as `2048-8192`.
struct ContextLengthRange {
    let lower: Int
    let upper: Int

    init?(_ label: String) {
        let bounds = label.split(separator: "-", omittingEmptySubsequences: false).map { Self.number($0) }
        guard bounds.count == 2, let lower = bounds[0], let upper = bounds[1], lower <= upper else { return nil }
        self.lower = lower
        self.upper = upper
    }

    private static func number(_ text: Substring) -> Int? {
        let digits = text.drop { $0 == " " }.reversed().drop { $0 == " " }
        return Int(String(digits.reversed()))
    }

    func contains(_ tokens: Int) -> Bool { tokens >= lower && tokens <= upper }

    /// Above 0.3 up to 1 in the range, the more the narrower the range and the more room is left in it; below 0.3 outside, the less the
    /// farther away.
    func score(_ tokens: Int) -> Float {
        let outside: Float = 0.3
        if contains(tokens) {
            let width = Float(upper - lower)
            guard width > 0 else { return 1 }
            let narrowness = 1 / (1 + width / 10_000)
            let room = Float(upper - tokens) / width
            return outside + (0.7 * narrowness + 0.3 * room) * (1 - outside)
        }
        let distance = Float(tokens > upper ? tokens - upper : lower - tokens)
        return outside / (1 + distance / 1_000)
    }
}
