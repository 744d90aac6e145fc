import TestSupport
import Testing

@testable import RPC

@Suite("Start and shutdown")
struct ShutdownTests {
    @Test("A port in use is an error that names address and port")
    func usedPort() async throws {
        try await withServer(["/test/Echo": echoHandler]) { server in
            let error = #expect(throws: RPCError.self) {
                try Server(
                    configuration: ServerConfiguration(bindAddress: "127.0.0.1", port: server.port),
                    services: [:]
                )
            }
            #expect(error?.message.contains("127.0.0.1:\(server.port)") == true)
            // The first is not disturbed.
            await withGRPCClient(port: server.port) { client in
                #expect(await client.unary("/test/Echo", [1]).reply == [1])
            }
        }
    }

    @Test("An address that cannot be bound is an error that names it", arguments: ["203.0.113.7", "nonsense", ""])
    func badAddress(address: String) {
        let error = #expect(throws: RPCError.self) {
            try Server(configuration: ServerConfiguration(bindAddress: address, port: 1), services: [:])
        }
        #expect(error?.message.contains("\(address):1") == true)
    }

    @Test("Streams that end within the grace end well; new ones are not accepted")
    func graceful() async throws {
        let server = try Server(
            configuration: ServerConfiguration(bindAddress: "127.0.0.1"),
            services: ["/test/Echo": echoHandler]
        )
        await withGRPCClient(port: server.port) { client in
            let call = client.call("/test/Echo")
            await call.send([1])
            #expect(await call.receive() == [1])

            async let shutdown: Void = server.shutdown(grace: .seconds(60))
            // Refused as soon as the shutdown has begun.
            var late = await client.unary("/test/Echo", [2], timeout: .seconds(60))
            while late.status.code == 0 {
                late = await client.unary("/test/Echo", [2], timeout: .seconds(60))
            }
            await call.send([3])
            #expect(await call.receive() == [3])
            await call.halfClose()
            #expect(await call.status().code == 0)
            await shutdown
        }
        #expect(server.activeStreams == 0)
    }

    @Test("Streams that outlive the grace are cancelled, also for their handlers")
    func afterGrace() async throws {
        let started = Event<Void>()
        let ended = Event<Bool>()
        let handler: Handler = { call in
            started.happen(())
            await untilCancelled()
            ended.happen(call.isCancelled)
            return .ok
        }
        let server = try Server(
            configuration: ServerConfiguration(bindAddress: "127.0.0.1"),
            services: ["/test/Wait": handler]
        )
        await withGRPCClient(port: server.port) { client in
            let call = client.call("/test/Wait")
            await started.value()
            await server.shutdown(grace: .milliseconds(50))
            #expect(await ended.value())
            #expect(await call.status().code != 0)
        }
        #expect(server.activeStreams == 0)
    }

    @Test("The shortest grace of several shutdowns wins, and all return")
    func twice() async throws {
        let started = Event<Void>()
        let handler: Handler = { _ in
            started.happen(())
            await untilCancelled()
            return .ok
        }
        let server = try Server(
            configuration: ServerConfiguration(bindAddress: "127.0.0.1", pollers: 2),
            services: ["/test/Wait": handler]
        )
        await withGRPCClient(port: server.port) { client in
            let call = client.call("/test/Wait")
            await started.value()
            async let first: Void = server.shutdown(grace: .seconds(3600))
            async let second: Void = server.shutdown(grace: .zero)
            await first
            await second
            await server.shutdown(grace: .zero)
            #expect(await call.status().code != 0)
        }
    }

    @Test("Shutdown under load: every call ends, nothing crashes", arguments: [1, 2, 4])
    func underLoad(pollers: Int) async throws {
        for _ in 0..<5 {
            let server = try Server(
                configuration: ServerConfiguration(bindAddress: "127.0.0.1", pollers: pollers),
                services: ["/test/Echo": echoHandler]
            )
            let served = Count()
            let port = server.port
            await withGRPCClient(port: port) { client in
                await withTaskGroup { group in
                    for number in 0..<32 {
                        group.addTask {
                            var code = 0
                            while code == 0 {
                                let call = client.call("/test/Echo", timeout: .seconds(120))
                                await call.send([UInt8](repeating: 1, count: 100 * number))
                                _ = await call.receive()
                                if number % 4 == 0 { call.cancel() } else { await call.halfClose() }
                                code = await call.status().code
                                if code == 0 { served.increment() }
                                if number % 4 == 0, code == 1, server.activeStreams > 0 { code = 0 }
                            }
                        }
                    }
                    while served.value < 200 { await Task.yield() }
                    await server.shutdown(grace: .milliseconds(20))
                    await group.waitForAll()
                }
            }
            #expect(server.activeStreams == 0)
        }
    }
}
