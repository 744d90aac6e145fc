internal import Bytes
internal import Inference

/// What encoders are sent.
enum EncodeBodies {
    /// A chat of one message with the item and nothing else. What decides how an engine reads media goes along, since it changes what is
    /// computed.
    static func primer(of item: EncodeItem, _ leg: LegContext) -> PiecedBytes {
        var body = PiecedBytes()
        let model = LegBodies.quoted(leg.model)
        body.append(Array(#"{"model":\#(model),"messages":[{"role":"user","content":["#.utf8))
        MediaParts.append(item, leg.request, leg.body, to: &body)
        body.append(Array(#"]}],"max_tokens":1,"stream":false"#.utf8))
        for name in [RequestMembers.Name.mmProcessorKwargs, .mediaIOKwargs] {
            guard let member = leg.request.members[name] else { continue }
            body.append(Array(#","\#(name.text)":"#.utf8))
            body.append(leg.body, member.valueRange)
        }
        body.append(Array("}".utf8))
        return body
    }
}
