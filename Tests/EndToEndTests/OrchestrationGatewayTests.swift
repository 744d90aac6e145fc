import TestSupport
import Testing

/// A gateway that takes little of what it is sent, and then leaves.
@Suite("A gateway that leaves while it is given a decode", .serialized, .showsLogs)
struct OrchestrationGatewayTests {
    /// Sends a request as Envoy would, reads no reply, and leaves once the request has reached a checkpoint.
    ///
    /// - Returns: the checkpoints that the request had reached in the end.
    private func leave(_ deployment: Disaggregated, _ id: String, _ body: [UInt8], at checkpoint: String) async throws
        -> [String]
    {
        // The window stays at HTTP/2's 64 KiB.
        let client = GRPCClient(
            port: deployment.apus.externalProcessorPort,
            arguments: ["grpc.http2.bdp_probe": 0]
        )
        defer { client.shutdown() }
        let call = client.call("/envoy.service.ext_proc.v3.ExternalProcessor/Process")
        let headers = [(":method", "POST"), (":path", "/v1/completions"), ("x-request-id", id)]
        await call.send(EnvoyFrame.requestHeaders(headers).with(request: .fullDuplexStreamed).bytes)
        var offset = 0
        while offset < body.count {
            let end = min(offset + 32 << 10, body.count)
            await call.send(EnvoyFrame.requestBody(body[offset..<end], endOfStream: end == body.count).bytes)
            offset = end
        }
        func reached() async -> [String] {
            // There is no decision before there is a body.
            guard let decision = try? await deployment.apus.decision(id) else { return [] }
            return decision["checkpoints"].array.compactMap { $0["name"].string }
        }
        try await eventually("the request is at \(checkpoint)") { await reached().contains(checkpoint) }
        call.cancel()
        _ = await call.status()
        try await deployment.waitUntilIdle()
        return await reached()
    }

    private func request(_ id: String, byteCount: Int) throws -> (request: TestRequest, body: [UInt8]) {
        var request = Ask.completion(String(repeating: "word ", count: byteCount / 5))
        request.headers.append(("x-request-id", id))
        guard case .fixed(let body) = request.body else { throw TestFailure("the request has no body") }
        return (request, body)
    }

    @Test("Before the last piece the parameters are unused: the request goes on with them when it comes again")
    func before() async throws {
        try await withDisaggregated(Disaggregated.Plan(.nixlv2, .handoff)) { deployment in
            let (request, body) = try request("leaves-before", byteCount: 1 << 20)
            let reached = try await leave(deployment, "leaves-before", body, at: "TRANSFER_COMPLETE")
            #expect(reached.last == "TRANSFER_COMPLETE", "\(reached)")
            let response = try await deployment.client.send(request)
            #expect(response.status == 200, "\(response.text)")
            #expect(response["x-apus-attempts"] == "0")
            #expect(try await deployment.event("resumed") == 1)
            #expect(try await deployment.counter("transfer_failed") == 0)
        }
    }

    @Test("From the last piece on they may have been used, though it has not left: the request begins anew")
    func within() async throws {
        try await withDisaggregated(Disaggregated.Plan(.nixlv2, .handoff)) { deployment in
            // Three pieces, of which the last waits for room in the window of a call that reads nothing.
            let (request, body) = try request("leaves-within", byteCount: 160 << 10)
            let reached = try await leave(deployment, "leaves-within", body, at: "DECODE_FORWARDED")
            #expect(reached.last == "DECODE_FORWARDED", "\(reached)")
            let response = try await deployment.client.send(request)
            #expect(response.status == 200, "\(response.text)")
            #expect(response["x-apus-attempts"] == "1")
            #expect(try await deployment.event("resumed") == 0)
        }
    }
}
