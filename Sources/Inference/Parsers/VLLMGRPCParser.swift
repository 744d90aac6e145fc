package import Bytes

/// `vllmgrpc-parser`: the unary request messages of vLLM's gRPC engine (`vllm.grpc.engine.VllmEngine`).
///
/// The body is one gRPC message: a byte that says whether it is compressed, four bytes of length, the message. Nothing in it names a model,
/// so nothing is ever rewritten.
package struct VLLMGRPCParser: RequestParser {
    private static let generatePath = "/vllm.grpc.engine.VllmEngine/Generate"
    private static let embedPath = "/vllm.grpc.engine.VllmEngine/Embed"

    package init() {}

    package var claims: [String] { [Self.generatePath, Self.embedPath] }
    package var readsGRPCUsage: Bool { true }

    package func parse(_ body: borrowing ByteBuffer, path: String) throws(InferenceError) -> InferenceRequest? {
        switch path {
        case Self.generatePath: try Self.read(body, "Generate", GenerateMessage.read)
        case Self.embedPath: try Self.read(body, "Embed", EmbedMessage.read)
        default: throw InferenceError(message: "unsupported gRPC path: \(path)")
        }
    }

    private static func read(
        _ body: borrowing ByteBuffer,
        _ method: String,
        _ read: (RawSpan, Range<Int>) throws(VLLMMessageError) -> InferenceRequest
    ) throws(InferenceError) -> InferenceRequest {
        let bytes = body.bytes
        do {
            return try read(bytes, message(in: bytes))
        } catch {
            throw InferenceError(message: "parsing gRPC payload for \(method): \(error.text)")
        }
    }

    /// Where the message lies; bytes behind it are ignored.
    private static func message(in bytes: RawSpan) throws(VLLMMessageError) -> Range<Int> {
        guard let prefix = GRPCPrefix(bytes, at: 0) else { throw .unreadable }
        guard bytes.byteCount - GRPCPrefix.byteCount >= prefix.messageBytes else { throw .unreadable }
        guard !prefix.isCompressed else { throw .compressed }
        return GRPCPrefix.byteCount..<GRPCPrefix.byteCount + prefix.messageBytes
    }
}

/// What stands before each message of a gRPC body.
struct GRPCPrefix {
    static let byteCount = 5

    let isCompressed: Bool
    let messageBytes: Int

    /// Nil when the bytes end before the prefix does.
    init?(_ bytes: RawSpan, at start: Int) {
        guard bytes.byteCount - start >= Self.byteCount else { return nil }
        isCompressed = bytes[start] == 1
        messageBytes = (start + 1..<start + Self.byteCount).reduce(0) { $0 << 8 | Int(bytes[$1]) }
    }
}

/// Why a message of vLLM's cannot be used, in the reference's words.
private enum VLLMMessageError: Error {
    case unreadable, compressed, noInput, noTokens

    var text: String {
        switch self {
        case .unreadable: "not able to parse payload"
        case .compressed: "compressed vllmgrpc payload is not supported"
        case .noInput: "not supported request inputType"
        case .noTokens: "missing tokenized input in EmbedRequest"
        }
    }
}

/// `GenerateRequest {request_id 1, tokenized 2 | text 3, sampling_params 4, stream 5}`
private enum GenerateMessage {
    static func read(_ bytes: RawSpan, _ range: Range<Int>) throws(VLLMMessageError) -> InferenceRequest {
        var prompt: Prompt?
        var stream = false
        var maxTokens: Int?
        var choices = 1
        var reader = ProtobufReader(range)
        while let field = try next(&reader, bytes) {
            switch (field.number, field.value) {
            case (2, .bytes(let tokenized)):
                // Of a oneof the last member counts; a message that is there twice is joined.
                var joined = prompt.flatMap { $0.isText ? nil : $0 } ?? Prompt()
                try joined.read(tokenized: tokenized, in: bytes)
                prompt = joined
            case (3, .bytes(let text)): prompt = Prompt(text: text)
            case (4, .bytes(let parameters)):
                var inside = ProtobufReader(parameters)
                while let field = try next(&inside, bytes) {
                    switch (field.number, field.value) {
                    case (8, .number(let limit)): maxTokens = Int(UInt32(truncatingIfNeeded: limit))
                    case (15, .number(let n)): choices = max(1, Int(UInt32(truncatingIfNeeded: n)))
                    default: continue
                    }
                }
            case (5, .number(let flag)): stream = flag != 0
            default: continue
            }
        }
        guard let prompt else { throw .noInput }
        return InferenceRequest(
            api: .completions,
            stream: stream,
            maxTokens: maxTokens,
            choices: choices,
            promptRanges: prompt.ranges,
            estimatedPromptTokens: prompt.tokens,
            promptForm: prompt.form
        )
    }
}

/// `EmbedRequest {request_id 1, tokenized 2}`
private enum EmbedMessage {
    static func read(_ bytes: RawSpan, _ range: Range<Int>) throws(VLLMMessageError) -> InferenceRequest {
        var prompt: Prompt?
        var reader = ProtobufReader(range)
        while let field = try next(&reader, bytes) {
            guard field.number == 2, case .bytes(let tokenized) = field.value else { continue }
            var joined = prompt ?? Prompt()
            try joined.read(tokenized: tokenized, in: bytes)
            prompt = joined
        }
        guard let prompt else { throw .noTokens }
        return InferenceRequest(
            api: .embeddings,
            stream: false,
            maxTokens: nil,
            choices: 1,
            promptRanges: prompt.ranges,
            estimatedPromptTokens: prompt.tokens,
            promptForm: prompt.form
        )
    }
}

/// The prompt as text, or `TokenizedInput {original_text 1, input_ids 2}`: the ids count, and the text only without them.
private struct Prompt {
    /// However oddly ids are spread over a message, no more places than this are remembered.
    private static let rangeLimit = 1024

    private var text: Range<Int>?
    private var ids: [Range<Int>] = []
    private var idCount = 0
    /// Those that have a tag each.
    private var looseCount = 0
    let isText: Bool

    init() {
        isText = false
    }

    init(text: Range<Int>) {
        self.text = text
        isText = true
    }

    var ranges: [Range<Int>] { ids.isEmpty ? text.map { [$0] } ?? [] : ids }
    /// Where some ids are packed and others not, all count as packed: their number is right, their blocks are smaller.
    var form: PromptForm { ids.isEmpty ? .text : .varints(perID: looseCount == idCount ? 2 : 1) }
    var tokens: Int { ids.isEmpty ? (text?.count ?? 0) / 4 : idCount }

    mutating func read(tokenized range: Range<Int>, in bytes: RawSpan) throws(VLLMMessageError) {
        var reader = ProtobufReader(range)
        while true {
            let start = reader.offset
            guard let field = try next(&reader, bytes) else { return }
            switch (field.number, field.value) {
            case (1, .bytes(let original)): text = original
            case (2, .bytes(let packed)):
                // The last byte of each number has its highest bit clear.
                for offset in packed where bytes[offset] < 0x80 { idCount += 1 }
                append(packed)
            case (2, .number):
                idCount += 1
                looseCount += 1
                append(start..<reader.offset)
            default: continue
            }
        }
    }

    private mutating func append(_ range: Range<Int>) {
        if let last = ids.last, last.upperBound == range.lowerBound {
            ids[ids.count - 1] = last.lowerBound..<range.upperBound
        } else if ids.count < Self.rangeLimit {
            ids.append(range)
        }
    }
}

private func next(_ reader: inout ProtobufReader, _ bytes: RawSpan) throws(VLLMMessageError) -> ProtobufReader.Field? {
    do {
        return try reader.next(in: bytes)
    } catch {
        throw .unreadable
    }
}
