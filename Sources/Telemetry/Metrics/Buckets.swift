/// The bucket bounds of the reference's histograms, so that dashboards and recording rules keep working.
enum Buckets {
    /// Seconds of a whole request: 5 ms to 1 h.
    static let general: [Double] = [
        0.005, 0.025, 0.05, 0.1, 0.2, 0.4, 0.6, 0.8, 1, 1.25, 1.5, 2, 3, 4, 5, 6, 8, 10, 15, 20, 30, 45, 60, 120, 180,
        240, 300, 360, 480, 600, 900, 1200, 1800, 2700, 3600,
    ]
    /// Seconds per output token.
    static let timePerOutputToken: [Double] = [
        0.0005, 0.00205, 0.005, 0.01, 0.02, 0.04, 0.06, 0.08, 0.1, 0.125, 0.15, 0.2, 0.3, 0.4, 0.5, 0.6, 0.8, 1, 1.5, 2,
        3, 4.5, 6, 12, 18, 24, 30, 36, 48, 60, 90, 120, 180, 270, 360,
    ]
    /// Seconds of a request divided by its output tokens.
    static let normalizedTimePerOutputToken: [Double] = [
        0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1, 2, 5, 10,
    ]
    /// Bytes of a request: 64 B to 1 GiB, each bound twice the one before.
    static let requestSize: [Double] = (6...30).map { Double(1 << $0) }
    /// Bytes of a response. 32778 is the reference's figure.
    static let responseSize: [Double] = [
        1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192, 16384, 32778, 65536,
    ]
    static let inputTokens: [Double] = responseSize + [131072, 262144, 524288, 1_048_576]
    static let outputTokens: [Double] = [1, 8, 16, 32, 64, 128, 256, 512, 1024, 2048, 4096, 8192]
    /// Seconds of one scheduling decision.
    static let scheduler: [Double] = [0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1]
    /// Requests sent to one endpoint on one state of the pool.
    static let herdingPicks: [Double] = [1, 2, 3, 4, 6, 8, 12, 16, 24, 32, 48, 64, 128, 256]
    /// Seconds in the queue.
    static let queue: [Double] = [
        0.0001, 0.0005, 0.001, 0.005, 0.01, 0.025, 0.05, 0.1, 0.25, 0.5, 1, 2.5, 5, 10, 30, 60,
    ]
    static let hitRatio: [Double] = [0, 0.1, 0.2, 0.3, 0.4, 0.5, 0.6, 0.7, 0.8, 0.9, 1]
    static let hitBytes: [Double] = [0] + (4...16).map { Double(1 << $0) }
    /// Seconds of Apus' own work, which takes microseconds, and of waiting for a body's frames.
    static let fine: [Double] = [
        0.000_01, 0.000_02, 0.000_05, 0.0001, 0.0002, 0.0005, 0.001, 0.002, 0.005, 0.01, 0.02, 0.05, 0.1, 0.2, 0.5, 1,
        5, 30,
    ]
}
