import Testing

@testable import EndpointPicker

@Suite("Fields of a relayed response")
struct ResponseFieldsTests {
    private func names(_ fields: [(name: String, value: String)]) -> [String] {
        ResponseFields.forwarded(fields).map(\.name)
    }

    @Test("What belongs to the server's connection stays there, and so does what it names")
    func hopByHop() {
        let fields = [
            (name: "Content-Type", value: "text/plain"), ("Connection", "keep-alive, X-Hop"), ("x-hop", "1"),
            ("Transfer-Encoding", "chunked"), ("content-length", "3"), ("X-Inference-Pod", "p"),
        ]
        #expect(names(fields) == ["content-type", "x-inference-pod"])
    }

    @Test("What is no field is left out, and the rest goes on")
    func malformed() {
        let fields = [
            (name: "", value: ": status: 500"), (":status", "200"), ("bad name", "1"), ("x-ctl", "a\u{1}b"),
            ("x-line", "a\r\nb"), ("x-tab", "a\tb"), ("x-good", "é"),
        ]
        #expect(names(fields) == ["x-tab", "x-good"])
    }

    @Test("Repeated fields become one, which is the same; of cookies, which cannot, the last counts")
    func repeated() {
        let fields = [
            (name: "X-Multi", value: "a"), ("Set-Cookie", "a=1"), ("x-multi", "b"), ("set-cookie", "b=2"),
            ("X-MULTI", "c"),
        ]
        let forwarded = ResponseFields.forwarded(fields)
        #expect(forwarded.map(\.name) == ["x-multi", "set-cookie"])
        #expect(forwarded.map(\.value) == ["a, b, c", "b=2"])
    }
}
