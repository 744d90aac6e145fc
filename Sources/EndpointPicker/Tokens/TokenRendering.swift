internal import Bytes
internal import ExtProc
internal import Inference
package import SubRequests

/// `token-producer` with `backend: vllm`: a server that says which tokens a prompt is.
package struct TokenRendering: Sendable, Equatable {
    /// `http://host:port` or `https://host:port`, without a path.
    package var url = "http://localhost:8000"
    /// The model whose tokens they are, whatever model requests name; nil for that of the request.
    package var model: String?
    /// How long the server may take for text, and for a prompt with images, videos or sounds.
    package var timeout = Duration.seconds(5)
    package var multimodalTimeout = Duration.seconds(30)

    /// Whom to trust over `https://`.
    package var trust = TLSTrust.system

    package init() {}

    /// The longest answer: the tokens of the longest prompt, and what a server makes of images.
    private static let maxResponseBytes = 64 << 20
    /// What the server may want to see of a request, as the model server does.
    private static let passedHeaders = ["authorization", "x-request-id", "traceparent"]

    /// What to ask the server; nil for a request whose tokens are known, or which no server can render.
    func request(
        for inquiry: Inquiry,
        model targetModel: String,
        body: borrowing ByteBuffer
    ) -> HTTPRequest? {
        guard let request = inquiry.request?.inference, !request.promptIsTokenIDs else { return nil }
        let path: String
        switch request.api {
        case .completions: path = "/v1/completions/render"
        case .chatCompletions: path = "/v1/chat/completions/render"
        default: return nil
        }
        let model = model ?? targetModel
        var edits = BodyEdits()
        if model != request.model, !request.modelRange.isEmpty {
            edits.replaceValue(in: request.modelRange, with: JSONValue.quoted(model))
        }
        let copy = edits.isEmpty ? body.bytes.copied() : edits.applied(to: body).bytes.copied()
        var headers = [HTTPField("content-type", "application/json")]
        for name in Self.passedHeaders {
            if let value = inquiry.headers.value(named: name) { headers.append(HTTPField(name, value)) }
        }
        return HTTPRequest(
            method: "POST",
            url: url + path,
            headers: headers,
            body: HTTPBody(copy),
            timeout: inquiry.parts.count > 0 ? multimodalTimeout : timeout,
            maxResponseBytes: Self.maxResponseBytes,
            wantsHeaders: false,
            trust: url.hasPrefix("https://") ? trust : nil
        )
    }
}
