import Testing

@testable import apus_bench

@Suite("The frames of the gRPC load") struct LoadTests {
    /// The content of a body frame, and whether it is the last.
    private func body(_ frame: [UInt8], _ field: UInt8) -> (bytes: Int, isLast: Bool) {
        frame.withUnsafeBytes { bytes in
            (
                ProtobufPeek.length(at: [UInt64(field), 1], in: bytes),
                ProtobufPeek.integer(at: [UInt64(field), 2], in: bytes) == 1
            )
        }
    }

    @Test("A request's body comes in pieces of 64 KiB and an empty last frame", arguments: [500, 65_536, 220_000])
    func requestBodies(_ count: Int) {
        let frames = Frames(family: 1, shape: LoadShape(bodyBytes: count)).request.dropFirst()
        let bodies = frames.map { body($0, Frames.RequestField.requestBody) }
        #expect(bodies.reduce(0) { $0 + $1.bytes } == count)
        #expect(bodies.allSatisfy { $0.bytes <= 65_536 })
        #expect(bodies.dropLast().allSatisfy { !$0.isLast && $0.bytes > 0 })
        #expect(bodies.last?.isLast == true && bodies.last?.bytes == 0)
    }

    @Test("A buffered body is one frame, and the last")
    func bufferedBody() {
        let frames = Frames(family: 1, shape: LoadShape(bodyBytes: 220_000, isBuffered: true)).request
        #expect(frames.count == 2)
        let only = body(frames[1], Frames.RequestField.requestBody)
        #expect(only.bytes == 220_000 && only.isLast)
    }

    @Test("A streamed response is as many frames as events, only the last of which ends it")
    func events() {
        let frames = Frames(family: 1, shape: LoadShape(response: .events(100))).response.dropFirst()
        #expect(frames.count == 100)
        let ends = frames.map { body($0, Frames.RequestField.responseBody).isLast }
        #expect(ends.filter { $0 }.count == 1 && ends.last == true)
        #expect(Frames(family: 1, shape: LoadShape(response: .unseen)).response.count == 1)
    }

    @Test("Large bodies are kept in few forms")
    func families() {
        #expect(Frames.families(LoadShape(bodyBytes: 500), atMost: 8).count == 8)
        #expect(Frames.families(LoadShape(bodyBytes: 4_000_000)).count == 4)
    }

    @Test("A metric is summed over the samples whose labels match, and over no other metric's")
    func metrics() {
        let page = """
            # TYPE apus_scrape_total counter
            apus_scrape_total{outcome="ok"} 40
            apus_scrape_total{outcome="error"} 2
            apus_scrape_total_created 5
            apus_streams_active 7

            """
        #expect(PlainGet.sum(of: "apus_scrape_total", in: page) == 42)
        #expect(PlainGet.sum(of: "apus_scrape_total", label: #"outcome="ok""#, in: page) == 40)
        #expect(PlainGet.sum(of: "apus_streams_active", in: page) == 7)
        #expect(PlainGet.sum(of: "absent", in: page) == 0)
    }
}
