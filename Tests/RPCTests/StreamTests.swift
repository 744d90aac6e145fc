import TestSupport
import Testing

@testable import RPC

@Suite("Streams")
struct StreamTests {
    @Test("Messages come back in order, of any size under the limit")
    func echo() async throws {
        try await withServer(["/test/Echo": echoHandler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Echo")
                for size in [0, 1, 23, 24, 600, 16_384, 65_536, 1_000_000] {
                    let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: size), count: size)
                    #expect(await call.send(bytes))
                    #expect(await call.receive() == bytes)
                }
                await call.halfClose()
                #expect(await call.receive() == nil)
                #expect(await call.status() == GRPCCallStatus(code: 0))
            }
        }
    }

    @Test("After the peer's half-close the handler may still send")
    func halfClose() async throws {
        let handler: Handler = { call in
            do throws(RPCError) {
                while try await call.receive() != nil {}
                #expect(try await call.receive() == nil)
                try await call.send([1], moreFollows: true)
                try await call.send([2, 3])
                return RPCStatus(code: .aborted, message: "é, on purpose")
            } catch {
                return error.status
            }
        }
        try await withServer(["/test/Late": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Late")
                await call.send([0])
                await call.halfClose()
                #expect(await call.receive() == [1])
                #expect(await call.receive() == [2, 3])
                #expect(await call.receive() == nil)
                #expect(await call.status() == GRPCCallStatus(code: 10, message: "é, on purpose"))
            }
        }
    }

    @Test("A status without messages reaches the peer, whatever it had still to say")
    func immediateStatus() async throws {
        let handler: Handler = { _ in RPCStatus(code: .permissionDenied, message: "no") }
        try await withServer(["/test/No": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/No")
                #expect(await call.status() == GRPCCallStatus(code: 7, message: "no"))
            }
        }
    }

    @Test("The handler sees method, peer and metadata")
    func context() async throws {
        let handler: Handler = { call in
            #expect(call.method == "/test/Context")
            #expect(call.peer.hasPrefix("ipv4:127.0.0.1:"))
            #expect(call.metadata("x-one") == "1")
            #expect(call.metadata("x-two") == nil)
            return .ok
        }
        try await withServer(["/test/Context": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Context", metadata: ["x-one": "1"])
                #expect(await call.status().code == 0)
            }
        }
    }

    @Test("One task may send while another waits to receive")
    func fullDuplex() async throws {
        let handler: Handler = { call in
            await withTaskGroup { group in
                group.addTask { _ = try? await call.receive() }
                group.addTask {
                    for number in 0..<100 { try? await call.send([UInt8(number)]) }
                }
            }
            return .ok
        }
        try await withServer(["/test/Duplex": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Duplex")
                for number in 0..<100 { #expect(await call.receive() == [UInt8(number)]) }
                // Only now, so all hundred were sent while a receive was pending.
                await call.send([])
                #expect(await call.status().code == 0)
            }
        }
    }

    @Test("Waiting for the peer ends when its task is cancelled, and the next receive gets the message")
    func cancelledWait() async throws {
        let isWaiting = Event<Void>()
        let handler: Handler = { call in
            let first = Task {
                isWaiting.happen(())
                return await call.peerHasFinished()
            }
            await isWaiting.value()
            first.cancel()
            #expect(await first.value == false)
            do throws(RPCError) {
                try await call.send([1])
                let message = try await call.receive()
                #expect(message?.array == [7])
                return .ok
            } catch {
                return error.status
            }
        }
        try await withServer(["/test/Cancel": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Cancel")
                #expect(await call.receive() == [1])
                await call.send([7])
                #expect(await call.status().code == 0)
            }
        }
    }

    @Test("Hundreds of streams at once, on several pollers, each get their own bytes back")
    func manyStreams() async throws {
        try await withServer(["/test/Echo": echoHandler]) {
            $0.pollers = 3
            $0.requestsPerPoller = 8
        } _: { server in
            await withGRPCClient(port: server.port) { client in
                await withTaskGroup { group in
                    for number in 0..<300 {
                        group.addTask {
                            let call = client.call("/test/Echo")
                            for round in 0..<5 {
                                let bytes = [UInt8](repeating: UInt8(truncatingIfNeeded: number + round), count: number)
                                await call.send(bytes)
                                #expect(await call.receive() == bytes)
                            }
                            await call.halfClose()
                            #expect(await call.status().code == 0)
                        }
                    }
                }
            }
        }
    }

    @Test("A handler that goes to other executors comes back to its poller")
    func hops() async throws {
        actor Counter {
            var value = 0
            func increment() -> Int {
                value += 1
                return value
            }
        }
        let counter = Counter()
        let handler: Handler = { call in
            do throws(RPCError) {
                while try await call.receive() != nil {
                    let name = currentThreadName()
                    #expect(name.hasPrefix("poller-"))
                    try? await Task.sleep(for: .milliseconds(1))
                    let value = await counter.increment()
                    await Task.detached {}.value
                    #expect(currentThreadName() == name)
                    try await call.send([UInt8(value)])
                }
                return .ok
            } catch {
                return error.status
            }
        }
        try await withServer(["/test/Hops": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Hops")
                for number in 1...20 {
                    await call.send([])
                    #expect(await call.receive() == [UInt8(number)])
                }
                await call.halfClose()
                #expect(await call.status().code == 0)
            }
        }
    }
}
