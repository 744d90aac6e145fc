import Bytes
import TestSupport
import Testing

@testable import ExtProc

/// Packs a reply and reads it as Envoy would.
func roundTrip(_ reply: Reply, body: [UInt8] = []) -> EnvoyReply? {
    body.withRawSpan { span in
        let memory = UnsafeMutableRawBufferPointer.allocate(byteCount: reply.packedByteCount(body: span), alignment: 1)
        defer { memory.deallocate() }
        reply.pack(body: span, into: memory)
        return EnvoyReply(decoding: Array(memory))
    }
}

@Suite struct ReplyTests {
    @Test("A decision's reply sets headers by raw value, clears the route cache and carries the metadata")
    func decision() {
        var reply = Reply(.requestHeaders)
        reply.headers.set("x-gateway-destination-endpoint", "10.0.0.1:8000")
        reply.headers.set("x-request-id", "7")
        reply.headers.remove("x-prefiller-host-port")
        reply.clearRouteCache = true
        var metadata = DynamicMetadata(namespace: "envoy.lb")
        metadata.set("x-gateway-destination-endpoint", "10.0.0.1:8000")
        metadata.set("x-gateway-destination-endpoint-scores", "1.5")
        reply.dynamicMetadata = metadata
        var expected = EnvoyReply(.requestHeaders)
        expected.set = ["x-gateway-destination-endpoint: 10.0.0.1:8000", "x-request-id: 7"]
        expected.removed = ["x-prefiller-host-port"]
        expected.clearsRouteCache = true
        expected.metadata = [
            "envoy.lb/x-gateway-destination-endpoint=10.0.0.1:8000",
            "envoy.lb/x-gateway-destination-endpoint-scores=1.5",
        ]
        #expect(roundTrip(reply) == expected)
    }

    @Test("An immediate response has a status and a body")
    func immediate() {
        var reply = Reply(.immediate(status: 503))
        reply.headers.set("x-llm-d-request-dropped-reason", "rejected-no-endpoints")
        var expected = EnvoyReply(.immediate)
        expected.status = 503
        expected.set = ["x-llm-d-request-dropped-reason: rejected-no-endpoints"]
        expected.body = .replaced(Array("no".utf8))
        #expect(roundTrip(reply, body: Array("no".utf8)) == expected)
    }

    @Test("A chunk that ends the stream without bytes is still a chunk")
    func emptyLastChunk() {
        var reply = Reply(.requestBody)
        reply.body = .streamed(endOfStream: true)
        var expected = EnvoyReply(.requestBody)
        expected.body = .streamed([], endOfStream: true)
        #expect(roundTrip(reply) == expected)
    }

    @Test("More headers than fit the stack are packed all the same")
    func manyHeaders() {
        var reply = Reply(.responseHeaders)
        for number in 0..<100 {
            reply.headers.set("x-\(number)", "\(number)")
            reply.headers.remove("y-\(number)")
        }
        let read = roundTrip(reply)
        #expect(read?.set.count == 100)
        #expect(read?.removed.count == 100)
        #expect(read?.header("x-99") == "99")
    }

    @Test(
        "A body is cut into chunks of 62000 bytes, the last of which ends the stream",
        arguments: [
            (0, [0]), (1, [1]), (61_999, [61_999]), (62_000, [62_000]), (62_001, [62_000, 1]),
            (186_000, [62_000, 62_000, 62_000]),
        ]
    )
    func chunks(byteCount: Int, expected: [Int]) {
        let plan = Conversation.DecisionForm.headersAndBody(hasTrailers: false)
            .replies(headers: HeaderMutation(), metadata: nil, bodyByteCount: byteCount, isBodyEdited: false)
        #expect(plan.first?.reply.kind == .requestHeaders)
        #expect(plan.dropFirst().map(\.body.count) == expected)
        let ends = plan.dropFirst().map { $0.reply.body == .streamed(endOfStream: true) }
        #expect(ends == Array(repeating: false, count: expected.count - 1) + [true])
    }

    @Test("With trailers no chunk ends the stream, and the trailers are answered last")
    func chunksBeforeTrailers() {
        let plan = Conversation.DecisionForm.headersAndBody(hasTrailers: true)
            .replies(headers: HeaderMutation(), metadata: nil, bodyByteCount: 70_000, isBodyEdited: true)
        #expect(plan.map(\.reply.kind) == [.requestHeaders, .requestBody, .requestBody, .requestTrailers])
        #expect(plan[1...2].allSatisfy { $0.reply.body == .streamed(endOfStream: false) })
        let empty = Conversation.DecisionForm.headersAndBody(hasTrailers: true)
            .replies(headers: HeaderMutation(), metadata: nil, bodyByteCount: 0, isBodyEdited: false)
        #expect(empty.map(\.reply.kind) == [.requestHeaders, .requestTrailers])
    }

    @Test("A buffered body is replaced only when it was edited")
    func bufferedBody() {
        let form = Conversation.DecisionForm.bufferedBody(isPartial: false)
        let same = form.replies(headers: HeaderMutation(), metadata: nil, bodyByteCount: 9, isBodyEdited: false)
        #expect(same.map(\.reply.body) == [.unchanged])
        let edited = form.replies(headers: HeaderMutation(), metadata: nil, bodyByteCount: 9, isBodyEdited: true)
        #expect(edited.map(\.reply.body) == [.replaced])
        #expect(edited.map(\.body) == [0..<9])
    }
}
