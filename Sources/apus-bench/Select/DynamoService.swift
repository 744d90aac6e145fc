import Glibc

/// Dynamo's selection service, which answers over HTTP which worker a prompt should go to.
struct DynamoService {
    static let title = "Dynamo 1.6.1 select_service"

    let process: ChildProcess
    private let port: Int

    /// Its venv.
    static let venv = "dynamo"

    /// Starts it, and makes it know so many workers. Must be called on the main thread.
    init(_ peer: Peers.Peer, workers: Int) throws {
        port = try Loopback.freePort()
        process = try ChildProcess(
            "/usr/bin/env",
            [
                // It learns what workers hold from what it has reserved, as Apus does, since there are no engines to tell.
                "DYN_ROUTER_USE_KV_EVENTS=false", "DYN_LOG=error", peer.python, "-m", "dynamo.select_service",
                "--port", "\(port)", "--threads", "2",
            ]
        )
        try Loopback.awaitOK(port: port, "/workers")
        for number in 1...workers {
            let worker = """
                {"worker_id":\(number),"model_name":"\(Frames.model)","endpoint":"http://127.0.0.1:\(20_000 + number)",\
                "block_size":\(SelectPrompts.blockTokens),"data_parallel_start_rank":0,"data_parallel_size":1,\
                "max_num_batched_tokens":8192,"total_kv_blocks":31250}
                """
            let reply = try Loopback.exchange(port: port, "POST", "/workers", body: worker)
            guard 200..<300 ~= reply.status else { throw BenchError("\(Self.title) refuses a worker: \(reply.body)") }
        }
    }

    /// Lets it choose and remember a worker for every prompt; it forgets them after two minutes.
    func learn(_ selections: [String]) throws {
        for body in selections {
            let reply = try Loopback.exchange(port: port, "POST", "/select_and_reserve", body: body)
            guard reply.status == 200 else { throw BenchError("\(Self.title) refuses a prompt: \(reply.body)") }
        }
    }

    /// A load of `POST /select`: the choice alone, without a reservation.
    func load(_ selections: [String]) throws -> HTTPLoad {
        try HTTPLoad(
            port: port,
            requests: selections.map { body in
                Array(
                    ("POST /select HTTP/1.1\r\nhost: 127.0.0.1:\(port)\r\ncontent-type: application/json\r\n"
                        + "content-length: \(body.utf8.count)\r\n\r\n\(body)").utf8
                )
            }
        )
    }
}
