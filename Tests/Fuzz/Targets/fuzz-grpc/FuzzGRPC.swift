import Bytes
import FuzzSupport
import Inference

/// The first byte says how the rest is split into frames; the rest is the body of a request and of a response of vLLM's gRPC engine.
///
/// Whatever it is, it is read within bounds, and a response tells the same usage however it is split.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzGRPC(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size > 0 else { return 0 }
    // A copy of its own, so that the sanitizer sees a read beyond the body.
    let bytes = Array(UnsafeBufferPointer(start: data, count: size).dropFirst())
    readRequest(bytes)
    let whole = usage(bytes, pieceBytes: max(1, bytes.count))
    check(usage(bytes, pieceBytes: Int(data[0] % 32) + 1) == whole, "the usage depends on the frames")
    if let whole {
        for count in [whole.promptTokens, whole.completionTokens, whole.cachedTokens] {
            check((0...Int(UInt32.max)).contains(count ?? 0), "\(whole)")
        }
    }
    return 0
}

private func readRequest(_ bytes: [UInt8]) {
    let body = ByteBuffer(copying: bytes)
    for method in ["Generate", "Embed"] {
        let path = "/vllm.grpc.engine.VllmEngine/" + method
        guard let request = (try? VLLMGRPCParser().parse(body, path: path)) ?? nil else { continue }
        for range in request.promptRanges {
            check(range.lowerBound >= 0 && range.upperBound <= bytes.count, "a prompt outside of the body: \(range)")
        }
        check(request.estimatedPromptTokens >= 0 && request.estimatedPromptTokens <= bytes.count, "tokens")
        let hashes = PrefixBlocks.hashes(
            of: request,
            in: body,
            model: "m",
            blockTokens: 16,
            bytesPerToken: 4,
            maxBlocks: 100
        )
        guard request.promptIsTokenIDs else {
            check(hashes.count == min(100, request.promptByteCount / 64), "\(hashes.count) blocks")
            continue
        }
        check(hashes.count <= min(100, request.estimatedPromptTokens / 16), "\(hashes.count) blocks of ids")
    }
}

private func usage(_ bytes: [UInt8], pieceBytes: Int) -> TokenUsage? {
    var reader = UsageReader(format: .grpc)
    var offset = 0
    while offset < bytes.count {
        let piece = Array(bytes[offset..<min(offset + pieceBytes, bytes.count)])
        piece.withRawSpan { reader.consume($0) }
        offset += piece.count
    }
    reader.finish()
    return reader.usage
}
