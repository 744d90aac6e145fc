import Inference
import Testing

@Suite struct InferenceAPITests {
    @Test(
        "The end of the path names the API, whatever stands before it or behind a question mark",
        arguments: [
            ("/v1/completions", .completions),
            ("/v1/chat/completions", .chatCompletions),
            ("/v1/responses", .responses),
            ("/v1/conversations", .conversations),
            ("/v1/embeddings", .embeddings),
            ("/v1/messages", .messages),
            ("/tenant-a/v1/chat/completions?x=1", .chatCompletions),
            ("/v1/completions?next=/v1/chat/completions", .completions),
            ("/v1/embeddings/", .embeddings),
            ("/v1/responses//?a=b#c", .responses),
            ("/v1/chat/completions#top", .chatCompletions),
            ("/chat/completions", .chatCompletions),
            ("/v1/models", nil),
            ("/v1/messages/count_tokens", nil),
            ("/v1/xcompletions", nil),
            ("completions", nil),
            ("/v1/Completions", nil),
            ("/", nil),
            ("", nil),
            ("?/v1/completions", nil),
        ] as [(String, InferenceAPI?)]
    )
    func matching(path: String, api: InferenceAPI?) {
        #expect(InferenceAPI.matching(path: path) == api)
    }
}
