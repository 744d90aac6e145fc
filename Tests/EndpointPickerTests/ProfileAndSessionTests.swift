import Bytes
import Configuration
import EndpointPicker
import Scheduling
import TestSupport
import Testing

private func frames(_ body: String, _ headers: [(String, String)] = []) -> [EnvoyFrame] {
    [
        .requestHeaders([(":path", "/v1/completions"), ("x-request-id", "r")] + headers),
        .requestBody(body, endOfStream: true),
    ]
}

private let body = #"{"model":"m","prompt":"hi"}"#

private func header(_ name: String, of reply: EnvoyReply?) -> String? {
    reply?.set.first { $0.hasPrefix(name + ": ") }.map { String($0.dropFirst(name.count + 2)) }
}

private let destination = "x-gateway-destination-endpoint"

@Suite("Profiles that requests name, and sessions, through a real gRPC server")
struct ProfileAndSessionTests {
    private static let stages = """
        plugins:
        - {type: prefill-filter}
        - {type: decode-filter}
        - {type: prefix-cache-scorer}
        - {type: header-profile-handler}
        schedulingProfiles:
        - {name: prefill, plugins: [{pluginRef: prefill-filter}, {pluginRef: prefix-cache-scorer}]}
        - {name: decode, plugins: [{pluginRef: decode-filter}, {pluginRef: prefix-cache-scorer}]}
        """

    private let pods = [Pod(0, 0, 0.1).role("decode"), Pod(1, 0, 0.1).role("prefill")]

    @Test("EPP-Profile names the profile and reaches the server; an unknown one is 429")
    func profile() async throws {
        try await withPicker(pods, scheduler: scheduler(Self.stages)) { picker in
            let prefill = try await picker.exchange(frames(body, [("EPP-Profile", "prefill")]), replies: 2)
            #expect(header(destination, of: prefill.first) == "192.168.1.2:8000")
            #expect(prefill.first?.removed == [])
            let usual = try await picker.exchange(frames(body), replies: 2)
            #expect(header(destination, of: usual.first) == "192.168.1.1:8000")
            let unknown = try await picker.exchange(frames(body, [("epp-profile", "train")]), replies: 1)
            #expect(
                unknown == [
                    immediate(
                        429,
                        "inference error: ResourceExhausted - failed to find target endpoint: "
                            + #"no scheduling profile is named "train""#
                    )
                ]
            )
        }
    }

    @Test("if-available is 412 until the endpoint holds the prompt")
    func conditional() async throws {
        let long = #"{"model":"m","prompt":"\#(String(repeating: "word ", count: 200))"}"#
        try await withPicker(pods, scheduler: scheduler(Self.stages)) { picker in
            let prefer = [("Prefer", "if-available")]
            let cold = try await picker.exchange(frames(long, prefer), replies: 1)
            #expect(
                cold == [
                    immediate(412, "inference error: PreconditionFailed - no decode worker has the requested KV cache")
                ]
            )
            _ = try await picker.exchange(frames(long), replies: 2)
            let warm = try await picker.exchange(frames(long, prefer), replies: 2)
            #expect(header(destination, of: warm.first) == "192.168.1.1:8000")
        }
    }

    /// Sends a request and its response, and gives the replies to both headers.
    private func round(
        _ picker: TestPicker,
        _ headers: [(String, String)],
        metadata: [String]? = nil
    ) async throws -> (request: EnvoyReply?, response: EnvoyReply?) {
        var response = EnvoyFrame.responseHeaders([(":status", "200")])
        if let metadata {
            response = response.with(metadata: "envoy.lb", "x-gateway-destination-endpoint-served", metadata)
        }
        let replies = try await picker.exchange(
            frames(body, headers) + [response, .responseBody("{}", endOfStream: true)],
            replies: 4
        )
        return (replies.first, replies.count > 2 ? replies[2] : nil)
    }

    @Test("The response's session token brings the next request back to the same endpoint")
    func sessionToken() async throws {
        let configuration = """
            plugins:
            - type: session-affinity-scorer
            - type: queue-scorer
            schedulingProfiles:
            - name: default
              plugins: [{pluginRef: session-affinity-scorer, weight: 10}, {pluginRef: queue-scorer, weight: 1}]
            """
        let pods = (0..<4).map { Pod($0, $0 == 2 ? 0 : 5, 0.1) }
        try await withPicker(pods, scheduler: scheduler(configuration)) { picker in
            let first = try await round(picker, [])
            let token = try #require(header("x-session-token", of: first.response))
            #expect(Base64.decode(token).map { String(decoding: $0, as: UTF8.self) } == "default/pod-2-rank-0")
            // Now others would be better.
            picker.pool.set((0..<4).map { Pod($0, $0 == 2 ? 50 : 0, 0.9) })
            for _ in 0..<5 {
                let next = try await round(picker, [("X-Session-Token", token)])
                #expect(header(destination, of: next.request) == "192.168.1.3:8000")
                #expect(header("x-session-token", of: next.response) == token)
            }
            let other = try await round(picker, [])
            #expect(header(destination, of: other.request) != "192.168.1.3:8000")
        }
    }

    @Test("A session that the client names stays where it began")
    func sessionID() async throws {
        let configuration = """
            plugins:
            - type: queue-scorer
            - {type: session-affinity-filter, parameters: {strategy: session_id_header}}
            """
        try await withPicker((0..<4).map { Pod($0, 0, 0.1) }, scheduler: scheduler(configuration)) { picker in
            var homes: [String: String] = [:]
            for turn in 0..<12 {
                let id = "s\(turn % 4)"
                let found = try await round(picker, [("x-session-id", id)])
                let endpoint = try #require(header(destination, of: found.request))
                #expect(homes[id] == nil || homes[id] == endpoint)
                homes[id] = endpoint
                #expect(header("x-session-token", of: found.response) == nil)
            }
            #expect(Set(homes.values).count == 4)
        }
    }
}
