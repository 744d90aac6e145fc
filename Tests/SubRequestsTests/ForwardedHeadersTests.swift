import Bytes
import SubRequests
import TestSupport
import Testing

private func bytes(_ text: String) -> [UInt8] { Array(text.utf8) }

@Suite("A client's header fields on their way to a model server", .timeLimit(.minutes(2)))
struct ForwardedHeadersTests {
    /// What a server sees of a request with these fields, beside what the client sends of its own.
    private func seen(_ forwarded: ForwardedHeaders, _ own: [HTTPField] = []) async throws -> [[UInt8]] {
        let lines = Lock<[[UInt8]]>([])
        let server = try FakeHTTPServer { request in
            lines.withLock { $0 = request.lines }
            return .text("ok")
        }
        var request = HTTPRequest(method: "POST", url: server.url(), headers: own, body: HTTPBody(bytes("{}")))
        request.forwarded = forwarded
        let client = HTTPClient()
        #expect(try await client.send(request).status == 200)
        client.shutdown()
        return lines.withLock { $0 }.filter { !$0.starts(with: bytes("Host:")) && $0 != bytes("Content-Length: 2") }
    }

    private func builder(_ fields: [(String, [UInt8])], ownNames: Set<String> = []) -> ForwardedHeaders {
        var builder = ForwardedHeaders.Builder(ownNames: ownNames)
        for (name, value) in fields { builder.append(name: bytes(name).span.bytes, value: value.span.bytes) }
        return builder.finish()
    }

    @Test("End-to-end fields arrive in their order, repeated ones and empty ones, too")
    func endToEnd() async throws {
        let fields = [
            HTTPField("Authorization", "Bearer sk-1"), HTTPField("accept", "*/*"), HTTPField("x-multi", "1"),
            HTTPField("cookie", "a=b"), HTTPField("x-multi", "2"), HTTPField("x-empty", ""), HTTPField("x-blank", "  "),
            HTTPField("content-type", "application/json"), HTTPField("user-agent", "test"),
        ]
        let expected = [
            "Authorization: Bearer sk-1", "accept: */*", "x-multi: 1", "cookie: a=b", "x-multi: 2", "x-empty:",
            "x-blank:", "content-type: application/json", "user-agent: test",
        ]
        #expect(try await seen(ForwardedHeaders(fields)) == expected.map(bytes))
    }

    @Test("What belongs to the connection, the body or the picker stays behind")
    func sifted() async throws {
        let names = [
            ":method", ":path", ":authority", "host", "content-length", "Accept-Encoding", "Expect", "Connection",
            "keep-alive", "proxy-connection", "TE", "trailer", "transfer-encoding", "upgrade", "proxy-authorization",
            "X-Request-ID", "x-processor-attempt", "x-apus-depth", "x-prefiller-host-port", "x-listed", "x-Also",
        ]
        let fields =
            names.map { HTTPField($0, "7") }
            + [HTTPField("connection", "close, X-Listed ,x-also,,"), HTTPField("accept", "a/b")]
        let forwarded = ForwardedHeaders(fields, ownNames: ["x-prefiller-host-port"])
        #expect(try await seen(forwarded) == [bytes("accept: a/b")])
        #expect(forwarded.droppedCount == 0)
    }

    @Test("A field of our own takes the place of the client's, whatever their case")
    func replaced() async throws {
        let forwarded = ForwardedHeaders([
            HTTPField("Content-Type", "text/plain"), HTTPField("x-a", "1"), HTTPField("X-A", "2"),
            HTTPField("accept", "c/d"),
        ])
        let own = [HTTPField("x-A", "own"), HTTPField("content-type", "application/json")]
        #expect(
            try await seen(forwarded, own) == ["x-A: own", "content-type: application/json", "accept: c/d"].map(bytes)
        )
    }

    @Test("Bytes outside ASCII arrive as they were; fields with control characters and bad names are left out")
    func anyBytes() async throws {
        let high = (0x80...0xFF).map { UInt8($0) }
        let forwarded = builder([
            ("accept", bytes("*/*")), ("x-high", high), ("x-utf8", bytes("häßlich 🌊")), ("x-tab", bytes("a\tb")),
            ("x-nul", [65, 0, 66]), ("x-line", bytes("a\r\nx-injected: 1")), ("x-del", [0x7F]), ("x bad", bytes("1")),
            ("", bytes("1")), ("x-ä", bytes("1")),
        ])
        #expect(
            try await seen(forwarded) == [
                bytes("accept: */*"), bytes("x-high: ") + high, bytes("x-utf8: häßlich 🌊"), bytes("x-tab: a\tb"),
            ]
        )
        #expect(forwarded.droppedCount == 6)
    }

    @Test("Two thousand fields of one name arrive")
    func many() async throws {
        let fields = [HTTPField("accept", "*/*")] + (0..<2000).map { HTTPField("x-many", "\($0)") }
        let lines = try await seen(ForwardedHeaders(fields))
        #expect(lines == fields.map { bytes("\($0.name): \($0.value)") })
    }

    @Test(
        "The depth is read strictly: what is no small number is as deep as can be",
        arguments: [
            ([], 0), (["0"], 0), (["1"], 1), ([" 2 "], 2), (["1", "3", "2"], 3), (["1000"], .max), ([""], .max),
            (["-1"], .max),
            (["1x"], .max), (["99999999999999999999"], .max), (["2, 1"], .max),
        ]
    )
    func depth(values: [String], expected: Int) {
        #expect(ForwardedHeaders(values.map { HTTPField("X-Apus-Depth", $0) }).depth == expected)
    }
}
