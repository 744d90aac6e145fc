package import Bytes

/// What a request asks, located in its body rather than decoded: ranges are offsets into the body that was read.
package struct InferenceRequest: Sendable {
    package let api: InferenceAPI
    /// The model's name with escapes decoded; may be empty.
    package let model: String
    /// The whole value of `model`, quotes included; empty when the body has no model that could be replaced.
    package let modelRange: Range<Int>
    /// Whether the response is asked for as events.
    package let stream: Bool
    /// Whether the client asks for usage in the event stream (`stream_options.include_usage`).
    package let includesUsage: Bool
    /// The limit of output tokens, from the member that decides for the API. Nil when there is none or it is no whole number.
    package let maxTokens: Int?
    /// `n` (of `generate`, that of its `sampling_params`), the number of answers; 1 when absent or not a positive whole number.
    package let choices: Int
    package let cacheSalt: String?
    /// The bytes that count as the prompt, in the order in which the model sees them; a string's without its quotes.
    package let promptRanges: [Range<Int>]
    /// An estimate: a quarter of the prompt's bytes; prompts given as token ids are counted.
    package let estimatedPromptTokens: Int
    package let promptForm: PromptForm
    package let members: RequestMembers

    /// Whether the prompt is given as token ids, so that their number is known.
    package var promptIsTokenIDs: Bool { promptForm != .text }
    package var promptByteCount: Int { promptRanges.reduce(0) { $0 + $1.count } }

    /// Reads the body of a request of `api`.
    ///
    /// Checks, in this order: that the body is one JSON object (see `JSONReader`) without duplicates of the members that must be unique,
    /// that `model` is a string (`generate` need not have one), and that the member which the API requires is there.
    package static func read(_ body: borrowing ByteBuffer, api: InferenceAPI) throws(InferenceError) -> InferenceRequest
    {
        let bytes = body.bytes
        let members = try locateMembers(bytes)
        let name = members[.model].flatMap { JSONValue.string($0, in: bytes) }
        if name == nil, !(api.modelIsOptional && members[.model].map({ $0.kind == .null }) ?? true) {
            throw .modelNotFound
        }
        if let problem = api.problem(in: members) {
            throw InferenceError(message: problem)
        }
        return InferenceRequest(
            api: api,
            model: name ?? "",
            modelRange: name == nil ? 0..<0 : members[.model]?.valueRange ?? 0..<0,
            members: members,
            bytes: bytes
        )
    }

    /// Reads what can be told from the first bytes of a body whose rest Apus will not see (`BUFFERED_PARTIAL`): the model and its place.
    /// Nil when the model is not among them, or they are not the start of an object.
    package static func readPartial(_ body: borrowing ByteBuffer) -> (model: String, modelRange: Range<Int>)? {
        let bytes = body.bytes
        let found = try? RequestMembers.reader.readStart(bytes) { $0[Int(RequestMembers.Name.model.rawValue)] }
        guard let member = found ?? nil, member.occurrences == 1 else { return nil }
        return JSONValue.string(member, in: bytes).map { ($0, member.valueRange) }
    }

    private static func locateMembers(_ bytes: RawSpan) throws(InferenceError) -> RequestMembers {
        let members: RequestMembers
        do {
            members = try RequestMembers.reader.read(bytes) { RequestMembers($0) }
        } catch {
            throw .invalidJSON(error)
        }
        for (name, member) in members.present where name.mustBeUnique && member.occurrences > 1 {
            throw .duplicate(name)
        }
        return members
    }

    /// A request of a body that is no JSON: it names no model, and nothing of it can be replaced.
    init(
        api: InferenceAPI,
        stream: Bool,
        maxTokens: Int?,
        choices: Int,
        promptRanges: [Range<Int>],
        estimatedPromptTokens: Int,
        promptForm: PromptForm
    ) {
        self.api = api
        self.stream = stream
        self.maxTokens = maxTokens
        self.choices = choices
        self.promptRanges = promptRanges
        self.estimatedPromptTokens = estimatedPromptTokens
        self.promptForm = promptForm
        model = ""
        modelRange = 0..<0
        includesUsage = false
        cacheSalt = nil
        members = .none
    }

    private init(api: InferenceAPI, model: String, modelRange: Range<Int>, members: RequestMembers, bytes: RawSpan) {
        self.api = api
        self.model = model
        self.modelRange = modelRange
        self.members = members
        stream = members[.stream]?.kind == .true
        includesUsage = members[.streamOptions].map { StreamOptions.includesUsage($0, in: bytes) } ?? false
        maxTokens =
            api.tokenLimitMembers.lazy.compactMap { members[$0] }.first { $0.kind != .null }
            .flatMap { JSONValue.count($0, in: bytes) }
            ?? (api == .generate
                ? members[.samplingParams].flatMap { SamplingParameters.maxTokens($0, in: bytes) } : nil)
        let answers =
            members[.n].flatMap { JSONValue.count($0, in: bytes) }
            ?? (api == .generate ? members[.samplingParams].flatMap { SamplingParameters.n($0, in: bytes) } : nil)
        choices = max(1, answers ?? 1)
        cacheSalt = members[.cacheSalt].flatMap { JSONValue.string($0, in: bytes) }

        var ranges: [Range<Int>] = []
        var tokens = 0
        var isTokenIDs = true
        for case let member? in api.promptMembers.lazy.map({ members[$0] }) where member.kind != .null {
            ranges.append(member.contentRange)
            tokens += member.estimatedTokens
            isTokenIDs = isTokenIDs && member.isTokenIDs
        }
        promptRanges = ranges
        estimatedPromptTokens = tokens
        promptForm = !ranges.isEmpty && isTokenIDs ? .list : .text
    }
}

extension JSONMember {
    /// Token ids come in arrays that hold nothing but numbers.
    fileprivate var isTokenIDs: Bool { kind == .array && numberCount > 0 && stringCount == 0 }

    fileprivate var estimatedTokens: Int { isTokenIDs ? numberCount : contentRange.count / 4 }
}

private enum SamplingParameters {
    private static let reader = JSONReader(names: ["max_tokens", "n"])

    static func maxTokens(_ member: JSONMember, in bytes: RawSpan) -> Int? { count(0, member, in: bytes) }

    static func n(_ member: JSONMember, in bytes: RawSpan) -> Int? { count(1, member, in: bytes) }

    private static func count(_ index: Int, _ member: JSONMember, in bytes: RawSpan) -> Int? {
        guard member.kind == .object else { return nil }
        let inside = bytes.extracting(member.valueRange)
        // The value was checked with the body, so this cannot fail.
        let found = try? reader.read(inside) { $0[index].flatMap { JSONValue.count($0, in: inside) } }
        return found ?? nil
    }
}

private enum StreamOptions {
    private static let reader = JSONReader(names: ["include_usage"])

    static func includesUsage(_ member: JSONMember, in bytes: RawSpan) -> Bool {
        guard member.kind == .object else { return false }
        // The value was checked with the body, so this cannot fail.
        let found = try? reader.read(bytes.extracting(member.valueRange)) { $0[0]?.kind == .true }
        return found ?? false
    }
}
