import Foundation
import TestSupport
import Testing

/// Model servers, Apus and Envoy, all real but the model servers, on ports that the system chose.
final class Deployment: Sendable {
    enum Gateway: String, CaseIterable, Sendable, CustomTestStringConvertible {
        case originalDestination
        case overrideHost
        var testDescription: String { rawValue }
    }

    struct Plan: Sendable {
        var gateway = Gateway.originalDestination
        /// TLS between gateway and Apus, with `.originalDestination` only.
        var isSecure = false
        var servers = 3
        /// A process of its own for every server, so that one can be killed.
        var killable = false
        var simulator: [String] = []
        var apus: [String] = []
        /// Added to the environment of Apus.
        var environment: [String: String] = [:]
        /// Makes the rest of the arguments from the ports of the servers and a directory for files.
        var endpoints: @Sendable ([Int], TemporaryDirectory) throws -> [String] = { ports, _ in
            ["--endpoints=" + ports.map { "127.0.0.1:\($0)" }.joined(separator: ",")]
        }
        /// Changes Envoy's configuration; gets the ports of the servers too.
        var envoy: @Sendable (String, [Int]) throws -> String = { text, _ in text }
    }

    /// The deployment of the running test or suite.
    @TaskLocal static var running: Deployment?

    let simulators: [Simulators]
    let servers: [Simulator]
    let apus: Apus
    let envoy: EnvoyProcess
    let directory: TemporaryDirectory

    init(_ plan: Plan) async throws {
        var simulators: [Simulators] = []
        if plan.killable {
            for _ in 0..<plan.servers { simulators.append(try await Simulators(plan.simulator)) }
        } else if plan.servers > 0 {
            simulators = [try await Simulators(count: plan.servers, plan.simulator)]
        }
        self.simulators = simulators
        servers = simulators.flatMap(\.servers)
        directory = try TemporaryDirectory()
        let ports = servers.map(\.port)
        let secure = plan.isSecure ? ["--secure-serving"] : []
        apus = try await Apus(plan.endpoints(ports, directory) + secure + plan.apus, environment: plan.environment)
        let configuration: EnvoyProcess.Configuration =
            switch plan.gateway {
            case .originalDestination where plan.isSecure:
                .originalDestinationTLS(externalProcessorPort: apus.externalProcessorPort)
            case .originalDestination: .originalDestination(externalProcessorPort: apus.externalProcessorPort)
            case .overrideHost:
                .overrideHost(externalProcessorPort: apus.externalProcessorPort, endpointPorts: ports)
            }
        envoy = try await EnvoyProcess(.text(plan.envoy(configuration.text(), ports)))
    }

    /// A client of the gateway.
    var client: HTTPTestClient { envoy.client() }

    /// Sends a request with an id of its own, by which all the logs know it.
    func send(_ request: TestRequest) async throws -> (id: String, response: TestResponse) {
        let id = UUID().uuidString
        var request = request
        request.headers.append(("x-request-id", id))
        return (id, try await client.send(request))
    }

    /// The server at which a request arrived, and what arrived.
    func arrival(_ id: String) async throws -> (server: Simulator, request: JSON) {
        for server in servers {
            if let request = try await server.request(id) { return (server, request) }
        }
        throw TestFailure("\(id) arrived nowhere")
    }

    /// Ends Apus as an operator would, which it must survive whatever the test did.
    func stop() async {
        do {
            guard apus.process.isRunning else {
                _ = try await apus.process.waitForExit()
                return
            }
            let status = try await apus.process.terminate()
            if status != .exited(0) { Issue.record("apus ended with \(status)") }
        } catch {
            Issue.record(error)
        }
    }

    /// The end of every process' output.
    var logs: String {
        let all =
            simulators.map { ("apus-sim", $0.process) } + [("envoy", envoy.process), ("apus", apus.process)]
        return all.map { name, process in
            let lines = process.output.split(separator: "\n").suffix(40).joined(separator: "\n")
            return "--- \(name)\(process.isRunning ? "" : " (has ended)")\n\(lines)"
        }.joined(separator: "\n")
    }
}

/// Runs `body` with a deployment of its own.
func withDeployment<R>(_ plan: Deployment.Plan, _ body: (Deployment) async throws -> R) async throws -> R {
    let deployment = try await Deployment(plan)
    return try await Deployment.$running.withValue(deployment) {
        do {
            let result = try await body(deployment)
            await deployment.stop()
            return result
        } catch let error as ExpectationFailedError {
            await deployment.stop()
            throw error
        } catch {
            // Before the processes go and their logs with them.
            let failure = TestFailure("\(error)\n\(deployment.logs)")
            await deployment.stop()
            throw failure
        }
    }
}

/// One deployment for all tests of a suite.
struct DeploymentTrait: SuiteTrait, TestScoping {
    let plan: Deployment.Plan

    @concurrent
    func provideScope(
        for test: Test,
        testCase: Test.Case?,
        performing function: @concurrent @Sendable () async throws -> Void
    ) async throws {
        let deployment = try await Deployment(plan)
        try await Deployment.$running.withValue(deployment) {
            try await function()
            await deployment.stop()
        }
    }
}

extension Trait where Self == DeploymentTrait {
    static func deployment(_ plan: Deployment.Plan = Deployment.Plan()) -> Self { Self(plan: plan) }
}

extension Trait where Self == IssueHandlingTrait {
    /// Adds the logs of the running deployment to what went wrong.
    static var showsLogs: Self {
        .compactMapIssues { issue in
            guard let logs = Deployment.running?.logs ?? Disaggregated.running?.logs else { return issue }
            var issue = issue
            issue.comments.append(Comment(rawValue: logs))
            return issue
        }
    }
}

extension Deployment {
    /// The suite's.
    static func ofSuite() throws -> Deployment {
        guard let running else { throw TestFailure("the suite has no deployment") }
        return running
    }
}
