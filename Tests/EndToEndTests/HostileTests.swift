import Foundation
import TestSupport
import Testing

/// What no Envoy would send, straight at the external-processing port.
@Suite(
    "Hostile frames",
    .serialized,
    .deployment(.init(apus: ["--max-request-body=1MiB"])),
    .showsLogs
)
struct HostileTests {
    private static let method = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
    private static let headers: [(String, String)] = [(":method", "POST"), (":path", "/v1/completions")]

    private func withClient<R>(_ body: (GRPCClient) async throws -> sending R) async throws -> sending R {
        let port = try Deployment.ofSuite().apus.externalProcessorPort
        return try await withGRPCClient(port: port, body)
    }

    /// Sends frames, says that no more will come, and reads what is answered.
    private func exchange(_ client: GRPCClient, _ frames: [[UInt8]]) async -> (
        replies: [[UInt8]], status: GRPCCallStatus
    ) {
        let call = client.call(Self.method, timeout: .seconds(60))
        let sending = Task {
            for frame in frames {
                guard await call.send(frame) else { return }
            }
            await call.halfClose()
        }
        var replies: [[UInt8]] = []
        while let reply = await call.receive() { replies.append(reply) }
        await sending.value
        return (replies, await call.status())
    }

    /// What every test ends with: nothing is left over, and a request is served.
    private func expectServing() async throws {
        let deployment = try Deployment.ofSuite()
        try await deployment.apus.waitUntilIdle()
        try await eventually("no stream is left") {
            try await deployment.apus.metric("apus_streams_active") == 0
        }
        #expect(try await deployment.send(Ask.completion(stream: true)).response.events.last == "[DONE]")
        #expect(deployment.apus.process.isRunning)
    }

    private static func deepList(_ depth: Int) -> [UInt8] {
        // Value {6: ListValue {1: Value …}}, from the inside out.
        var bytes: [UInt8] = []
        for _ in 0..<depth {
            var list = ProtobufWriter()
            list.bytes(1, bytes)
            var value = ProtobufWriter()
            value.bytes(6, list.bytes)
            bytes = value.bytes
        }
        return bytes
    }

    @Test("A frame that is no protobuf ends its stream with a clean status")
    func garbage() async throws {
        try await withClient { client in
            var random = SystemRandomNumberGenerator()
            let frames: [[UInt8]] =
                [
                    [0xFF], [0x12, 0x7F, 1], [0x12, 0xFF, 0xFF, 0xFF, 0xFF, 0x0F],
                    Array(repeating: 0xFF, count: 100_000),
                ]
                + (0..<50).map { _ in
                    (0..<Int.random(in: 1...200)).map { _ in UInt8.random(in: 0...255, using: &random) }
                }
            for frame in frames {
                let (_, status) = await exchange(client, [frame])
                #expect([0, 3].contains(status.code), "\(status) for \(frame.prefix(20))")
            }
            let (_, status) = await exchange(client, [[0xFF]])
            #expect(status.code == 3)
        }
        try await expectServing()
    }

    @Test("A frame of an unknown kind, and an empty one, end their stream with a clean status, also in the middle")
    func unknownKind() async throws {
        try await withClient { client in
            var unknown = ProtobufWriter()
            unknown.message(99) { $0.text(1, "from a later Envoy") }
            let request = EnvoyFrame.requestHeaders(Self.headers).with(request: .fullDuplexStreamed)
            let body = EnvoyFrame.requestBody(Ask.completionBody(), endOfStream: true)
            for odd in [unknown.bytes, []] {
                for before in [[], [request.bytes], [request.bytes, body.bytes]] {
                    #expect(await exchange(client, before + [odd]).status.code == 3)
                }
            }
        }
        try await expectServing()
    }

    @Test("Deeply nested metadata is passed over", arguments: [100, 5_000])
    func deepMetadata(depth: Int) async throws {
        try await withClient { client in
            let deep = Self.deepList(depth)
            let frame = EnvoyFrame.requestHeaders(Self.headers).with(request: .fullDuplexStreamed)
                .appending { writer in
                    writer.message(8) { metadata in
                        for namespace in ["envoy.lb.subset_hint", "other"] {
                            metadata.message(1) { entry in
                                entry.text(1, namespace)
                                entry.message(2) { level in
                                    level.message(1) { field in
                                        field.text(1, "deep")
                                        field.bytes(2, deep)
                                    }
                                }
                            }
                        }
                    }
                }
            let body = EnvoyFrame.requestBody(Ask.completionBody(), endOfStream: true)
            let (replies, status) = await exchange(client, [frame.bytes, body.bytes])
            #expect(status.code == 0)
            #expect(replies.compactMap { EnvoyReply(decoding: $0)?.kind } == [.requestHeaders, .requestBody])
        }
        try await expectServing()
    }

    @Test("100,000 levels of JSON get an answer", arguments: ["[", #"{"a":"#])
    func deepJSON(opening: String) async throws {
        try await withClient { client in
            let deep = String(repeating: opening, count: 100_000)
            for body in [
                deep, #"{"model": "demo", "prompt": \#(deep)"#, #"{"model": "demo", "prompt": "a", "b": \#(deep)"#,
            ] {
                let (replies, status) = await exchange(
                    client,
                    [
                        EnvoyFrame.requestHeaders(Self.headers).with(request: .fullDuplexStreamed).bytes,
                        EnvoyFrame.requestBody(body, endOfStream: true).bytes,
                    ]
                )
                #expect(status.code == 0)
                #expect(replies.compactMap { EnvoyReply(decoding: $0)?.status } == [400])
            }
        }
        try await expectServing()
    }

    @Test("Frames in any order end in a clean status")
    func disorder() async throws {
        try await withClient { client in
            let kinds: [EnvoyFrame] = [
                .requestHeaders(Self.headers), .requestBody(Ask.completionBody(), endOfStream: true),
                .requestBody("{", endOfStream: false), .requestTrailers([("a", "b")]),
                .responseHeaders([(":status", "200")]),
                .responseBody("data: {", endOfStream: false), .responseBody("}", endOfStream: true),
                .responseTrailers(),
                .requestHeaders([], endOfStream: true), .responseHeaders([(":status", "nonsense")], endOfStream: true),
            ]
            for _ in 0..<200 {
                var frames = (0..<Int.random(in: 1...8)).compactMap { _ in kinds.randomElement() }
                frames[0] = frames[0].with(
                    request: .allCases.randomElement() ?? .none,
                    response: .allCases.randomElement() ?? .none
                )
                let (_, status) = await exchange(client, frames.map(\.bytes))
                #expect([0, 3].contains(status.code), "\(status)")
            }
        }
        try await expectServing()
    }

    @Test("A message over the limit of messages ends its stream, not the process")
    func largeMessage() async throws {
        try await withClient { client in
            let frame = EnvoyFrame.requestBody([UInt8](repeating: 32, count: 5 << 20))
            let (_, status) = await exchange(client, [frame.bytes])
            #expect(status.code == 8)
        }
        try await expectServing()
    }

    @Test("Methods that are not there are UNIMPLEMENTED")
    func unknownMethod() async throws {
        try await withClient { client in
            for method in ["/envoy.service.ext_proc.v3.ExternalProcessor/Other", "/", "/grpc.health.v1.Health/Check"] {
                #expect(await client.unary(method, []).status.code == 12)
            }
        }
    }

    @Test("10,000 streams that are opened and cancelled at any moment leave nothing behind")
    func manyStreams() async throws {
        try await withClient { client in
            let frames = [
                EnvoyFrame.requestHeaders(Self.headers).with(request: .fullDuplexStreamed).bytes,
                EnvoyFrame.requestBody(Ask.completionBody(), endOfStream: true).bytes,
                EnvoyFrame.responseHeaders([(":status", "200"), ("content-type", "text/event-stream")]).bytes,
                EnvoyFrame.responseBody("data: {}\n\n", endOfStream: false).bytes,
            ]
            await withDiscardingTaskGroup { group in
                for worker in 0..<50 {
                    group.addTask {
                        for number in 0..<200 {
                            let call = client.call(Self.method)
                            for frame in frames.prefix((worker + number) % 5) { await call.send(frame) }
                            for _ in 0..<(number % 3) where (worker + number) % 5 >= 2 { _ = await call.receive() }
                            call.cancel()
                            _ = await call.status()
                        }
                    }
                }
            }
        }
        try await expectServing()
    }
}

@Suite("A full house", .showsLogs)
struct StreamCapTests {
    @Test("Streams over the cap are refused with RESOURCE_EXHAUSTED, and there is room again when others end")
    func cap() async throws {
        try await withDeployment(.init(apus: ["--max-streams=5"])) { deployment in
            try await withGRPCClient(port: deployment.apus.externalProcessorPort) { client in
                let method = "/envoy.service.ext_proc.v3.ExternalProcessor/Process"
                let held = (0..<5).map { _ in client.call(method) }
                let frame = EnvoyFrame.requestHeaders([(":path", "/v1/models")], endOfStream: true).bytes
                for call in held {
                    await call.send(frame)
                    #expect(await call.receive() != nil)
                }
                for _ in 0..<20 {
                    let call = client.call(method)
                    #expect(await call.status().code == 8)
                }
                #expect(try await deployment.send(Ask.completion()).response.status == 500)
                for call in held { call.cancel() }
                for call in held { _ = await call.status() }
                try await deployment.apus.waitUntilIdle()
            }
            try await eventually("there is room") {
                try await deployment.send(Ask.completion()).response.status == 200
            }
        }
    }
}
