import TestSupport
import Testing

@testable import RPC

private let check = "/grpc.health.v1.Health/Check"
private let list = "/grpc.health.v1.Health/List"
private let watch = "/grpc.health.v1.Health/Watch"

/// `HealthCheckRequest` for a short name.
private func request(_ service: String) -> [UInt8] {
    service.isEmpty ? [] : [0x0A, UInt8(service.utf8.count)] + Array(service.utf8)
}

private let serving: [UInt8] = [0x08, 1]
private let notServing: [UInt8] = [0x08, 2]
private let serviceUnknown: [UInt8] = [0x08, 3]

@Suite("Health")
struct HealthTests {
    @Test("Check answers the status of a known service and NOT_FOUND for others")
    func checks() async throws {
        let health = HealthService()
        health.set(service: "", .serving)
        health.set(service: "a", .notServing)
        health.set(service: "b", .unknown)
        try await withServer(health.handlers()) { server in
            await withGRPCClient(port: server.port) { client in
                #expect(await client.unary(check, request("")).reply == serving)
                #expect(await client.unary(check, request("a")).reply == notServing)
                #expect(await client.unary(check, request("b")).reply == [])
                let unknown = await client.unary(check, request("c"))
                #expect(unknown.reply == nil)
                #expect(unknown.status.code == 5)
                health.set(service: "a", .serving)
                #expect(await client.unary(check, request("a")).reply == serving)
            }
        }
    }

    @Test("Where any service is answered, every name without a status of its own gets the overall one")
    func anyService() async throws {
        let health = HealthService(answersAnyService: true)
        health.set(service: "", .notServing)
        health.set(service: "liveness", .serving)
        try await withServer(health.handlers()) { server in
            await withGRPCClient(port: server.port) { client in
                #expect(await client.unary(check, request("whatever")).reply == notServing)
                #expect(await client.unary(check, request("liveness")).reply == serving)
                health.set(service: "", .serving)
                #expect(await client.unary(check, request("whatever")).reply == serving)
                health.set(service: "own", .serving)
                health.set(service: "", .notServing)
                #expect(await client.unary(check, request("whatever")).reply == notServing)
                #expect(await client.unary(check, request("own")).reply == serving)
            }
        }
    }

    @Test("List gives every service with its status")
    func lists() async throws {
        let health = HealthService()
        health.set(service: "", .serving)
        health.set(service: "ab", .notServing)
        try await withServer(health.handlers()) { server in
            await withGRPCClient(port: server.port) { client in
                let expected: [UInt8] =
                    [0x0A, 6, 0x0A, 0, 0x12, 2] + serving + [0x0A, 8, 0x0A, 2, 97, 98, 0x12, 2] + notServing
                #expect(await client.unary(list, []).reply == expected)
            }
        }
    }

    @Test("Watch says SERVICE_UNKNOWN first for an unknown service, then every change, and ends with the service")
    func watches() async throws {
        let health = HealthService()
        try await withServer(health.handlers()) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call(watch)
                await call.send(request("a"))
                await call.halfClose()
                #expect(await call.receive() == serviceUnknown)
                health.set(service: "b", .serving)
                health.set(service: "a", .serving)
                #expect(await call.receive() == serving)
                health.set(service: "a", .notServing)
                #expect(await call.receive() == notServing)
                health.set(service: "a", .serving)
                #expect(await call.receive() == serving)
                health.shutdown()
                #expect(await call.receive() == notServing)
                #expect(await call.status().code == 14)
            }
        }
    }

    @Test("A watcher that leaves is forgotten, and the server shuts down at once")
    func watcherLeaves() async throws {
        let health = HealthService()
        health.set(service: "", .serving)
        try await withServer(health.handlers()) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call(watch)
                await call.send(request(""))
                #expect(await call.receive() == serving)
                call.cancel()
                #expect(await call.status().code == 1)
                while server.activeStreams > 0 { await Task.yield() }
            }
        }
    }

    @Test(
        "Bytes that are no HealthCheckRequest are INVALID_ARGUMENT",
        arguments: [
            [0x0A], [0x0A, 5, 1], [0x0A, 2, 0xFF, 0xFE], [0x08, 1], [0x00], [0x0B], [0x15, 1, 2],
            [0x0A, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            [0x10, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 0xFF, 1],
            [0x0A, 0x81, 0x08] + [UInt8](repeating: 97, count: 1025),
        ] as [[UInt8]]
    )
    func badRequest(bytes: [UInt8]) {
        #expect(HealthMessages.decodeRequest(bytes.span.bytes) == nil)
    }

    @Test("Unknown fields are skipped and the last name counts")
    func unknownFields() {
        let bytes: [UInt8] =
            [0x10, 0xFF, 0x01, 0x19, 1, 2, 3, 4, 5, 6, 7, 8, 0x22, 1, 9, 0x2D, 1, 2, 3, 4] + [0x0A, 1, 97, 0x0A, 1, 98]
        #expect(HealthMessages.decodeRequest(bytes.span.bytes) == "b")
    }

    @Test("No request message is INVALID_ARGUMENT", arguments: [check, list, watch])
    func noRequest(method: String) async throws {
        try await withServer(HealthService().handlers()) { server in
            await withGRPCClient(port: server.port) { client in
                let call = client.call(method)
                await call.halfClose()
                #expect(await call.status().code == 3)
            }
        }
    }
}
