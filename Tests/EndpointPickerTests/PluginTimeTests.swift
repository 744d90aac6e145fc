import EndpointPicker
import Pool
import TestSupport
import Testing

@Suite struct PluginTimeTests {
    @Test("The plugins of the first decision are timed, and of every 64th after it, under their types and names")
    func sampled() async throws {
        let configuration = """
            plugins:
            - {name: mine, type: decode-filter}
            - {name: queue, type: queue-scorer}
            - type: random-picker
            """
        let frames: [EnvoyFrame] = [
            .requestHeaders([("x-request-id", "r")]), .requestBody(completion("hi", model: "m"), endOfStream: true),
        ]
        let plugins = [
            ("Filter", "decode-filter", "mine"), ("Scorer", "queue-scorer", "queue"),
            ("Picker", "random-picker", "random-picker"),
        ]
        try await withPicker([Pod(0, 0, 0).role("decode")], scheduler: scheduler(configuration)) { picker in
            func expectCount(_ count: Int) {
                for prefix in ["inference_extension", "llm_d_epp"] {
                    for (point, type, name) in plugins {
                        let series =
                            "\(prefix)_plugin_duration_seconds_count{extension_point=\"\(point)\","
                            + "plugin_name=\"\(name)\",plugin_type=\"\(type)\"} \(count)\n"
                        #expect(picker.metrics.contains(series), "\(series)")
                    }
                }
            }
            for _ in 0..<64 { _ = try await picker.exchange(frames, replies: 2) }
            expectCount(1)
            _ = try await picker.exchange(frames, replies: 2)
            expectCount(2)
        }
    }
}
