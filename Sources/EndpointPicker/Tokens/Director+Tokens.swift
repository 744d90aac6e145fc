internal import Bytes
internal import ExtProc
internal import Inference
internal import Telemetry

/// How many tokens a prompt has.
struct PromptTokens: Equatable {
    var count: Int
    /// The bytes that they stand for, where their number was not made of these alone; so that a part of the bytes can be told in tokens.
    var ofBytes: Int?

    /// The tokens of one block of the prompt; nil for what the block's own size says.
    func perBlock(ofBytes blockBytes: Int) -> Double? {
        ofBytes.flatMap { $0 > 0 ? Double(count) * Double(blockBytes) / Double($0) : nil }
    }
}

extension Director {
    /// Tells how many tokens the prompt has: by a server that knows, where there is one, else by an estimate.
    ///
    /// - Parameter rendering: what to ask the server, as `rendering(for:)` made it.
    func countTokens(
        of inquiry: inout Inquiry,
        _ settings: DirectorSettings,
        in record: RequestRecord,
        _ rendering: TokenRequest?
    ) async {
        guard let request = inquiry.request?.inference else { return }
        var exact: Int?
        if let rendering {
            let startedAt = MonotonicTime.now()
            exact = await rendering.renderer.count(rendering.request)
            record.tokenTime = MonotonicTime.now().nanoseconds - startedAt.nanoseconds
        }
        if let exact {
            inquiry.tokens = PromptTokens(count: exact, ofBytes: request.promptByteCount)
        } else if inquiry.parts.count > 0 {
            let hints = VideoHints { inquiry.headers.value(named: $0) }
            let count = settings.media.tokens(of: request, inquiry.parts, hints)
            inquiry.tokens = PromptTokens(count: count, ofBytes: request.promptByteCount)
        }
    }

    /// Looks at the media of a prompt, and says what a server is to be asked of it; nil when no server is asked.
    func rendering(
        for inquiry: inout Inquiry,
        _ settings: DirectorSettings,
        model: String,
        body: borrowing ByteBuffer
    ) -> TokenRequest? {
        guard let request = inquiry.request?.inference else { return nil }
        if request.api.takesMedia { inquiry.parts = MultimodalParts(in: request, body) }
        guard let renderer, let rendering = settings.rendering else { return nil }
        return rendering.request(for: inquiry, model: model, body: body).map {
            TokenRequest(renderer: renderer, request: $0)
        }
    }
}
