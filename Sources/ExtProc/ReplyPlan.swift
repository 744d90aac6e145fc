/// Replies in the order in which they are sent, with the range of the body that each carries.
package struct PlannedReply: Sendable {
    package var reply: Reply
    package var body: Range<Int>

    package init(_ reply: Reply, body: Range<Int> = 0..<0) {
        self.reply = reply
        self.body = body
    }
}

extension Conversation {
    /// What `requestHeld` asks for: Envoy may send the body.
    package static let continueRequestHeaders = Reply(.requestHeaders)
}

extension Conversation.DecisionForm {
    /// The replies that tell a decision.
    ///
    /// - Parameters:
    ///   - headers: what changes of the request's headers.
    ///   - metadata: what later filters and the load balancer shall see.
    ///   - bodyByteCount: the length of the body as the model server shall get it.
    ///   - isBodyEdited: whether it differs from what came.
    package func replies(
        headers: HeaderMutation,
        metadata: DynamicMetadata?,
        bodyByteCount: Int,
        isBodyEdited: Bool
    ) -> [PlannedReply] {
        switch self {
        case .headers:
            return [PlannedReply(Self.decision(.requestHeaders, headers, metadata))]
        case .headersAndBody(let hasTrailers):
            var plan = [PlannedReply(Self.decision(.requestHeaders, headers, metadata))]
            plan.append(contentsOf: Reply.chunks(.requestBody, of: bodyByteCount, isLast: !hasTrailers))
            if hasTrailers { plan.append(PlannedReply(Reply(.requestTrailers))) }
            return plan
        case .bufferedBody:
            var reply = Self.decision(.requestBody, headers, metadata)
            reply.body = isBodyEdited ? .replaced : .unchanged
            return [PlannedReply(reply, body: isBodyEdited ? 0..<bodyByteCount : 0..<0)]
        case .trailers:
            var reply = Reply(.requestTrailers)
            reply.dynamicMetadata = metadata
            return [PlannedReply(reply)]
        }
    }

    private static func decision(
        _ kind: Reply.Kind,
        _ headers: HeaderMutation,
        _ metadata: DynamicMetadata?
    ) -> Reply {
        var reply = Reply(kind)
        reply.headers = headers
        reply.dynamicMetadata = metadata
        // The route may depend on headers that the decision sets.
        reply.clearRouteCache = true
        return reply
    }
}

extension Conversation.ResponseForm {
    /// The replies to a piece of the response's body of `byteCount` bytes.
    ///
    /// - Parameter isEdited: whether the bytes differ from what the frame carried.
    package func replies(byteCount: Int, isEdited: Bool) -> [PlannedReply] {
        switch self {
        case .chunks(let isLast):
            return Reply.chunks(.responseBody, of: byteCount, isLast: isLast)
        case .frame:
            var reply = Reply(.responseBody)
            reply.body = isEdited ? .replaced : .unchanged
            return [PlannedReply(reply, body: isEdited ? 0..<byteCount : 0..<0)]
        }
    }
}

extension Reply {
    /// A piece of the body of a response of Apus's own, in chunks of at most `chunkBytes`.
    package static func streamedChunks(of byteCount: Int, isLast: Bool) -> [PlannedReply] {
        guard byteCount > 0 || isLast else { return [] }
        var plan: [PlannedReply] = []
        var start = 0
        repeat {
            let end = min(start + chunkBytes, byteCount)
            plan.append(PlannedReply(Reply(.streamedBody(endOfStream: isLast && end == byteCount)), body: start..<end))
            start = end
        } while start < byteCount
        return plan
    }

    /// The body in chunks of at most `chunkBytes`. An empty body is one empty chunk, which is what ends a stream; one that neither carries
    /// bytes nor ends anything is left out.
    static func chunks(_ kind: Kind, of byteCount: Int, isLast: Bool) -> [PlannedReply] {
        guard byteCount > 0 || isLast else { return [] }
        var plan: [PlannedReply] = []
        var start = 0
        repeat {
            let end = min(start + chunkBytes, byteCount)
            var reply = Reply(kind)
            reply.body = .streamed(endOfStream: isLast && end == byteCount)
            plan.append(PlannedReply(reply, body: start..<end))
            start = end
        } while start < byteCount
        return plan
    }
}
