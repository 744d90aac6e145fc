package import Bytes
package import Inference

/// How images, videos and sounds are encoded before a prompt is computed: one primer request per item, and what the later legs get of it.
///
/// Pure, like `Connector`.
package protocol EncodeConnector: Sendable {
    /// The items of the request that are worth a leg, each once, in the order of their first mention.
    func items(of request: InferenceRequest, in body: SharedBytes) -> [EncodeItem]

    /// The body of an item's leg; it goes to `/v1/chat/completions`.
    func body(of item: EncodeItem, _ leg: LegContext) -> PiecedBytes

    /// Reads an encode leg's answer of status 200: the members of `ec_transfer_params`, by hash, each as JSON.
    func read(_ answer: RawSpan) throws(BadAnswer) -> [(hash: String, value: [UInt8])]

    /// Makes every later leg's body use what was encoded.
    func edit(_ leg: LegContext, with results: [(hash: String, value: [UInt8])], _ edits: inout BodyEdits)
}

/// One content part of the prompt that an encoder computes.
package struct EncodeItem: Sendable, Equatable {
    /// The part, as JSON, in the request's body.
    package var range: Range<Int>

    package init(range: Range<Int>) {
        self.range = range
    }
}
