import RPC
import Synchronization

/// The answers of the bare server behind a real Envoy: the destination when the request is complete, and bodies of spaces, as many as
/// came, since Envoy would otherwise tell the length of another body.
final class ConstantEcho: Sendable {
    private let replies: [Replies]
    private let turn = Atomic(0)

    init(destinations: [String]) {
        replies = destinations.map { Replies(bodyBytes: 1, destination: $0) }
    }

    func answer(_ call: ServerCall) async -> RPCStatus {
        let replies = replies[turn.wrappingAdd(1, ordering: .relaxed).oldValue % replies.count]
        var requestBytes = 0
        do throws(RPCError) {
            while let message = try await call.receive() {
                let (field, count, isLast) = message.withUnsafeBytes { bytes in
                    let field = ProtobufPeek.firstField(below: 8, in: bytes) ?? 0
                    return (
                        UInt8(field), ProtobufPeek.length(at: [field, 1], in: bytes),
                        ProtobufPeek.integer(at: [field, 2], in: bytes) == 1
                    )
                }
                switch field {
                case Frames.RequestField.requestBody:
                    requestBytes += count
                    guard isLast else { continue }
                    try await send(replies.requestHeaders, call)
                    try await sendBody(Frames.ReplyField.requestBody, requestBytes, isLast: true, call)
                case Frames.RequestField.responseHeaders: try await send(replies.responseHeaders, call)
                case Frames.RequestField.responseBody:
                    try await sendBody(Frames.ReplyField.responseBody, count, isLast: isLast, call)
                default: break
                }
            }
            return .ok
        } catch {
            return error.status
        }
    }

    private func send(_ bytes: [UInt8], _ call: ServerCall) async throws(RPCError) {
        try await call.send(byteCount: bytes.count) { $0.copyBytes(from: bytes) }
    }

    /// `count` spaces, in pieces that Envoy takes.
    private func sendBody(_ field: UInt8, _ count: Int, isLast: Bool, _ call: ServerCall) async throws(RPCError) {
        var rest = count
        while rest > Self.pieceBytes {
            try await sendPiece(field, Self.pieceBytes, isLast: false, call)
            rest -= Self.pieceBytes
        }
        try await sendPiece(field, rest, isLast: isLast, call)
    }

    private static let pieceBytes = 62_000

    /// BodyResponse.response.body_mutation.streamed_response with `count` spaces.
    private func sendPiece(_ field: UInt8, _ count: Int, isLast: Bool, _ call: ServerCall) async throws(RPCError) {
        // Written from the inside out: each message's length is that of what it holds.
        let end: [UInt8] = isLast ? [2 << 3, 1] : []
        var head: [UInt8] = count == 0 ? [] : [1 << 3 | 2] + Self.varint(count)
        for number: UInt8 in [3, 3, 1, field] {
            head = [number << 3 | 2] + Self.varint(head.count + count + end.count) + head
        }
        try await call.send(byteCount: head.count + count + end.count) { buffer in
            buffer.copyBytes(from: head)
            for index in head.count..<(head.count + count) { buffer[index] = 0x20 }
            UnsafeMutableRawBufferPointer(rebasing: buffer[(head.count + count)...]).copyBytes(from: end)
        }
    }

    private static func varint(_ value: Int) -> [UInt8] {
        var bytes: [UInt8] = []
        var value = value
        while value >= 0x80 {
            bytes.append(UInt8(truncatingIfNeeded: value) | 0x80)
            value >>= 7
        }
        return bytes + [UInt8(value)]
    }
}
