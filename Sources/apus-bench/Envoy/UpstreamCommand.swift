import CEpoll
import Glibc

/// Model servers that think nothing: constant answers, sent as fast as they were asked for, from one thread.
enum UpstreamCommand {
    private static let help = """
        usage: apus-bench upstream [--count 4] [--chunks 100] [--chunk-interval-us 1000] [--metrics-file FILE]

        Prints `listening on 127.0.0.1:PORT` for each of its servers and serves until SIGTERM. POST to completions is
        answered with the same JSON body as in `floor`, or, after GET /bench/stream and until GET /bench/json, with an event
        stream; GET /metrics with the file, or a short page in vLLM's words; everything else with a list of one model.

        """

    static func run(_ words: [String]) throws {
        var arguments = try Arguments(words, flags: ["help"])
        if arguments.flag("help") { return write(help, to: 1) }
        let count = try arguments.integer("count", default: 4, in: 1...1000)
        let chunks = try arguments.integer("chunks", default: 100, in: 1...100_000)
        let interval = try arguments.integer("chunk-interval-us", default: 1000, in: 10...10_000_000)
        let metricsFile = arguments.string("metrics-file")
        try arguments.finish()
        let metrics = try metricsFile.map { path in
            guard let text = readFile(path) else { throw BenchError("cannot read \(path)") }
            return text
        }

        let answers = UpstreamAnswers(chunks: chunks, metrics: metrics)
        let upstream = try Upstream(count: count, answers: answers, interval: interval)
        write(upstream.ports.map { "listening on 127.0.0.1:\($0)\n" }.joined(), to: 1)
        // SIGTERM's default action is what it should be.
        while true { try upstream.step() }
    }
}

/// Everything that an `Upstream` says, ready to be sent.
struct UpstreamAnswers {
    let json: [UInt8]
    /// The head and the first chunk of a stream, and then one chunk each.
    let stream: [[UInt8]]
    /// What the clients of a stream and of the JSON answer count.
    let jsonBodyBytes: Int
    let streamBodyBytes: Int
    let metrics: [UInt8]
    let models: [UInt8]

    /// A short page of metrics where none is given.
    init(chunks: Int, metrics page: String? = nil) {
        jsonBodyBytes = Frames.responseText.utf8.count
        json = Self.reply("application/json", Frames.responseText)
        var events = (0..<chunks).map { number in
            #"data: {"id":"cmpl-4f2c","object":"text_completion","created":1795176000,"model":"food-review","choices":"#
                + #"[{"index":0,"text":" word","logprobs":null,"finish_reason":\#(number == chunks - 1 ? #""length""# : "null"),"#
                + #""stop_reason":null}],"usage":null}"# + "\n\n"
        }
        events[chunks - 1] +=
            #"data: {"id":"cmpl-4f2c","object":"text_completion","created":1795176000,"model":"food-review","choices":[],"#
            + #""usage":{"prompt_tokens":512,"total_tokens":\#(512 + chunks),"completion_tokens":\#(chunks)}}"#
            + "\n\ndata: [DONE]\n\n"
        streamBodyBytes = events.reduce(0) { $0 + $1.utf8.count }
        var pieces = events.map { Array("\(String($0.utf8.count, radix: 16))\r\n\($0)\r\n".utf8) }
        pieces[0] =
            Array(
                ("HTTP/1.1 200 OK\r\nserver: uvicorn\r\ncontent-type: text/event-stream; charset=utf-8\r\n"
                    + "transfer-encoding: chunked\r\n\r\n").utf8
            ) + pieces[0]
        pieces[chunks - 1] += Array("0\r\n\r\n".utf8)
        stream = pieces
        metrics = Self.reply(
            "text/plain; version=0.0.4; charset=utf-8",
            page ?? """
                # TYPE vllm:num_requests_running gauge
                vllm:num_requests_running{engine="0",model_name="food-review"} 0.0
                # TYPE vllm:num_requests_waiting gauge
                vllm:num_requests_waiting{engine="0",model_name="food-review"} 0.0
                # TYPE vllm:kv_cache_usage_perc gauge
                vllm:kv_cache_usage_perc{engine="0",model_name="food-review"} 0.1
                # TYPE vllm:cache_config_info gauge
                vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="31250"} 1.0

                """
        )
        models = Self.reply(
            "application/json",
            #"{"object":"list","data":[{"id":"food-review","object":"model","owned_by":"vllm","root":"food-review","#
                + #""max_model_len":1000000}],"model_path":"food-review","served_model_name":"food-review"}"#
        )
    }

    private static func reply(_ type: String, _ body: String) -> [UInt8] {
        Array(
            ("HTTP/1.1 200 OK\r\ndate: Fri, 20 Nov 2026 12:00:00 GMT\r\nserver: uvicorn\r\n"
                + "content-length: \(body.utf8.count)\r\ncontent-type: \(type)\r\n\r\n\(body)").utf8
        )
    }
}

/// Many listeners and their connections, on the thread that calls `step`.
private final class Upstream {
    let ports: [Int]
    private let listeners: [Int32]
    private let answers: UpstreamAnswers
    /// Between a stream's chunks, in seconds.
    private let interval: Double
    private let queue: EventQueue
    /// Keys from `listeners.count` on; nil where a connection has ended.
    private var connections: [UpstreamConnection?] = []
    private var places: [Int] = []
    /// Connections with a stream under way.
    private var streaming: [Int] = []
    private var nextTick: Double?
    private var isStreaming = false
    private var buffer = [UInt8](repeating: 0, count: 262_144)

    init(count: Int, answers: UpstreamAnswers, interval: Int) throws {
        let all = try (0..<count).map { _ in try Loopback.listen() }
        ports = all.map(\.port)
        listeners = all.map(\.socket)
        self.answers = answers
        self.interval = Double(interval) / 1e6
        queue = try EventQueue()
        for (key, listener) in listeners.enumerated() { try queue.watch(listener, key: key) }
    }

    func step() throws {
        try queue.wait(milliseconds: -1) { event in
            if event.key < listeners.count { return try accept(listeners[event.key]) }
            let index = event.key - listeners.count
            if event.isWritable { try push(index) }
            if event.isReadable { try pull(index) }
        }
        try tick()
    }

    private func accept(_ listener: Int32) throws {
        while case let socket = apus_accept(listener), socket >= 0 {
            Loopback.sendAtOnce(socket)
            let index = places.popLast() ?? connections.count
            if index == connections.count { connections.append(nil) }
            connections[index] = UpstreamConnection(socket: socket)
            try queue.watch(socket, key: listeners.count + index)
        }
    }

    private func end(_ index: Int) {
        guard let connection = connections[index] else { return }
        close(connection.socket)
        connections[index] = nil
        streaming.removeAll { $0 == index }
        places.append(index)
    }

    private func pull(_ index: Int) throws {
        guard let connection = connections[index] else { return }
        let count = recv(connection.socket, &buffer, buffer.count, 0)
        if count < 0 && (errno == EAGAIN || errno == EINTR) { return }
        guard count > 0 else { return end(index) }
        do {
            var taken = 0
            while taken < count {
                taken += try buffer.withUnsafeBytes {
                    try connection.reader.read(UnsafeRawBufferPointer(rebasing: $0[taken..<count]))
                }
                if connection.reader.isDone {
                    try answer(index, connection)
                    connection.reader.reset()
                }
            }
        } catch is HTTPMessageReader.Malformed {
            end(index)
        }
    }

    private func answer(_ index: Int, _ connection: UpstreamConnection) throws {
        switch connection.reader.path {
        case "/metrics": connection.unsent += answers.metrics
        case "/bench/stream", "/bench/json":
            isStreaming = connection.reader.path == "/bench/stream"
            connection.unsent += answers.models
        // Also what routers ask on their own account, such as how a prompt is tokenized.
        case let path where connection.reader.bodyBytes == 0 || !path.hasSuffix("/completions"):
            connection.unsent += answers.models
        case _ where isStreaming:
            connection.unsent += answers.stream[0]
            if answers.stream.count > 1 {
                connection.chunk = 1
                streaming.append(index)
                if nextTick == nil { setTick(monotonicSeconds() + interval) }
            }
        default: connection.unsent += answers.json
        }
        try push(index)
    }

    private func setTick(_ time: Double?) {
        nextTick = time
        queue.setTimer(at: time)
    }

    /// Sends the next chunk of every stream, as an engine's step would.
    private func tick() throws {
        guard let due = nextTick else { return }
        let now = monotonicSeconds()
        guard now >= due else { return }
        for index in streaming {
            guard let connection = connections[index] else { continue }
            connection.unsent += answers.stream[connection.chunk]
            connection.chunk += 1
            try push(index)
        }
        streaming.removeAll { index in
            connections[index].map { $0.chunk == answers.stream.count } ?? true
        }
        // A step that came late does not make the next ones come sooner.
        setTick(streaming.isEmpty ? nil : max(due + interval, now))
    }

    private func push(_ index: Int) throws {
        guard let connection = connections[index], !connection.unsent.isEmpty else { return }
        let count = connection.unsent.withUnsafeBytes {
            send(connection.socket, $0.baseAddress, $0.count, Int32(MSG_NOSIGNAL))
        }
        if count < 0 && errno != EAGAIN && errno != EINTR { return end(index) }
        if count == connection.unsent.count {
            connection.unsent.removeAll(keepingCapacity: true)
        } else if count > 0 {
            connection.unsent.removeFirst(count)
        }
        let needsRoom = !connection.unsent.isEmpty
        if needsRoom != connection.awaitsRoom {
            connection.awaitsRoom = needsRoom
            try queue.change(connection.socket, key: listeners.count + index, writable: needsRoom)
        }
    }
}

private final class UpstreamConnection {
    let socket: Int32
    var reader = HTTPMessageReader(.request)
    var unsent: [UInt8] = []
    var awaitsRoom = false
    /// The next chunk of the stream under way.
    var chunk = 0

    init(socket: Int32) {
        self.socket = socket
    }
}
