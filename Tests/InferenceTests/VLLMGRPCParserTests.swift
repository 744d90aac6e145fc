import Bytes
import Inference
import TestSupport
import Testing

@Suite struct VLLMGRPCParserTests {
    private static let path = "/vllm.grpc.engine.VllmEngine/Generate"

    private func framed(_ write: (inout ProtobufWriter) -> Void) -> [UInt8] {
        var message = ProtobufWriter()
        write(&message)
        return [0] + (0..<4).map { UInt8(message.bytes.count >> (24 - 8 * $0) & 255) } + message.bytes
    }

    private func read(_ body: [UInt8]) throws -> InferenceRequest {
        try #require(try VLLMGRPCParser().parse(ByteBuffer(copying: body), path: Self.path))
    }

    private func prompt(_ request: InferenceRequest, _ body: [UInt8]) -> [UInt8] {
        request.promptRanges.flatMap { body[$0] }
    }

    @Test("A text prompt, its limits and the stream flag are found; no model is")
    func textPrompt() throws {
        let body = framed { message in
            message.text(1, "id")
            message.text(3, "a prompt of words")
            message.message(4) { parameters in
                parameters.varint(8, 33)
                parameters.varint(15, 2)
            }
            message.flag(5, true)
        }
        let request = try read(body)
        #expect(String(decoding: prompt(request, body), as: UTF8.self) == "a prompt of words")
        #expect(request.api == .completions)
        #expect(request.estimatedPromptTokens == 4)
        #expect(request.maxTokens == 33)
        #expect(request.choices == 2)
        #expect(request.stream)
        #expect(request.model.isEmpty && request.modelRange.isEmpty)
    }

    @Test("Token ids count before the text, packed or not")
    func tokens() throws {
        let packed = framed { message in
            message.message(2) { tokenized in
                tokenized.text(1, "original")
                tokenized.bytes(2, [1, 0x80, 0x01, 5])
            }
        }
        let request = try read(packed)
        #expect(prompt(request, packed) == [1, 0x80, 0x01, 5])
        #expect(request.estimatedPromptTokens == 3)

        let loose = framed { message in
            message.message(2) { tokenized in
                tokenized.varint(2, 1)
                tokenized.varint(2, 128)
                tokenized.varint(2, 5)
            }
        }
        let other = try read(loose)
        #expect(other.estimatedPromptTokens == 3)
        #expect(other.promptRanges.count == 1)
        #expect(prompt(other, loose) == [0x10, 1, 0x10, 0x80, 0x01, 0x10, 5])

        let original = framed { $0.message(2) { $0.text(1, "original") } }
        #expect(String(decoding: prompt(try read(original), original), as: UTF8.self) == "original")
    }

    @Test("Ids spread over very many places cost no more memory than a few")
    func scattered() throws {
        let body = framed { message in
            message.message(2) { tokenized in
                for _ in 0..<50_000 {
                    tokenized.varint(2, 7)
                    tokenized.varint(9, 1)
                }
            }
        }
        let request = try read(body)
        #expect(request.estimatedPromptTokens == 50_000)
        #expect(request.promptRanges.count <= 1024)
    }

    @Test("The same prompt gives the same blocks in every request, a longer one begins with them")
    func blocks() throws {
        func blocks(_ ids: [UInt8], _ id: String) throws -> [UInt64] {
            let body = framed { message in
                message.text(1, id)
                message.message(2) { $0.bytes(2, ids) }
            }
            return PrefixBlocks.hashes(
                of: try read(body),
                in: ByteBuffer(copying: body),
                model: "",
                blockTokens: 16,
                bytesPerToken: 4,
                maxBlocks: 100
            )
        }
        let ids = (0..<80).map { UInt8($0) }
        let short = try blocks(Array(ids.prefix(40)), "one")
        #expect(short.count == 2)
        #expect(try blocks(ids, "another").starts(with: short))
    }

    @Test("A block is so many ids, of one byte or five, packed or not, in one piece or several", arguments: [1, 7, 16])
    func tokenBlocks(blockTokens: Int) throws {
        let ids = (0..<100).map { UInt64($0) * 40_000_000 }
        func blocks(_ write: @escaping (inout ProtobufWriter) -> Void) throws -> [UInt64] {
            let body = framed { $0.message(2) { write(&$0) } }
            let request = try read(body)
            #expect(request.estimatedPromptTokens == ids.count)
            return PrefixBlocks.hashes(
                of: request,
                in: ByteBuffer(copying: body),
                model: "",
                blockTokens: blockTokens,
                bytesPerToken: 4,
                maxBlocks: 1_000
            )
        }
        let packed = try blocks { $0.bytes(2, ids.flatMap(varint)) }
        #expect(packed.count == ids.count / blockTokens)
        let pieces = try blocks { message in
            for start in stride(from: 0, to: ids.count, by: 5) {
                message.bytes(2, ids[start..<start + 5].flatMap(varint))
            }
        }
        #expect(pieces == packed)
        let loose = try blocks { message in for id in ids { message.varint(2, id) } }
        #expect(loose.count == ids.count / blockTokens)
        #expect(Set(loose).count == loose.count)
    }

    private func varint(_ value: UInt64) -> [UInt8] {
        var rest = value
        var bytes: [UInt8] = []
        while rest >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: rest) | 0x80)
            rest >>= 7
        }
        return bytes + [UInt8(rest)]
    }

    @Test("Every cut of a message, and every byte of it changed, is refused or read, never fatal")
    func hostile() throws {
        let body = framed { message in
            message.message(2) { tokenized in
                tokenized.text(1, "text")
                tokenized.bytes(2, [1, 0x80, 0x01])
            }
            message.message(4) { $0.varint(8, .max) }
        }
        for length in 0..<body.count {
            #expect(throws: InferenceError.self) { try read(Array(body.prefix(length))) }
        }
        for index in body.indices {
            for value in [0, 1, 0x7F, 0x80, 0xFF] as [UInt8] {
                var changed = body
                changed[index] = value
                if let request = try? read(changed) {
                    #expect(request.promptRanges.allSatisfy { $0.upperBound <= changed.count })
                }
            }
        }
    }

    // MARK: Usage

    private func usage(_ body: [UInt8], pieces: Int) -> TokenUsage? {
        var reader = UsageReader(format: .grpc)
        var rest = body[...]
        while !rest.isEmpty {
            Array(rest.prefix(pieces)).withRawSpan { reader.consume($0) }
            rest = rest.dropFirst(pieces)
        }
        reader.finish()
        return reader.usage
    }

    @Test(
        "Usage is read from the last message, however the messages are split over frames",
        arguments: [1, 2, 3, 5, 7, 1000]
    )
    func splitUsage(pieces: Int) {
        let body =
            framed { $0.message(1) { $0.bytes(1, [1, 2, 3]) } }
            + framed { message in
                message.message(1) { chunk in
                    chunk.bytes(1, [4])
                    chunk.varint(2, 300)
                    chunk.varint(3, 2)
                }
            } + framed { _ in }
            + framed { message in
                message.message(2) { complete in
                    complete.bytes(1, [1, 2, 3, 4])
                    complete.text(2, "stop")
                    complete.varint(3, 300)
                    complete.varint(4, 4)
                    complete.varint(5, 256)
                }
            }
        #expect(usage(body, pieces: pieces) == TokenUsage(promptTokens: 300, completionTokens: 4, cachedTokens: 256))
    }

    @Test("An embedding tells its prompt tokens only")
    func embedding() {
        let body = framed { message in
            message.bytes(1, [0, 0, 0x80, 0x3F, 0, 0, 0, 0x40])
            message.varint(2, 12)
            message.varint(3, 2)
        }
        #expect(usage(body, pieces: 4) == TokenUsage(promptTokens: 12))
    }

    @Test("Compressed, oversized and unreadable messages are passed over, and what follows is read")
    func skipped() {
        let complete = framed { message in
            message.message(2) { complete in
                complete.varint(3, 7)
                complete.varint(4, 1)
            }
        }
        let compressed: [UInt8] = [1, 0, 0, 0, 3, 9, 9, 9]
        let long = [0, 0, 0x20, 0, 0] + [UInt8](repeating: 0xFF, count: 0x20_0000)
        let garbage: [UInt8] = [0, 0, 0, 0, 3, 0xFF, 0xFF, 0xFF]
        for pieces in [4096, 1 << 30] {
            #expect(usage(compressed + long + garbage + complete, pieces: pieces)?.promptTokens == 7)
        }
        #expect(usage([0, 0xFF, 0xFF, 0xFF, 0xFF, 1, 2], pieces: 3) == nil)
    }
}
