import CGRPC
import Glibc
import RPC

/// A server that answers the frames of `Frames` with constants: the price of the transport alone.
enum BareServerCommand {
    private static let help = """
        usage: apus-bench bare-server [--port 0] [--bind-address 127.0.0.1] [--io-threads 1] [--body-bytes 2048]
                                      [--destinations HOST:PORT,...]

        Prints `ext_proc listening on HOST:PORT` on standard output and serves until SIGTERM. With --destinations it names these
        in turn and answers with as many bytes of body as came, in as many pieces, as it must behind a real Envoy.

        """

    static func run(_ words: [String]) throws {
        var arguments = try Arguments(words, flags: ["help"])
        if arguments.flag("help") { return write(help, to: 1) }
        let port = try arguments.integer("port", default: 0, in: 0...65535)
        let address = arguments.string("bind-address") ?? "127.0.0.1"
        let pollers = try arguments.integer("io-threads", default: 1, in: 1...256)
        let bodyBytes = try arguments.integer("body-bytes", default: 2048, in: 1...3_000_000)
        let destinations = arguments.string("destinations")?.split(separator: ",").map { String($0) } ?? []
        try arguments.finish()

        // Before the first thread, so that every thread has them blocked and `sigwait` gets them.
        var signals = sigset_t()
        sigemptyset(&signals)
        sigaddset(&signals, SIGTERM)
        sigaddset(&signals, SIGINT)
        pthread_sigmask(SIG_BLOCK, &signals, nil)

        let handler: Handler
        if destinations.isEmpty {
            let replies = Replies(bodyBytes: bodyBytes)
            handler = { await answer($0, replies) }
        } else {
            let echo = ConstantEcho(destinations: destinations)
            handler = { await echo.answer($0) }
        }
        let server = try Server(
            configuration: ServerConfiguration(bindAddress: address, port: port, pollers: pollers),
            services: [Frames.method: handler]
        )
        write("ext_proc listening on \(address):\(server.port)\n", to: 1)
        var received: Int32 = 0
        sigwait(&signals, &received)
        Task.detached {
            await server.shutdown(grace: .seconds(1))
            exit(0)
        }
        while true { pause() }
    }

    /// Two replies when the request is complete, one to the response's headers, one to its body.
    @Sendable
    private static func answer(_ call: ServerCall, _ replies: Replies) async -> RPCStatus {
        do throws(RPCError) {
            while let message = try await call.receive() {
                let (field, isLast) = message.withUnsafeBytes { bytes in
                    let field = ProtobufPeek.firstField(below: 8, in: bytes) ?? 0
                    return (UInt8(field), ProtobufPeek.integer(at: [field, 2], in: bytes) == 1)
                }
                switch field {
                case Frames.RequestField.requestBody where isLast:
                    try await send(replies.requestHeaders, call)
                    try await send(replies.requestBody, call)
                case Frames.RequestField.responseHeaders:
                    try await send(replies.responseHeaders, call)
                case Frames.RequestField.responseBody where isLast:
                    try await send(replies.responseBody, call)
                default: break
                }
            }
            return .ok
        } catch {
            return error.status
        }
    }

    private static func send(_ bytes: [UInt8], _ call: ServerCall) async throws(RPCError) {
        try await call.send(byteCount: bytes.count) { $0.copyBytes(from: bytes) }
    }
}

/// Replies of the size that a picker's are: the destination in a header and in metadata, and the bodies as they came.
struct Replies: Sendable {
    let requestHeaders: [UInt8]
    let requestBody: [UInt8]
    let responseHeaders: [UInt8]
    let responseBody: [UInt8]

    init(bodyBytes: Int, destination: String = "127.0.0.1:8000") {
        requestHeaders = ProtobufWriter.message { reply in
            reply.message(Frames.ReplyField.requestHeaders) { headers in
                headers.message(1) { response in
                    response.message(2) { Self.setHeader("x-gateway-destination-endpoint", destination, &$0) }
                    response.integer(5, 1)
                }
            }
            reply.message(8) { metadata in
                metadata.message(1) { entry in
                    entry.string(1, "envoy.lb")
                    entry.message(2) { value in
                        value.message(5) { inner in
                            inner.message(1) { field in
                                field.string(1, "x-gateway-destination-endpoint")
                                field.message(2) { $0.string(3, destination) }
                            }
                        }
                    }
                }
            }
        }
        requestBody = Self.body(Frames.ReplyField.requestBody, bodyBytes)
        responseHeaders = ProtobufWriter.message { reply in
            reply.message(Frames.ReplyField.responseHeaders) { headers in
                headers.message(1) { response in
                    response.message(2) { Self.setHeader("x-went-into-resp-headers", "true", &$0) }
                }
            }
        }
        responseBody = Self.body(
            Frames.ReplyField.responseBody,
            Frames(family: 0, shape: LoadShape(bodyBytes: 1)).response[1].count
        )
    }

    private static func setHeader(_ name: String, _ value: String, _ mutation: inout ProtobufWriter) {
        mutation.message(1) { option in
            option.message(1) { header in
                header.string(1, name)
                header.string(3, value)
            }
            option.integer(3, 2)
        }
    }

    private static func body(_ field: UInt8, _ count: Int) -> [UInt8] {
        ProtobufWriter.message { reply in
            reply.message(field) { body in
                body.message(1) { response in
                    response.message(3) { mutation in
                        mutation.message(3) { streamed in
                            streamed.data(1, [UInt8](repeating: 0x20, count: count))
                            streamed.integer(2, 1)
                        }
                    }
                }
            }
        }
    }
}
