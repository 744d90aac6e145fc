import Foundation
import TestSupport
import Testing

@Suite("What is picked", .serialized, .showsLogs)
struct PickingTests {
    @Suite("with live metrics", .serialized, .deployment())
    struct LiveTests {
        private func pin(_ server: Simulator, waiting: Int, usage: Double) async throws {
            try await server.configure(
                #"{"fake-metrics": {"waiting-requests": \#(waiting), "running-requests": 0, "kv-cache-usage": \#(usage)}}"#
            )
            let apus = try Deployment.ofSuite().apus
            try await apus.wait(for: "waitingQueueSize", of: server.port, toBe: Double(waiting))
            try await apus.wait(for: "kvCacheUsage", of: server.port, toBe: usage)
        }

        @Test("Requests go to the least loaded server, whichever it is")
        func leastLoaded() async throws {
            let deployment = try Deployment.ofSuite()
            for best in [1, 0, 2] {
                for (index, server) in deployment.servers.enumerated() {
                    try await pin(server, waiting: index == best ? 0 : 3 + index, usage: index == best ? 0.125 : 0.75)
                }
                for number in 0..<4 {
                    let (id, response) = try await deployment.send(Ask.completion("\(best) and \(number)"))
                    #expect(response.status == 200)
                    #expect(try await deployment.arrival(id).server.port == deployment.servers[best].port)
                    let candidates = try await deployment.apus.decision(id)["profiles"][0]["candidates"].array
                    let total = candidates.first {
                        $0["endpoint"].string == "127.0.0.1:\(deployment.servers[best].port)"
                    }?["total"].double
                    #expect(candidates.count == 3)
                    #expect(total == candidates.compactMap { $0["total"].double }.max())
                }
            }
            for server in deployment.servers { try await server.configure(#"{"fake-metrics": null}"#) }
        }

        @Test("A long prompt returns to the server that has it cached, and reports the cached tokens")
        func prefixAffinity() async throws {
            let deployment = try Deployment.ofSuite()
            for server in deployment.servers { try await pin(server, waiting: 0, usage: 0) }
            for family in 0..<3 {
                let prompt = (0..<300).map { "family\(family) word\($0)" }.joined(separator: " ")
                let first = try await deployment.send(Ask.completion(prompt))
                #expect(try first.response.usage["prompt_tokens_details"]["cached_tokens"].int ?? 0 == 0)
                let home = try await deployment.arrival(first.id).server.port
                for turn in 0..<4 {
                    let next = try await deployment.send(
                        Ask.completion(prompt + " turn \(turn)", stream: turn % 2 == 1)
                    )
                    #expect(try await deployment.arrival(next.id).server.port == home)
                    let cached = try #require(try next.response.usage["prompt_tokens_details"]["cached_tokens"].int)
                    #expect(cached > 250)
                    #expect(try await deployment.apus.accessLine(next.id)["cachedTokens"].int == cached)
                }
            }
            for server in deployment.servers { try await server.configure(#"{"fake-metrics": null}"#) }
        }
    }

    @Test("A burst between two scrapes spreads evenly")
    func burst() async throws {
        var plan = Deployment.Plan(servers: 4)
        plan.apus = ["--refresh-metrics-interval=60s", "--metrics-staleness-threshold=600s"]
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            for server in deployment.servers { try await server.configure(#"{"hang": true}"#) }
            let clients = Task {
                try await withThrowingTaskGroup(of: Void.self) { group in
                    for number in 0..<32 {
                        group.addTask { _ = try await deployment.client.send(Ask.completion("Number \(number)")) }
                    }
                    try await group.waitForAll()
                }
            }
            var arrived: [Int] = []
            try await eventually("all requests arrived") {
                arrived = []
                for server in deployment.servers { arrived.append(try await server.requests().count) }
                return arrived.reduce(0, +) == 32
            }
            #expect(arrived == [8, 8, 8, 8])
            #expect(try await deployment.apus.requestsInFlight() == 32)
            for server in deployment.servers { try await server.process.kill() }
            _ = await clients.result
            try await deployment.apus.waitUntilIdle()
        }
    }

    @Test("500 requests at once are all answered, by all servers")
    func fiveHundred() async throws {
        var plan = Deployment.Plan(gateway: .overrideHost, servers: 4)
        plan.simulator = ["--time-to-first-token", "20ms", "--inter-token-latency", "2ms"]
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let answers = try await withThrowingTaskGroup(of: (Int, Int).self) { group in
                for number in 0..<500 {
                    group.addTask {
                        let isStream = number % 2 == 0
                        let request = Ask.completion("Number \(number)", stream: isStream, tokens: 8)
                        let response = try await deployment.client.send(request)
                        if response.status == 200, isStream, response.events.last != "[DONE]" { return (0, 0) }
                        return (response.status, Int(response["x-inference-port"] ?? "") ?? 0)
                    }
                }
                return try await group.reduce(into: []) { $0.append($1) }
            }
            #expect(answers.filter { $0.0 == 200 }.count == 500)
            for server in deployment.servers {
                #expect(answers.count { $0.1 == server.port } >= 50)
            }
            try await deployment.apus.waitUntilIdle()
            #expect(try await deployment.apus.metric("llm_d_epp_request_total") == 500)
            #expect(deployment.apus.process.isRunning)
        }
    }
}
