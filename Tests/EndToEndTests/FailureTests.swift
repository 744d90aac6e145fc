import Bytes
import Foundation
import TestSupport
import Testing

/// Clients that send one plain request after the other until they are told to stop.
private final class Load: Sendable {
    private struct State {
        var isStopped = false
        var answers = 0
        var answersByPort: [Int: Int] = [:]
        var failures: [String] = []
    }

    private let state = Lock(State())

    var answers: Int { state.withLock { $0.answers } }
    var failures: [String] { state.withLock { $0.failures } }
    func answers(of port: Int) -> Int { state.withLock { $0.answersByPort[port] ?? 0 } }

    /// Runs while `body` does.
    static func during(
        _ deployment: Deployment,
        clients: Int = 8,
        _ body: (Load) async throws -> Void
    ) async throws -> Load {
        let load = Load()
        let running = Task {
            await withDiscardingTaskGroup { group in
                for client in 0..<clients { group.addTask { await load.run(client, deployment) } }
            }
        }
        do {
            try await body(load)
        } catch {
            load.state.withLock { $0.isStopped = true }
            await running.value
            throw TestFailure("\(error); the load had \(load.answers) answers and \(load.failures.prefix(5))")
        }
        load.state.withLock { $0.isStopped = true }
        await running.value
        return load
    }

    private func run(_ client: Int, _ deployment: Deployment) async {
        var number = 0
        while !state.withLock({ $0.isStopped }) {
            number += 1
            let request = Ask.completion("Client \(client), request \(number)")
            do {
                let response = try await deployment.client.send(request)
                let port = Int(response["x-inference-port"] ?? "") ?? 0
                state.withLock { state in
                    if response.status == 200 {
                        state.answers += 1
                        state.answersByPort[port, default: 0] += 1
                    } else {
                        state.failures.append("\(response.status) \(response.text)")
                    }
                }
            } catch {
                state.withLock { $0.failures.append("\(error)") }
            }
        }
    }
}

@Suite("What goes wrong around Apus", .serialized, .showsLogs)
struct FailureTests {
    @Test("No request is lost when a model server is killed under load, and it gets requests again when it is back")
    func killedServer() async throws {
        var plan = Deployment.Plan(gateway: .overrideHost, killable: true)
        plan.simulator = ["--time-to-first-token", "10ms", "--inter-token-latency", "1ms"]
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let port = deployment.servers[0].port
            let load = try await Load.during(deployment) { load in
                for _ in 0..<2 {
                    let before = load.answers(of: port)
                    try await eventually("the server gets requests") { load.answers(of: port) > before + 10 }
                    try await deployment.simulators[0].kill()
                    try await eventually("Apus sees that it is gone") {
                        try await deployment.apus.endpoints()[port]?["scrape"]["reachable"].bool == false
                    }
                    let answers = load.answers
                    try await eventually("the others serve") { load.answers > answers + 50 }
                    try await deployment.simulators[0].restart()
                }
                let before = load.answers(of: port)
                try await eventually("the server gets requests again") { load.answers(of: port) > before + 10 }
            }
            #expect(load.failures == [])
            try await deployment.apus.waitUntilIdle()
        }
    }

    @Test("While no server is known to be alive, all are tried, and the client gets the gateway's 503")
    func allKilled() async throws {
        try await withDeployment(.init(servers: 2, killable: true)) { deployment in
            try await deployment.apus.waitUntilFresh()
            for simulator in deployment.simulators { try await simulator.kill() }
            for _ in 0..<3 {
                let (id, response) = try await deployment.send(Ask.completion())
                #expect(response.status == 503)
                #expect(response["x-went-into-resp-headers"] == "true")
                let line = try await deployment.apus.accessLine(id)
                #expect(line["endpoint"].string != nil)
                #expect(line["status"].int == 503)
            }
            try await deployment.apus.waitUntilIdle()
            try await deployment.simulators[0].restart()
            try await eventually("Apus sees that one is back") {
                try await deployment.apus.endpoints()[deployment.servers[0].port]?["scrape"]["failures"].int == 0
            }
            for _ in 0..<3 {
                #expect(try await deployment.send(Ask.completion()).response.status == 200)
            }
        }
    }

    @Test("A server whose metrics are gone loses to the others, and serves when it is the only one")
    func stale() async throws {
        var plan = Deployment.Plan(servers: 2)
        plan.apus = ["--metrics-staleness-threshold=300ms"]
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let servers = deployment.servers
            for server in servers {
                try await server.configure(#"{"metrics-hang": true}"#)
                try await eventually("stale") {
                    try await deployment.apus.endpoints()[server.port]?["fresh"].bool == false
                }
                for number in 0..<6 {
                    let (id, response) = try await deployment.send(Ask.completion("Number \(number)"))
                    #expect(response.status == 200)
                    if server.port == servers[0].port {
                        #expect(try await deployment.arrival(id).server.port == servers[1].port)
                    }
                }
            }
        }
    }

    @Test("A model server that breaks off in the middle of a stream ends the client's stream too, and the load with it")
    func brokenStream() async throws {
        let plan = Deployment.Plan(servers: 1, killable: true, simulator: ["--inter-token-latency", "20ms"])
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            let id = UUID().uuidString
            let exchange = try await deployment.client.open(
                Ask.completion(stream: true, tokens: 100_000, headers: [("x-request-id", id)])
            )
            #expect(exchange.status == 200)
            #expect(try await exchange.nextEvent() != nil)
            try await deployment.simulators[0].kill()
            let rest = try? await exchange.rest()
            #expect(rest == nil, "the response ended as if it were whole")
            #expect(try await deployment.apus.accessLine(id)["termination"].string == "client_gone")
            try await deployment.apus.waitUntilIdle()
            try await deployment.simulators[0].restart()
            let (_, response) = try await deployment.send(Ask.completion(stream: true))
            #expect(response.events.last == "[DONE]")
        }
    }
}

@Suite(
    "Clients that hang up",
    .serialized,
    .deployment(.init(simulator: ["--inter-token-latency", "20ms"])),
    .showsLogs
)
struct HangUpTests {
    private func expectServing(_ deployment: Deployment) async throws {
        try await deployment.apus.waitUntilIdle()
        let (_, response) = try await deployment.send(Ask.completion(stream: true))
        #expect(response.status == 200)
        #expect(response.events.last == "[DONE]")
        try await deployment.apus.waitUntilIdle()
    }

    @Test("In the middle of the request's body: nothing is sent on")
    func duringBody() async throws {
        let deployment = try Deployment.ofSuite()
        let id = UUID().uuidString
        let socket = try await Socket.connect(port: deployment.envoy.port)
        let head =
            "POST /v1/completions HTTP/1.1\r\nhost: a\r\nx-request-id: \(id)\r\ncontent-length: 100000\r\n\r\n"
        try await socket.write((head + #"{"model": "demo", "prompt": ""#).utf8)
        try await eventually("Apus has the request") {
            try await deployment.apus.metric("apus_streams_active") ?? 0 > 0
        }
        socket.hangUp()
        let line = try await deployment.apus.accessLine(id)
        #expect(line["termination"].string == "client_gone")
        #expect(line["endpoint"].string == nil)
        await #expect(throws: TestFailure.self) { try await deployment.arrival(id) }
        try await expectServing(deployment)
    }

    @Test("While it waits for the answer: the model server sees it, and the load is gone")
    func whileWaiting() async throws {
        let deployment = try Deployment.ofSuite()
        for server in deployment.servers { try await server.configure(#"{"hang": true}"#) }
        let id = UUID().uuidString
        let socket = try await Socket.connect(port: deployment.envoy.port)
        let body = Ask.completionBody()
        let head = "POST /v1/completions HTTP/1.1\r\nhost: a\r\nx-request-id: \(id)\r\n"
        try await socket.write((head + "content-length: \(body.utf8.count)\r\n\r\n" + body).utf8)
        try await eventually("the model server has the request") {
            for server in deployment.servers where try await server.request(id) != nil { return true }
            return false
        }
        #expect(try await deployment.apus.requestsInFlight() == 1)
        #expect(try await deployment.apus.tokensInFlight() > 0)
        socket.hangUp()
        try await eventually("the model server sees it") {
            try await deployment.arrival(id).request["status"].string == "aborted"
        }
        #expect(try await deployment.apus.accessLine(id)["termination"].string == "client_gone")
        for server in deployment.servers { try await server.configure(#"{"hang": false}"#) }
        try await expectServing(deployment)
    }

    @Test("In the middle of a stream: the model server stops, and the load is gone")
    func duringStream() async throws {
        let deployment = try Deployment.ofSuite()
        let id = UUID().uuidString
        let exchange = try await deployment.client.open(
            Ask.completion(stream: true, tokens: 100_000, headers: [("x-request-id", id)])
        )
        for _ in 0..<3 { #expect(try await exchange.nextEvent() != nil) }
        #expect(try await deployment.apus.requestsInFlight() == 1)
        exchange.hangUp()
        try await eventually("the model server sees it") {
            try await deployment.arrival(id).request["status"].string == "aborted"
        }
        let line = try await deployment.apus.accessLine(id)
        #expect(line["termination"].string == "client_gone")
        #expect(line["status"].int == 200)
        try await expectServing(deployment)
    }

    @Test("Many at once, at any moment: nothing is left over")
    func many() async throws {
        let deployment = try Deployment.ofSuite()
        await withDiscardingTaskGroup { group in
            for number in 0..<100 {
                group.addTask {
                    guard let socket = try? await Socket.connect(port: deployment.envoy.port) else { return }
                    let body = Ask.completionBody("Number \(number)", stream: true, tokens: 1000)
                    let head = "POST /v1/completions HTTP/1.1\r\nhost: a\r\ncontent-length: \(body.utf8.count)\r\n\r\n"
                    let bytes = Array((head + body).utf8)
                    // A part of the request, or the request and some of the response.
                    try? await socket.write(bytes.prefix(bytes.count * (number + 1) / 50))
                    if number >= 50 {
                        for _ in 0..<(number % 4) { _ = try? await socket.read() }
                    }
                    socket.hangUp()
                }
            }
        }
        try await expectServing(deployment)
        try await eventually("no stream is left") { try await deployment.apus.metric("apus_streams_active") == 0 }
    }
}

@Suite("A model server that is dead from the start", .serialized, .showsLogs)
struct DeadServerTests {
    @Test("Two hundred requests, all picked for the dead server first, are answered by the other one")
    func deadFirst() async throws {
        // Nothing is scraped, so the dead server looks as good as the other one for as long as the test runs.
        let plan = Deployment.Plan(
            gateway: .overrideHost,
            servers: 2,
            killable: true,
            apus: ["--refresh-metrics-interval=600s", "--metrics-staleness-threshold=1200s"]
        )
        try await withDeployment(plan) { deployment in
            try await deployment.apus.waitUntilFresh()
            try await deployment.simulators[0].process.kill()
            try await withThrowingTaskGroup(of: Int.self) { group in
                for client in 0..<20 {
                    group.addTask {
                        var lost = 0
                        for number in 0..<10 {
                            let (_, response) = try await deployment.send(Ask.completion("\(client) asks \(number)"))
                            lost += response.status == 200 ? 0 : 1
                        }
                        return lost
                    }
                }
                for try await lost in group { #expect(lost == 0) }
            }
            try await deployment.apus.waitUntilIdle()
        }
    }
}
