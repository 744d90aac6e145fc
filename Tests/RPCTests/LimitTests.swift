import TestSupport
import Testing

@testable import RPC

@Suite("Limits")
struct LimitTests {
    @Test("A message over the limit ends its call with RESOURCE_EXHAUSTED; the next call is served")
    func oversizedMessage() async throws {
        let failure = Event<RPCStatus.Code>()
        let handler: Handler = { call in
            do throws(RPCError) {
                while let message = try await call.receive() {
                    try await call.send(message.array)
                }
                return .ok
            } catch {
                failure.happen(error.code)
                return error.status
            }
        }
        try await withServer(["/test/Echo": handler]) {
            $0.maxReceiveMessageBytes = 1000
        } _: { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Echo")
                await call.send([UInt8](repeating: 1, count: 1001))
                #expect(await call.status().code == 8)
                #expect(await failure.value() == .cancelled)

                let next = await client.unary("/test/Echo", [UInt8](repeating: 1, count: 1000))
                #expect(next.reply?.count == 1000)
                #expect(next.status.code == 0)
            }
        }
    }

    @Test("A message sent over the limit ends the call with RESOURCE_EXHAUSTED")
    func oversizedReply() async throws {
        let handler: Handler = { call in
            try? await call.send([UInt8](repeating: 1, count: 1001))
            return .ok
        }
        try await withServer(["/test/Big": handler]) {
            $0.maxSendMessageBytes = 1000
        } _: { server in
            await withGRPCClient(port: server.port) { client in
                #expect(await client.unary("/test/Big", []).status.code == 8)
            }
        }
    }

    @Test("An unknown method is UNIMPLEMENTED", arguments: ["/test/Ech", "/test/Echoo", "/nothing", "/test/echo"])
    func unknownMethod(path: String) async throws {
        try await withServer(["/test/Echo": echoHandler]) { server in
            await withGRPCClient(port: server.port) { client in
                let result = await client.unary(path, [1])
                #expect(result.status.code == 12)
                #expect(result.reply == nil)
            }
        }
    }

    @Test("A compressed message is refused, for its size unpacked is unknown")
    func compression() async throws {
        try await withServer(["/test/Echo": echoHandler]) { server in
            // Core's client compresses everything with gzip (2).
            await withGRPCClient(port: server.port, arguments: ["grpc.default_compression_algorithm": 2]) { client in
                let result = await client.unary("/test/Echo", [UInt8](repeating: 0, count: 100_000))
                #expect(result.status.code == 12)
                #expect(result.reply == nil)
            }
        }
    }

    @Test("Streams over the cap are RESOURCE_EXHAUSTED, and when one has ended the next is served")
    func streamCap() async throws {
        try await withServer(["/test/Echo": echoHandler]) {
            $0.maxConcurrentStreams = 2
        } _: { server in
            await withGRPCClient(port: server.port) { client in
                let first = client.call("/test/Echo")
                let second = client.call("/test/Echo")
                for call in [first, second] {
                    await call.send([1])
                    #expect(await call.receive() == [1])
                }
                for _ in 0..<20 {
                    #expect(await client.call("/test/Echo").status().code == 8)
                }

                await first.halfClose()
                #expect(await first.status().code == 0)
                // The server releases the stream an instant after the client has seen its status.
                while server.activeStreams > 1 { await Task.yield() }
                let next = await client.unary("/test/Echo", [2])
                #expect(next.reply == [2])
                await second.halfClose()
                #expect(await second.status().code == 0)
            }
        }
    }
}
