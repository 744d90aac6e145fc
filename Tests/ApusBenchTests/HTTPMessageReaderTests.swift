import Testing

@testable import apus_bench

/// Reads `text` in two pieces, of which the first ends at `split`.
private func read(_ text: String, _ kind: HTTPMessageReader.Kind = .reply, split: Int) throws -> HTTPMessageReader {
    var reader = HTTPMessageReader(kind)
    let bytes = Array(text.utf8)
    for piece in [bytes[..<split], bytes[split...]] {
        let taken = try piece.withUnsafeBytes { bytes throws(HTTPMessageReader.Malformed) in try reader.read(bytes) }
        #expect(taken == piece.count)
    }
    return reader
}

@Suite("Reading HTTP messages")
struct HTTPMessageReaderTests {
    @Test(
        "A body is counted without its frames, wherever the pieces end",
        arguments: [
            ("HTTP/1.1 200 OK\r\ncontent-length: 5\r\n\r\nhello", 5),
            ("HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n", 0),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n5\r\nhello\r\nA;x=1\r\n0123456789\r\n0\r\n\r\n", 15),
            ("HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\n.\r\n0\r\nx-trailer: 1\r\n\r\n", 1),
            ("HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\ncontent-length: 2\r\n\r\nok", 2),
        ]
    )
    func countsBodies(text: String, count: Int) throws {
        for split in 0...text.utf8.count {
            let reader = try read(text, split: split)
            #expect(reader.isDone)
            #expect(reader.status == 200)
            #expect(reader.bodyBytes == count)
        }
    }

    @Test("A message ends where it ends, and the next may follow")
    func endsInTime() throws {
        var reader = HTTPMessageReader(.request)
        let first = "POST /v1/completions HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc"
        let bytes = Array((first + "GET /metrics HTTP/1.1\r\nhost: a\r\n\r\n").utf8)
        let taken = try bytes.withUnsafeBytes { bytes throws(HTTPMessageReader.Malformed) in try reader.read(bytes) }
        #expect(taken == first.utf8.count)
        #expect(reader.isDone)
        #expect(reader.path == "/v1/completions")
        reader.reset()
        #expect(reader.isUntouched)
        _ = try bytes[taken...].withUnsafeBytes { bytes throws(HTTPMessageReader.Malformed) in try reader.read(bytes) }
        #expect(reader.isDone)
        #expect(reader.path == "/metrics")
        #expect(reader.bodyBytes == 0)
    }

    @Test("Nothing is done before the last byte")
    func waitsForTheEnd() throws {
        let text = "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"
        for count in 0..<text.utf8.count {
            #expect(try !read(String(decoding: text.utf8.prefix(count), as: UTF8.self), split: 0).isDone)
        }
    }

    @Test("A peer that means to close says so")
    func readsClose() throws {
        let text = "HTTP/1.1 503 Service Unavailable\r\nConnection: close\r\ncontent-length: 0\r\n\r\n"
        let reader = try read(text, split: 9)
        #expect(reader.isLast)
        #expect(reader.status == 503)
    }

    @Test(
        "What is no message, or has no end of its own, is refused",
        arguments: [
            "SSH-2.0-OpenSSH\r\n\r\n",
            "HTTP/1.1 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\n\r\n",
            "HTTP/1.1 200 OK\r\ncontent-length: -1\r\n\r\n",
            "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nxyz\r\n",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\n1\r\nabc",
            "HTTP/1.1 200 OK\r\ntransfer-encoding: chunked\r\n\r\nfffffffffffffffff\r\n",
        ]
    )
    func refuses(text: String) {
        #expect(throws: HTTPMessageReader.Malformed.self) { try read(text, split: 0) }
    }

    @Test("A head without an end is not kept for ever")
    func boundsHeads() {
        let text = "HTTP/1.1 200 OK\r\n" + String(repeating: "a: b\r\n", count: 20_000)
        #expect(throws: HTTPMessageReader.Malformed.self) { try read(text, split: 0) }
    }

    @Test("The answers of the constant model servers are whole messages of the sizes that they say")
    func readsUpstreamAnswers() throws {
        let answers = UpstreamAnswers(chunks: 3)
        #expect(answers.stream.count == 3)
        for (bytes, count) in [
            (answers.json, answers.jsonBodyBytes), (Array(answers.stream.joined()), answers.streamBodyBytes),
        ] {
            let reader = try read(String(decoding: bytes, as: UTF8.self), split: 0)
            #expect(reader.isDone)
            #expect(reader.bodyBytes == count)
        }
    }
}
