import Bytes
import TestSupport
import Testing

@testable import ExtProc

/// What a test needs of a frame, copied out of it.
struct Read: Equatable {
    var kind: Frame.Kind
    var endOfStream = false
    var body = ""
    var headers: [String] = []
}

func read(_ bytes: [UInt8]) throws(Frame.DecodingError) -> Read {
    let frame = try Frame(decoding: bytes.span.bytes)
    return Read(
        kind: frame.kind,
        endOfStream: frame.endOfStream,
        body: frame.withBody { String(repairing: $0) },
        headers: frame.headers().pairs.map { "\($0.name)=\($0.value)" }
    )
}

@Suite struct FrameTests {
    @Test("Headers are read in order, repeated names included")
    func headers() throws {
        let frame = EnvoyFrame.requestHeaders([(":path", "/v1/completions"), ("x-a", "1"), ("x-a", "2")])
        #expect(
            try read(frame.bytes)
                == Read(kind: .requestHeaders, headers: [":path=/v1/completions", "x-a=1", "x-a=2"])
        )
    }

    @Test("A header's raw value wins over its text value, and the text value counts when there is no other")
    func rawValue() throws {
        let frame = EnvoyFrame(bytes: []).appending { writer in
            writer.message(2) { message in
                message.message(1) { map in
                    map.message(1) {
                        $0.text(1, "a")
                        $0.text(2, "text")
                        $0.text(3, "raw")
                    }
                    map.message(1) {
                        $0.text(1, "b")
                        $0.text(2, "text")
                    }
                }
            }
        }
        #expect(try read(frame.bytes).headers == ["a=raw", "b=text"])
    }

    @Test(
        "Each kind of frame is told from the others",
        arguments: [
            (EnvoyFrame.requestHeaders([], endOfStream: true), Read(kind: .requestHeaders, endOfStream: true)),
            (EnvoyFrame.responseHeaders([]), Read(kind: .responseHeaders)),
            (EnvoyFrame.requestBody("abc"), Read(kind: .requestBody, body: "abc")),
            (
                EnvoyFrame.responseBody("abc", endOfStream: true),
                Read(kind: .responseBody, endOfStream: true, body: "abc")
            ),
            (EnvoyFrame.requestTrailers([("t", "1")]), Read(kind: .requestTrailers, headers: ["t=1"])),
            (EnvoyFrame.responseTrailers([("t", "1")]), Read(kind: .responseTrailers, headers: ["t=1"])),
        ] as [(EnvoyFrame, Read)]
    )
    func kinds(frame: EnvoyFrame, expected: Read) throws {
        #expect(try read(frame.bytes) == expected)
    }

    @Test("The first frame tells how bodies are sent")
    func modes() throws {
        let frame = try decode(EnvoyFrame.requestHeaders([]).with(request: .buffered, response: .streamed).bytes)
        let modes = frame.bodyModes
        #expect(modes == BodyModes(request: .buffered, response: .streamed))
        let plain = try decode(EnvoyFrame.requestHeaders([]).bytes)
        let none = plain.bodyModes
        #expect(none == nil)
    }

    @Test("A frame cut off anywhere is either refused or read as far as protobuf allows, never a crash")
    func truncation() {
        let whole = EnvoyFrame.requestHeaders([(":path", "/"), ("x", "y")])
            .with(request: .fullDuplexStreamed)
            .with(subset: ["10.0.0.1:8000"])
            .bytes
        for length in 0..<whole.count {
            _ = try? read(Array(whole[..<length]))
        }
        #expect(throws: Frame.DecodingError.malformed) { try read(Array(whole[..<5])) }
    }

    @Test("Bytes that are no protobuf are refused")
    func garbage() {
        #expect(throws: Frame.DecodingError.malformed) { try read([0xFF, 0xFF, 0xFF, 0xFF]) }
    }

    @Test("A message without a request that this version knows is refused")
    func unknownRequest() {
        #expect(throws: Frame.DecodingError.unknownRequest) { try read([]) }
        let future = EnvoyFrame(bytes: []).appending { $0.message(99) { $0.text(1, "?") } }
        #expect(throws: Frame.DecodingError.unknownRequest) { try read(future.bytes) }
    }

    @Test("Flow-control messages are no requests and ask for nothing")
    func flowControl() throws {
        let frame = EnvoyFrame(bytes: []).appending { $0.message(13) { $0.varint(1, 65536) } }
        #expect(try read(frame.bytes) == Read(kind: .none))
    }

    @Test("A message that would unfold to far more memory than it has bytes is refused")
    func amplification() {
        // Two bytes on the wire, a structure of a hundred in memory.
        let empty = [UInt8](repeating: 0, count: 2_000_000).indices.map { $0.isMultiple(of: 2) ? UInt8(0x0A) : 0 }
        let frame = EnvoyFrame(bytes: []).appending { writer in
            writer.message(2) { $0.bytes(1, empty) }
        }
        #expect(throws: Frame.DecodingError.malformed) { try read(frame.bytes) }
    }

    @Test("The subset is read from its namespace, as a list or as one string")
    func subset() throws {
        let frame = try decode(EnvoyFrame.requestHeaders([]).with(subset: ["10.0.0.1:8000", "10.0.0.2:8000"]).bytes)
        let hint = frame.metadataStrings(
            namespace: "envoy.lb.subset_hint",
            key: "x-gateway-destination-endpoint-subset"
        )
        #expect(hint == ["10.0.0.1:8000", "10.0.0.2:8000"])
        let other = frame.metadataStrings(namespace: "envoy.lb", key: "x-gateway-destination-endpoint-subset")
        #expect(other == nil)
        let empty = try decode(EnvoyFrame.requestHeaders([]).with(subset: []).bytes)
        let none = empty.metadataStrings(
            namespace: "envoy.lb.subset_hint",
            key: "x-gateway-destination-endpoint-subset"
        )
        #expect(none == [])
    }

    @Test("A long subset is read whole")
    func longSubset() throws {
        let entries = (0..<20_000).map { "192.168.\($0 / 250).\($0 % 250):8000" }
        let frame = try decode(EnvoyFrame.requestHeaders([]).with(subset: entries).bytes)
        let hint = frame.metadataStrings(
            namespace: "envoy.lb.subset_hint",
            key: "x-gateway-destination-endpoint-subset"
        )
        #expect(hint == entries)
    }

    @Test("A subset that is there and cannot be read is empty, not absent")
    func unreadableSubset() throws {
        let frame = try decode(
            EnvoyFrame.requestHeaders([]).appending { writer in
                writer.message(8) { metadata in
                    metadata.message(1) { entry in
                        entry.text(1, "envoy.lb.subset_hint")
                        entry.bytes(2, [0xFF, 0xFF, 0xFF])
                    }
                }
            }.bytes
        )
        let hint = frame.metadataStrings(
            namespace: "envoy.lb.subset_hint",
            key: "x-gateway-destination-endpoint-subset"
        )
        #expect(hint == [])
    }

    @Test("Many small headers are honest")
    func manyHeaders() throws {
        let headers = (0..<1000).map { ("a", "\($0)") }
        #expect(try read(EnvoyFrame.requestHeaders(headers).bytes).headers.count == 1000)
    }

    @Test("Metadata nested a hundred thousand levels deep is carried and not walked")
    func deepMetadata() throws {
        var value: [UInt8] = []
        for _ in 0..<200 {
            value = ProtobufWriter.nested(5, ProtobufWriter.nested(1, ProtobufWriter.nested(2, value)))
        }
        // Longer chains are made by repeating tags with wrong lengths; a decoder that followed them would run out of stack.
        let deep = EnvoyFrame.requestHeaders([]).appending { writer in
            writer.message(8) { metadata in
                metadata.message(1) { entry in
                    entry.text(1, "deep")
                    entry.bytes(2, value + [UInt8](repeating: 0x0A, count: 100_000))
                }
            }
        }
        let frame = try decode(deep.bytes)
        let strings = frame.metadataStrings(namespace: "deep", key: "anything")
        #expect(strings == [])
    }

    private func decode(_ bytes: [UInt8]) throws(Frame.DecodingError) -> Frame {
        try Frame(decoding: bytes.span.bytes)
    }
}

extension ProtobufWriter {
    static func nested(_ field: Int, _ content: [UInt8]) -> [UInt8] {
        var writer = ProtobufWriter()
        writer.bytes(field, content)
        return writer.bytes
    }
}
