import CGRPC

/// What one run of the load saw.
struct LoadResult {
    var requests = 0
    var seconds = 0.0
    /// From the start of a call to its status, sorted, in seconds.
    var latencies: [Double] = []
    /// From the start of a call to the last reply to the request's frames, sorted, in seconds.
    var pickLatencies: [Double] = []
    /// From a piece of a streamed response to the reply to it, sorted, in seconds.
    var chunkLatencies: [Double] = []
    /// Calls that ended otherwise than well, by what they said.
    var failures: [String: Int] = [:]
    /// CPU of the client's one thread, in nanoseconds.
    var cpuNanoseconds = 0
}

/// A closed loop of ext_proc streams: `concurrency` in flight, each replaced by the next when its status has come.
///
/// Everything happens on the thread that calls `run`, with one completion queue.
final class LoadClient {
    private let queue: OpaquePointer
    private let channels: [OpaquePointer]
    private let families: [FrameSlices]
    private var started = 0
    private var limit = 0
    private var result = LoadResult()

    /// Whether streams end with the reply to the request, as if no response ever came.
    let endsAfterPick: Bool

    convenience init(target: String, connections: Int, shape: LoadShape) {
        // Large bodies in fewer forms: the client has to keep them all.
        let families = max(4, min(64, 8_000_000 / shape.bodyBytes))
        self.init(
            target: target,
            connections: connections,
            families: (0..<families).map { Frames(family: $0, shape: shape) }
        )
    }

    /// The streams take turns with the `families`.
    init(target: String, connections: Int, families: [Frames], endsAfterPick: Bool = false) {
        grpc_init()
        queue = grpc_completion_queue_create_for_next(nil)
        channels = (0..<connections).map { _ in Self.connect(target) }
        self.families = families.map { FrameSlices($0) }
        self.endsAfterPick = endsAfterPick
    }

    deinit {
        for channel in channels { grpc_channel_destroy(channel) }
        for family in families { family.free() }
        grpc_completion_queue_shutdown(queue)
        while grpc_completion_queue_next(queue, gpr_inf_future(GPR_CLOCK_MONOTONIC), nil).type != GRPC_QUEUE_SHUTDOWN {}
        grpc_completion_queue_destroy(queue)
        grpc_shutdown_blocking()
    }

    private static func connect(_ target: String) -> OpaquePointer {
        "grpc.use_local_subchannel_pool".withCString { pool in
            "grpc.enable_http_proxy".withCString { proxy in
                var list = [apus_arg_integer(pool, 1), apus_arg_integer(proxy, 0)]
                return list.withUnsafeMutableBufferPointer { buffer in
                    var arguments = grpc_channel_args(num_args: buffer.count, args: buffer.baseAddress)
                    let credentials = grpc_insecure_credentials_create()
                    defer { grpc_channel_credentials_release(credentials) }
                    return grpc_channel_create(target, credentials, &arguments)
                }
            }
        }
    }

    // MARK: Running

    func run(requests: Int, concurrency: Int) -> LoadResult {
        started = 0
        limit = requests
        result = LoadResult()
        result.latencies.reserveCapacity(requests)
        result.pickLatencies.reserveCapacity(requests)
        let cpu = threadCPUNanoseconds()
        let start = monotonicSeconds()
        let streams = (0..<concurrency).map { _ in LoadStream(client: self) }
        for stream in streams { startNext(stream) }
        let forever = gpr_inf_future(GPR_CLOCK_MONOTONIC)
        while result.requests < requests {
            let event = grpc_completion_queue_next(queue, forever, nil)
            guard event.type == GRPC_OP_COMPLETE, let tag = event.tag else { continue }
            let low = Int(bitPattern: tag) & 0b111
            Unmanaged<LoadStream>.fromOpaque(tag - low)._withUnsafeGuaranteedRef {
                $0.complete(low, success: event.success != 0)
            }
        }
        result.seconds = monotonicSeconds() - start
        result.cpuNanoseconds = threadCPUNanoseconds() - cpu
        result.latencies.sort()
        result.pickLatencies.sort()
        result.chunkLatencies.sort()
        return withExtendedLifetime(streams) { result }
    }

    private func startNext(_ stream: LoadStream) {
        guard started < limit else { return }
        let call = apus_client_call_create(
            channels[started % channels.count],
            queue,
            Frames.method,
            // A server that forgets a reply is a failure, not a benchmark without end.
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(60, GPR_TIMESPAN))
        )
        let frames = families[started % families.count]
        started += 1
        stream.start(call, frames)
    }

    func finished(_ stream: LoadStream, latency: Double, pickLatency: Double?, failure: String?) {
        result.requests += 1
        result.latencies.append(latency)
        if let pickLatency { result.pickLatencies.append(pickLatency) }
        if let failure { result.failures[failure, default: 0] += 1 }
        startNext(stream)
    }

    func answered(chunkAfter seconds: Double) {
        result.chunkLatencies.append(seconds)
    }
}

/// `Frames` as slices that are sent again and again.
struct FrameSlices {
    let request: [grpc_slice]
    let response: [grpc_slice]
    let isBuffered: Bool

    init(_ frames: Frames) {
        isBuffered = frames.isBuffered
        func slice(_ bytes: [UInt8]) -> grpc_slice {
            bytes.withUnsafeBytes { grpc_slice_from_copied_buffer($0.baseAddress, $0.count) }
        }
        request = frames.request.map(slice)
        response = frames.response.map(slice)
    }

    func free() {
        for slice in request + response { grpc_slice_unref(slice) }
    }
}
