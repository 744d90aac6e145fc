import Bytes
import Configuration
import EndpointPicker
import Scheduling
import TestSupport
import Testing

@Suite("destination-endpoint-served-verifier, beside header-based-testing-filter, through a real gRPC server")
struct DestinationEndpointServedVerifierTests {
    private let configuration = """
        plugins:
        - type: header-based-testing-filter
        - type: destination-endpoint-served-verifier
        - type: random-picker
        - type: queue-scorer
        """
    private let served = "x-conformance-test-served-endpoint"

    private func frames(_ headers: [(String, String)] = []) -> [EnvoyFrame] {
        [
            .requestHeaders([(":path", "/v1/completions"), ("x-request-id", "r")] + headers),
            .requestBody(#"{"model":"m","prompt":"hi"}"#, endOfStream: true),
        ]
    }

    private func header(_ name: String, of reply: EnvoyReply?) -> String? {
        reply?.set.first { $0.hasPrefix(name + ": ") }.map { String($0.dropFirst(name.count + 2)) }
    }

    /// The replies to the request and to the response's headers.
    private func round(
        _ picker: TestPicker,
        metadata: [String]? = nil
    ) async throws -> (request: EnvoyReply?, response: EnvoyReply?) {
        var response = EnvoyFrame.responseHeaders([(":status", "200")])
        if let metadata {
            response = response.with(metadata: "envoy.lb", "x-gateway-destination-endpoint-served", metadata)
        }
        let wanted = [("test-epp-endpoint-selection", "192.168.1.3:8000")]
        let replies = try await picker.exchange(
            frames(wanted) + [response, .responseBody("{}", endOfStream: true)],
            replies: 4
        )
        return (replies.first, replies.count > 2 ? replies[2] : nil)
    }

    @Test("The response tells which endpoint served")
    func tells() async throws {
        try await withPicker((0..<3).map { Pod($0, 0, 0.1) }, scheduler: scheduler(configuration)) { picker in
            let found = try await round(picker, metadata: ["192.168.1.3:8000"])
            #expect(header("x-gateway-destination-endpoint", of: found.request) == "192.168.1.3:8000")
            #expect(header(served, of: found.response) == "192.168.1.3:8000")
        }
    }

    @Test("Where the gateway does not tell, the response says so")
    func silent() async throws {
        try await withPicker((0..<3).map { Pod($0, 0, 0.1) }, scheduler: scheduler(configuration)) { picker in
            let found = try await round(picker)
            #expect(
                header(served, of: found.response) == "fail: missing destination endpoint served metadata"
            )
        }
    }

    @Test("Without the header that chooses nobody is eligible")
    func nobody() async throws {
        try await withPicker((0..<3).map { Pod($0, 0, 0.1) }, scheduler: scheduler(configuration)) { picker in
            let replies = try await picker.exchange(frames(), replies: 1)
            #expect(replies.first?.status == 503)
        }
    }
}
