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

    /// Whether streams stay open after the reply to the first piece of their response.
    let holdsResponses: Bool
    /// How long a stream may take, in seconds.
    private let patience: Int
    /// Whether streams that end are followed by others.
    private var isClosedLoop = true
    /// Whether streams end with the reply to the request, as if no response ever came.
    let endsAfterPick: Bool

    convenience init(target: String, connections: Int, shape: LoadShape) {
        self.init(target: target, connections: connections, families: Frames.families(shape))
    }

    /// The streams take turns with the `families`.
    init(
        target: String,
        connections: Int,
        families: [Frames],
        endsAfterPick: Bool = false,
        holdsResponses: Bool = false,
        patience: Int = 60
    ) {
        grpc_init()
        queue = grpc_completion_queue_create_for_next(nil)
        channels = (0..<connections).map { _ in Self.connect(target) }
        self.families = families.map { FrameSlices($0) }
        self.endsAfterPick = endsAfterPick
        self.holdsResponses = holdsResponses
        self.patience = patience
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
        while result.requests < requests { step(until: gpr_inf_future(GPR_CLOCK_MONOTONIC)) }
        result.seconds = monotonicSeconds() - start
        result.cpuNanoseconds = threadCPUNanoseconds() - cpu
        result.latencies.sort()
        result.pickLatencies.sort()
        result.chunkLatencies.sort()
        return withExtendedLifetime(streams) { result }
    }

    /// Waits for one event.
    private func step(until deadline: gpr_timespec) {
        let event = grpc_completion_queue_next(queue, deadline, nil)
        guard event.type == GRPC_OP_COMPLETE, let tag = event.tag else { return }
        let low = Int(bitPattern: tag) & 0b111
        Unmanaged<LoadStream>.fromOpaque(tag - low)._withUnsafeGuaranteedRef {
            $0.complete(low, success: event.success != 0)
        }
    }

    private func startNext(_ stream: LoadStream) {
        guard isClosedLoop, started < limit else { return }
        let call = apus_client_call_create(
            channels[started % channels.count],
            queue,
            Frames.method,
            // A server that forgets a reply is a failure, not a benchmark without end.
            gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), gpr_time_from_seconds(Int64(patience), GPR_TIMESPAN))
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

    // MARK: Holding

    /// Starts so many streams at once, none of which is followed by another. `pump` keeps them going.
    func hold(_ count: Int) -> [LoadStream] {
        (started, limit, isClosedLoop) = (0, count, true)
        result = LoadResult()
        let streams = (0..<count).map { _ in LoadStream(client: self) }
        for stream in streams { startNext(stream) }
        isClosedLoop = false
        return streams
    }

    /// Sends and receives for some time.
    func pump(seconds: Double) {
        let end = monotonicSeconds() + seconds
        while monotonicSeconds() < end {
            let pause = gpr_time_from_millis(20, GPR_TIMESPAN)
            step(until: gpr_time_add(gpr_now(GPR_CLOCK_MONOTONIC), pause))
        }
    }

    /// Hangs up on all of `streams` and waits for their ends. What ended before, and how, is told.
    func hangUp(_ streams: [LoadStream]) -> [String: Int] {
        let failures = result.failures
        for stream in streams { stream.cancel() }
        let deadline = monotonicSeconds() + 30
        while result.requests < limit, monotonicSeconds() < deadline { pump(seconds: 0.02) }
        return failures
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
    let isPaced: Bool

    init(_ frames: Frames) {
        isBuffered = frames.isBuffered
        isPaced = frames.isPaced
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
