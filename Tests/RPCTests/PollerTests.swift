import Bytes
import CGRPC
import Glibc
import TestSupport
import Testing

@testable import RPC

/// The calling thread's name, as /proc shows it.
func currentThreadName() -> String {
    withUnsafeTemporaryAllocation(of: CChar.self, capacity: 16) { buffer in
        apus_thread_get_name(buffer.baseAddress)
        return buffer.baseAddress.map { String(cString: $0) } ?? ""
    }
}

@Suite("Poller")
struct PollerTests {
    /// Runs `body` with a poller whose thread runs, and ends it.
    private func withPoller(_ body: (Poller) async throws -> Void) async throws {
        let poller = Poller()
        let done = Event<Void>()
        let thread = try poller.start(name: "poller-test") { done.happen(()) }
        try await body(poller)
        poller.close()
        await done.value()
        pthread_join(thread, nil)
        poller.destroy()
    }

    @Test("A task made on another thread wakes the poller and runs on its thread")
    func wakes() async throws {
        try await withPoller { poller in
            for _ in 0..<100 {
                let name = await Task(executorPreference: poller) { currentThreadName() }.value
                #expect(name == "poller-test")
            }
        }
    }

    @Test("Jobs from many threads at once all run, each once")
    func manyThreads() async throws {
        try await withPoller { poller in
            let count = Count()
            await withTaskGroup { group in
                for _ in 0..<2000 {
                    group.addTask(executorPreference: globalConcurrentExecutor) {
                        await Task(executorPreference: poller) {
                            await Task.yield()
                            count.increment()
                        }.value
                    }
                }
            }
            #expect(count.value == 2000)
        }
    }

    @Test("A task that outlives its poller ends elsewhere")
    func outlives() async throws {
        let gate = Event<Void>()
        let task = Lock<Task<String, Never>?>(nil)
        try await withPoller { poller in
            let started = Event<Void>()
            task.withLock {
                $0 = Task(executorPreference: poller) {
                    started.happen(())
                    await gate.value()
                    return currentThreadName()
                }
            }
            await started.value()
        }
        gate.happen(())
        let name = await task.withLock { $0 }?.value
        #expect(name != nil)
        #expect(name != "poller-test")
    }
}

@Suite("Pollers")
struct PollersTests {
    @Test("Servers that share pollers serve on the same threads and shut down one by one")
    func shared() async throws {
        let handler: Handler = { call in
            try? await call.send(Array(currentThreadName().utf8))
            return .ok
        }
        let pollers = try Pollers(count: 1)
        let configuration = ServerConfiguration(bindAddress: "127.0.0.1")
        let first = try Server(configuration: configuration, services: ["/test/A": handler], pollers: pollers)
        let second = try Server(configuration: configuration, services: ["/test/B": handler], pollers: pollers)
        await withGRPCClient(port: second.port) { client in
            await withGRPCClient(port: first.port) { client in
                #expect(await client.unary("/test/A", []).reply == Array("poller-0".utf8))
                #expect(await client.unary("/test/B", []).status.code == 12)
            }
            await first.shutdown(grace: .zero)
            #expect(await client.unary("/test/B", []).reply == Array("poller-0".utf8))

            async let end: Void = pollers.shutdown()
            // The pollers wait for their last server.
            #expect(await client.unary("/test/B", []).reply == Array("poller-0".utf8))
            await second.shutdown(grace: .zero)
            await end
            #expect(throws: RPCError.self) {
                try Server(configuration: configuration, services: [:], pollers: pollers)
            }
        }
        await pollers.shutdown()
    }

    @Test("A server that cannot bind leaves shared pollers to the others")
    func failedServer() async throws {
        let pollers = try Pollers(count: 2)
        let configuration = ServerConfiguration(bindAddress: "127.0.0.1")
        let server = try Server(configuration: configuration, services: ["/test/Echo": echoHandler], pollers: pollers)
        let used = ServerConfiguration(bindAddress: "127.0.0.1", port: server.port)
        #expect(throws: RPCError.self) { try Server(configuration: used, services: [:], pollers: pollers) }
        await withGRPCClient(port: server.port) { client in
            #expect(await client.unary("/test/Echo", [1]).reply == [1])
        }
        await server.shutdown(grace: .zero)
        await pollers.shutdown()
    }
}
