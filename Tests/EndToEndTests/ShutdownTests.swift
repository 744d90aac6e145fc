import Foundation
import Glibc
import TestSupport
import Testing

/// gRPC health as a gateway asks for it.
enum Health {
    /// What `Check` says of a service; nil when it is not there to say anything.
    static func check(_ port: Int, _ service: String = "", tls: GRPCClient.TLS? = nil) async -> UInt64? {
        await withGRPCClient(port: port, tls: tls) { client in
            var request = ProtobufWriter()
            if !service.isEmpty { request.text(1, service) }
            let answer = await client.unary("/grpc.health.v1.Health/Check", request.bytes, timeout: .seconds(10))
            guard answer.status.code == 0, let reply = answer.reply else { return nil }
            return ProtobufFields(reply)?.number(1)
        }
    }

    static let serving: UInt64 = 1
    static let notServing: UInt64 = 2
    static let externalProcessor = "envoy.service.ext_proc.v3.ExternalProcessor"
}

@Suite("How Apus ends", .serialized, .showsLogs)
struct ShutdownTests {
    @Test("SIGTERM lets a stream run to its end, and says meanwhile that Apus is not serving")
    func drains() async throws {
        let plan = Deployment.Plan(
            simulator: ["--inter-token-latency", "100ms"],
            apus: ["--drain-timeout=300s"]
        )
        try await withDeployment(plan) { deployment in
            let apus = deployment.apus
            try await apus.waitUntilFresh()
            #expect(await Health.check(apus.healthPort, Health.externalProcessor) == Health.serving)
            let exchange = try await deployment.client.open(Ask.completion(stream: true, tokens: 1000))
            #expect(try await exchange.nextEvent() != nil)
            apus.process.send(signal: SIGTERM)
            _ = try await apus.process.waitForLine(containing: "draining")
            try await eventually("not serving") {
                await Health.check(apus.healthPort, Health.externalProcessor) == Health.notServing
            }
            #expect(await Health.check(apus.healthPort, "readiness") == Health.notServing)
            #expect(await Health.check(apus.healthPort, "liveness") == Health.serving)
            // Whoever still comes is still served.
            let late = try await deployment.send(Ask.completion()).response
            #expect(late.status == 200)
            for server in deployment.servers { try await server.configure(#"{"inter-token-latency": "0"}"#) }
            var events: [String] = []
            while let event = try await exchange.nextEvent() { events.append(event) }
            #expect(events.last == "data: [DONE]")
            #expect(events.count >= 999)
            #expect(try await apus.process.waitForExit() == .exited(0))
        }
    }

    @Test("SIGTERM under load ends Apus with status 0")
    func underLoad() async throws {
        let plan = Deployment.Plan(simulator: ["--inter-token-latency", "5ms"], apus: ["--drain-timeout=1s"])
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let clients = Task {
                await withDiscardingTaskGroup { group in
                    for number in 0..<32 {
                        group.addTask {
                            while deployment.apus.process.isRunning {
                                _ = try? await deployment.client.send(
                                    Ask.completion("Number \(number)", stream: number % 2 == 0)
                                )
                            }
                        }
                    }
                }
            }
            try await eventually("there is load") {
                try await deployment.apus.metric("llm_d_epp_request_total") ?? 0 > 50
            }
            deployment.apus.process.send(signal: SIGTERM)
            #expect(try await deployment.apus.process.waitForExit() == .exited(0))
            await clients.value
        }
    }

    @Test("A second SIGTERM ends Apus without waiting for its streams")
    func secondSignal() async throws {
        try await withDeployment(.init(apus: ["--drain-timeout=600s"])) { deployment in
            try await deployment.apus.waitUntilFresh()
            for server in deployment.servers { try await server.configure(#"{"hang": true}"#) }
            async let hanging = deployment.client.send(Ask.completion())
            try await eventually("the request is in flight") {
                try await deployment.apus.requestsInFlight() == 1
            }
            deployment.apus.process.send(signal: SIGTERM)
            _ = try await deployment.apus.process.waitForLine(containing: "draining")
            deployment.apus.process.send(signal: SIGTERM)
            #expect(try await deployment.apus.process.waitForExit() == .exited(0))
            #expect(try await hanging.status >= 500)
        }
    }

    @Test("Streams that do not end are ended when the drain timeout is over")
    func drainTimeout() async throws {
        try await withDeployment(.init(apus: ["--drain-timeout=100ms"])) { deployment in
            try await deployment.apus.waitUntilFresh()
            for server in deployment.servers { try await server.configure(#"{"hang": true}"#) }
            async let hanging = deployment.client.send(Ask.completion())
            try await eventually("the request is in flight") {
                try await deployment.apus.requestsInFlight() == 1
            }
            deployment.apus.process.send(signal: SIGINT)
            #expect(try await deployment.apus.process.waitForExit() == .exited(0))
            #expect(try await hanging.status >= 500)
        }
    }
}
