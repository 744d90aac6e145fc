import Glibc
import Synchronization
import TestSupport
import Testing

@testable import RPC

@Suite("Cancellation and deadlines")
struct CancellationTests {
    @Test("A peer's cancellation reaches a handler that awaits something else")
    func elsewhere() async throws {
        let started = Event<Void>()
        let ended = Event<Bool>()
        let handler: Handler = { call in
            started.happen(())
            await untilCancelled()
            ended.happen(call.isCancelled && Task.isCancelled)
            return .ok
        }
        try await withServer(["/test/Wait": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Wait")
                await started.value()
                call.cancel()
                #expect(await ended.value())
                #expect(await call.status().code == 1)
            }
        }
    }

    @Test("A peer's cancellation ends a pending receive with an error, not with a half-close")
    func receiving() async throws {
        for _ in 0..<50 {
            let started = Event<Void>()
            let ended = Event<RPCStatus.Code>()
            let handler: Handler = { call in
                do throws(RPCError) {
                    _ = try await call.receive()
                    started.happen(())
                    _ = try await call.receive()
                    ended.happen(.ok)
                } catch {
                    ended.happen(error.code)
                }
                return .ok
            }
            try await withServer(["/test/Receive": handler]) { server in
                await withGRPCClient(port: server.port) { client in
                    let call = client.call("/test/Receive")
                    await call.send([1])
                    await started.value()
                    call.cancel()
                    #expect(await ended.value() == .cancelled)
                }
            }
        }
    }

    @Test("An interruption that comes just as a receive begins ends it", .timeLimit(.minutes(2)))
    func interruptedAtOnce() async throws {
        let ended = Event<Int>()
        let handler: Handler = { call in
            let count = 20_000
            // Spinning, so that the two meet within the few instructions between the look and the wait.
            let turn = Turn()
            let other = Task.detached {
                for number in 1...count {
                    while turn.number.load(ordering: .acquiring) < number { sched_yield() }
                    for _ in 0..<number % 64 { _ = turn.number.load(ordering: .acquiring) }
                    call.interrupt()
                }
            }
            var interruptions = 0
            for number in 1...count {
                turn.number.store(number, ordering: .releasing)
                do throws(RPCError) {
                    _ = try await call.receive()
                } catch {
                    if error.code == ServerCall.interrupted.code { interruptions += 1 }
                }
            }
            await other.value
            ended.happen(interruptions)
            return .ok
        }
        try await withServer(["/test/Interrupt": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Interrupt")
                #expect(await ended.value() == 20_000)
                #expect(await call.status().code == 0)
            }
        }
    }

    @Test("A watch for the peer's end outlasts interruptions, which the next receive still learns of")
    func watching() async throws {
        let disturbed = Event<Void>()
        let watched = Event<Bool>()
        let received = Event<RPCStatus.Code>()
        let handler: Handler = { call in
            // One before the watch begins, and more while it lasts.
            call.interrupt()
            let disturber = Task {
                for _ in 0..<100 {
                    call.interrupt()
                    await Task.yield()
                }
            }
            async let isOver = call.peerHasFinished()
            await disturber.value
            call.interrupt()
            disturbed.happen(())
            watched.happen(await isOver)
            do throws(RPCError) {
                _ = try await call.receive()
                received.happen(.ok)
            } catch {
                received.happen(error.code)
            }
            return .ok
        }
        try await withServer(["/test/Watch": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Watch")
                await disturbed.value()
                await call.halfClose()
                #expect(await watched.value())
                #expect(await received.value() == ServerCall.interrupted.code)
            }
        }
    }

    @Test("A connection that breaks cancels its handlers")
    func brokenConnection() async throws {
        let started = Event<Void>()
        let ended = Event<Bool>()
        let handler: Handler = { call in
            started.happen(())
            _ = try? await call.receive()
            ended.happen(call.isCancelled)
            return .ok
        }
        try await withServer(["/test/Receive": handler]) { server in
            let client = GRPCClient(port: server.port)
            let call = client.call("/test/Receive")
            await started.value()
            client.shutdown()
            #expect(await ended.value())
            #expect(await call.status().code == 1)
        }
    }

    @Test("Sending to a peer that has gone throws")
    func sending() async throws {
        let gone = Event<Void>()
        let started = Event<Void>()
        let ended = Event<RPCStatus.Code>()
        let handler: Handler = { call in
            started.happen(())
            await untilCancelled()
            do throws(RPCError) {
                try await call.send([1])
                ended.happen(.ok)
            } catch {
                ended.happen(error.code)
            }
            return .ok
        }
        try await withServer(["/test/Send": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Send")
                await started.value()
                call.cancel()
                gone.happen(())
                #expect(await ended.value() == .cancelled)
            }
        }
    }

    @Test("A send that flow control holds back is let go by cancellation")
    func blockedSend() async throws {
        let blocked = Event<Void>()
        let ended = Event<RPCStatus.Code>()
        let handler: Handler = { call in
            do throws(RPCError) {
                // Nobody reads: the window of some 64 KiB is soon full.
                try await call.send([UInt8](repeating: 0, count: 4 << 20))
                blocked.happen(())
                try await call.send([UInt8](repeating: 0, count: 4 << 20))
                try await call.send([UInt8](repeating: 0, count: 4 << 20))
                ended.happen(.ok)
            } catch {
                ended.happen(error.code)
            }
            return .ok
        }
        try await withServer(["/test/Fill": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call("/test/Fill")
                await blocked.value()
                call.cancel()
                #expect(await ended.value() == .cancelled)
            }
        }
    }

    @Test("The peer's deadline cancels the handler")
    func deadline() async throws {
        let started = Count()
        let ended = Event<Bool>()
        let handler: Handler = { call in
            started.increment()
            await untilCancelled()
            ended.happen(call.isCancelled)
            return .ok
        }
        try await withServer(["/test/Wait": handler]) { server in
            await withGRPCClient(port: server.port) { client in
                // A call that is late before it arrives never gets a handler.
                while started.value == 0 {
                    let call = client.call("/test/Wait", timeout: .milliseconds(100))
                    #expect(await call.status().code == 4)
                }
                #expect(await ended.value())
            }
        }
    }
}

/// Whose turn it is, between two threads.
private final class Turn: Sendable {
    let number = Atomic(0)
}
