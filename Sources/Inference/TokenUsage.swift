internal import Bytes

/// The tokens of a request as the model server counted them. What it did not say is nil.
package struct TokenUsage: Sendable, Equatable {
    /// All tokens of the prompt, cached ones included.
    package var promptTokens: Int?
    package var completionTokens: Int?
    /// The tokens of the prompt that were found in the server's prefix cache.
    package var cachedTokens: Int?

    /// What Anthropic's API counts beside `input_tokens`, which there are the uncached ones only.
    private var inputTokens: Int?
    private var cacheReadTokens: Int?
    private var cacheCreationTokens: Int?

    package init(promptTokens: Int? = nil, completionTokens: Int? = nil, cachedTokens: Int? = nil) {
        self.promptTokens = promptTokens
        self.completionTokens = completionTokens
        self.cachedTokens = cachedTokens
    }

    package static func == (left: TokenUsage, right: TokenUsage) -> Bool {
        left.promptTokens == right.promptTokens && left.completionTokens == right.completionTokens
            && left.cachedTokens == right.cachedTokens
    }

    private enum Name: Int, CaseIterable {
        case promptTokens, completionTokens, inputTokens, outputTokens
        case promptTokensDetails, promptTokenDetails, inputTokensDetails
        case cacheReadInputTokens, cacheCreationInputTokens
    }

    private static let reader = JSONReader(names: [
        "prompt_tokens", "completion_tokens", "input_tokens", "output_tokens",
        // The second is what the reference reads.
        "prompt_tokens_details", "prompt_token_details", "input_tokens_details",
        "cache_read_input_tokens", "cache_creation_input_tokens",
    ])
    private static let detailsReader = JSONReader(names: ["cached_tokens"])

    /// Takes over what a `usage` object says; a later object of the same response overrides an earlier one member by member.
    /// Values that are no whole numbers from 0 to 2^53 are ignored, and so is an object that is no valid JSON.
    ///
    /// - Returns: Whether there was anything.
    mutating func merge(object bytes: RawSpan) -> Bool {
        var found = [JSONMember?](repeating: nil, count: Name.allCases.count)
        do {
            found = try Self.reader.read(bytes) { read in Name.allCases.map { read[$0.rawValue] } }
        } catch {
            return false
        }
        func count(_ name: Name) -> Int? {
            found[name.rawValue].flatMap { JSONValue.count($0, in: bytes) }
        }
        func cached(_ name: Name) -> Int? {
            guard let details = found[name.rawValue], details.kind == .object else { return nil }
            let inside = bytes.extracting(details.valueRange)
            let value = try? Self.detailsReader.read(inside) { $0[0].flatMap { JSONValue.count($0, in: inside) } }
            return value ?? nil
        }

        let before = self
        promptTokens = count(.promptTokens) ?? promptTokens
        completionTokens = count(.completionTokens) ?? count(.outputTokens) ?? completionTokens
        inputTokens = count(.inputTokens) ?? inputTokens
        cacheReadTokens = count(.cacheReadInputTokens) ?? cacheReadTokens
        cacheCreationTokens = count(.cacheCreationInputTokens) ?? cacheCreationTokens
        if let inputTokens, count(.promptTokens) == nil {
            // Each is at most 2^53, so the sum fits.
            promptTokens = inputTokens + (cacheReadTokens ?? 0) + (cacheCreationTokens ?? 0)
        }
        cachedTokens =
            cached(.promptTokensDetails) ?? cached(.promptTokenDetails) ?? cached(.inputTokensDetails)
            ?? cacheReadTokens ?? cachedTokens
        return self != before || promptTokens != nil || completionTokens != nil
    }
}
