import Foundation
import Glibc
import TestSupport
import Testing

private let serving = 1
private let notServing = 2

@Suite("Health and drain", .serialized, .showsLogs)
struct LifecycleTests {
    @Test("Health answers any name once the endpoints are known, on the ext_proc port only where asked for")
    func health() async throws {
        let plain = try await Apus(["--endpoints=127.0.0.1:1"])
        let checking = try await Apus(["--endpoints=127.0.0.1:1", "--health-checking"])
        for name in ["", "readiness", "liveness", "envoy.service.ext_proc.v3.ExternalProcessor", "anything"] {
            #expect(await Apus.health(port: plain.healthPort, name) == serving)
            #expect(await Apus.health(port: plain.externalProcessorPort, name) == nil)
            #expect(await Apus.health(port: checking.healthPort, name) == serving)
            #expect(await Apus.health(port: checking.externalProcessorPort, name) == serving)
        }
        #expect(try await plain.process.terminate() == .exited(0))
        #expect(try await checking.process.terminate() == .exited(0))
    }

    @Test("After SIGTERM health says NOT_SERVING, requests go on and new ones are served, and then Apus ends")
    func drains() async throws {
        var plan = Deployment.Plan(servers: 1)
        plan.simulator = ["--inter-token-latency=200ms"]
        try await withDeployment(plan) { deployment in
            let apus = deployment.apus
            let exchange = try await deployment.client.open(Ask.completion(stream: true, tokens: 2000))
            _ = try await exchange.nextEvent()
            apus.process.send(signal: SIGTERM)
            _ = try await apus.process.waitForLine(containing: "draining")
            try await eventually("NOT_SERVING") { await Apus.health(port: apus.healthPort) == notServing }
            #expect(await Apus.health(port: apus.healthPort, "anything") == notServing)
            #expect(await Apus.health(port: apus.healthPort, "liveness") == serving)
            #expect(try await deployment.send(Ask.completion("Late", tokens: 1)).response.status == 200)
            try await deployment.servers[0].configure(#"{"inter-token-latency": "1ms"}"#)
            var last: String?
            while let event = try await exchange.nextEvent() { last = event }
            #expect(last == "data: [DONE]")
            #expect(try await apus.process.waitForExit() == .exited(0))
        }
    }

    @Test("The drain ends with its time, whoever still streams")
    func drainTimeout() async throws {
        var plan = Deployment.Plan(servers: 1)
        plan.simulator = ["--inter-token-latency=200ms"]
        plan.apus = ["--drain-timeout=1s"]
        try await withDeployment(plan) { deployment in
            let exchange = try await deployment.client.open(Ask.completion(stream: true, tokens: 100_000))
            _ = try await exchange.nextEvent()
            #expect(try await deployment.apus.process.terminate() == .exited(0))
            exchange.hangUp()
        }
    }
}
