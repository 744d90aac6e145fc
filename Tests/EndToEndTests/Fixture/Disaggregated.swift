import Foundation
import TestSupport
import Testing

/// Model servers with roles, Apus that makes their sub-requests, and Envoy. Each server has an address of its own, as pods have, and all have
/// the same ports.
final class Disaggregated: Sendable {
    enum Connector: String, CaseIterable, Sendable, CustomTestStringConvertible {
        case nixlv2
        case sharedStorage = "shared-storage"
        case sglang, mooncake, offloading, trtllm

        var testDescription: String { rawValue }

        /// Whether the prefill's answer comes before the decode is sent.
        var isSerial: Bool { self == .nixlv2 || self == .sharedStorage || self == .trtllm }

        /// What their endpoints say of themselves beside their roles.
        var label: String { self == .sglang ? ", inference.networking.k8s.io/engine-type: sglang" : "" }

        /// What servers see a decode as, whose body may be that of any request.
        var decodeKind: String { self == .sharedStorage ? "monolithic" : "decode" }

        /// How servers are told to speak it.
        var simulator: [String] {
            switch self {
            case .nixlv2: ["--kv-connector", "nixl"]
            case .sharedStorage: ["--kv-connector", "shared-storage"]
            case .sglang: ["--engine", "sglang"]
            case .mooncake: ["--kv-connector", "mooncake"]
            case .offloading: ["--kv-connector", "offloading"]
            case .trtllm: ["--engine", "trtllm"]
            }
        }
    }

    enum Mode: String, CaseIterable, Sendable, CustomTestStringConvertible {
        case handoff, relay
        var testDescription: String { rawValue }
    }

    struct Plan: Sendable {
        var connector = Connector.nixlv2
        var mode = Mode.handoff
        var prefills = 3
        var decodes = 2
        var encodes = 0
        /// Whether every prompt shall be computed elsewhere than where it is decoded.
        var splitsPrefill = true
        /// Decides instead that none shall, though there is a profile for it.
        var wantsNoPrefill = false
        /// Further endpoints, which are none of the simulator: `ip:port` and role.
        var others: [(address: String, role: String)] = []
        /// Further lines of the section `orchestration`.
        var orchestration: [String] = []
        var simulator: [String] = []
        var apus: [String] = []
        var environment: [String: String] = [:]
        /// Changes Envoy's configuration.
        var envoy: @Sendable (String) throws -> String = { $0 }

        init(_ connector: Connector = .nixlv2, _ mode: Mode = .handoff) {
            self.connector = connector
            self.mode = mode
        }

        /// With breakers that no test opens by chance.
        func withoutBreakers() -> Plan {
            var plan = self
            plan.orchestration.append("breaker: {failures: 1000}")
            return plan
        }
    }

    /// The deployment of the running test.
    @TaskLocal static var running: Disaggregated?

    let plan: Plan
    let simulator: ChildProcess
    /// `ip:port` of every server: those that encode, those that prefill, those that decode.
    let addresses: [String]
    let controlPort: Int
    let bootstrapPort: Int
    let apus: Apus
    let envoy: EnvoyProcess
    let directory: TemporaryDirectory

    init(_ plan: Plan) async throws {
        self.plan = plan
        let roles =
            Array(repeating: "encode", count: plan.encodes) + Array(repeating: "prefill", count: plan.prefills)
            + Array(repeating: "decode", count: plan.decodes)
        let standard = ["--model", Simulators.model, "--max-model-len", "10000000", "--kv-cache-size", "1000000"]
        let room = ["--max-num-seqs", "256", "--max-request-body-size-mb", "64", "--max-waiting-queue-length", "10000"]
        let ports = ["--address-per-server", "--port", "0", "--control-port", "0", "--bootstrap-port", "0"]
        simulator = try ChildProcess(
            Products.executable("apus-sim"),
            standard + room + ports + ["--count", "\(roles.count)", "--role", roles.joined(separator: ",")]
                + plan.connector.simulator + plan.simulator
        )
        _ = try await simulator.waitForLine(containing: "ready")
        let lines = simulator.output.split(separator: "\n").map { $0.split(separator: " ").map(String.init) }
        func values(_ word: String) -> [String] { lines.filter { $0.count == 2 && $0[0] == word }.map { $0[1] } }
        func port(_ word: String) throws -> Int {
            guard let port = values(word).first?.split(separator: ":").last.flatMap({ Int($0) }) else {
                throw TestFailure("apus-sim has no \(word) port")
            }
            return port
        }
        addresses = values("listening")
        controlPort = try port("control")
        bootstrapPort = try port("bootstrap")
        directory = try TemporaryDirectory()
        let all = Array(zip(addresses, roles)) + plan.others.map { ($0.address, $0.role) }
        let endpoints = all.enumerated().map { index, server in
            let parts = server.0.split(separator: ":")
            return "- {name: s\(index), namespace: n, address: \(parts[0]), port: \(parts[1]), "
                + "labels: {llm-d.ai/role: \(server.1)\(plan.connector.label)}}\n"
        }
        let file = try directory.write("endpoints:\n" + endpoints.joined(), to: "endpoints.yaml")
        let text = Self.configuration(plan, endpoints: file, bootstrapPort: bootstrapPort)
        let configuration = try directory.write(text, to: "config.yaml")
        apus = try await Apus(["--config-file=" + configuration] + plan.apus, environment: plan.environment)
        let envoy = EnvoyProcess.Configuration.originalDestination(externalProcessorPort: apus.externalProcessorPort)
        self.envoy = try await EnvoyProcess(.text(plan.envoy(envoy.text())))
        try await waitUntilFresh()
    }

    private static func configuration(_ plan: Plan, endpoints: String, bootstrapPort: Int) -> String {
        let stages = (plan.encodes > 0 ? ["encode"] : []) + (plan.splitsPrefill ? ["prefill"] : [])
        let deciders = stages.map {
            $0 == "encode"
                ? "encode: always-disagg-multimodal-decider"
                : "prefill: \(plan.wantsNoPrefill ? "prefix-based-pd-decider" : "always-disagg-pd-decider")"
        }
        let profiles = (stages + ["decode"]).map {
            "- {name: \($0), plugins: [{pluginRef: \($0)-filter}, {pluginRef: queue-scorer}, {pluginRef: active-request-scorer}]}\n"
        }
        let filters = (stages + ["decode"]).map { "- type: \($0)-filter\n" }
        return """
            apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins:
            - {type: file-discovery, parameters: {path: "\(endpoints)"}}
            - {type: disagg-profile-handler, parameters: {deciders: {\(deciders.joined(separator: ", "))}}}
            \(stages.contains("prefill") && !plan.wantsNoPrefill ? "- type: always-disagg-pd-decider" : "")
            \(plan.wantsNoPrefill ? "- {type: prefix-based-pd-decider, parameters: {nonCachedTokens: 1000000}}" : "")
            \(stages.contains("encode") ? "- type: always-disagg-multimodal-decider" : "")
            - type: queue-scorer
            - type: active-request-scorer
            \(filters.joined())schedulingProfiles:
            \(profiles.joined())dataLayer: {discovery: {pluginRef: file-discovery}}
            orchestration:
              mode: \(plan.mode.rawValue)
              connector: \(plan.connector.rawValue)
              ports: {bootstrap: \(bootstrapPort), p2p: \(bootstrapPort)}
            \(plan.orchestration.map { "  \($0)\n" }.joined())
            """
    }

    /// Changes the configuration that Apus reads, and waits until it does.
    func reconfigure(_ change: (inout Plan) -> Void) async throws {
        var plan = plan
        change(&plan)
        let before = try await apus.metric("apus_config_reloads_total") ?? 0
        let text = Self.configuration(plan, endpoints: directory.path + "/endpoints.yaml", bootstrapPort: bootstrapPort)
        try directory.write(text, to: "config.yaml")
        try await eventually("Apus has read its new configuration") {
            try await apus.metric("apus_config_reloads_total") ?? 0 > before
        }
    }

    // MARK: Servers by role

    var encodes: Range<Int> { 0..<plan.encodes }
    var prefills: Range<Int> { plan.encodes..<(plan.encodes + plan.prefills) }
    var decodes: Range<Int> { (plan.encodes + plan.prefills)..<addresses.count }

    // MARK: Requests

    /// A client of the gateway.
    var client: HTTPTestClient { envoy.client() }

    /// Sends a request with an id of its own, by which all the logs know it.
    func send(_ request: TestRequest, fault: String? = nil) async throws -> (id: String, response: TestResponse) {
        let named = Self.named(request, fault)
        return (named.id, try await client.send(named.request))
    }

    /// The same, up to the head of the response.
    func open(_ request: TestRequest, fault: String? = nil) async throws -> (id: String, exchange: TestExchange) {
        let named = Self.named(request, fault)
        return (named.id, try await client.open(named.request))
    }

    /// Sends a request whose client will not wait for an answer: it leaves with `hangUp()`.
    func begin(_ request: TestRequest, fault: String) async throws -> (id: String, socket: Socket) {
        let named = Self.named(request, fault)
        let socket = try await Socket.connect(port: envoy.port)
        guard case .fixed(let body) = named.request.body else { throw TestFailure("the request has no body") }
        let fields = named.request.headers.map { "\($0.name): \($0.value)\r\n" }.joined()
        let head = "POST \(request.path) HTTP/1.1\r\nhost: a\r\ncontent-length: \(body.count)\r\n\(fields)\r\n"
        try await socket.write(Array(head.utf8) + body)
        return (named.id, socket)
    }

    static func named(_ request: TestRequest, _ fault: String? = nil) -> (id: String, request: TestRequest) {
        let id = UUID().uuidString
        var request = request
        request.headers.append(("x-request-id", id))
        if let fault { request.headers.append(("x-sim-fault", fault)) }
        return (id, request)
    }

    // MARK: The simulators' own pages

    @discardableResult
    func control(_ method: String, _ path: String, _ body: String = "") async throws -> JSON {
        let request = TestRequest(method, path, body: body.isEmpty ? .none : .fixed(Array(body.utf8)))
        let response = try await HTTPTestClient(port: controlPort).send(request)
        guard response.status == 200 else {
            throw TestFailure("\(method) \(path): \(response.status) \(response.text)")
        }
        return response.body.isEmpty ? .null : try JSON(text: response.text)
    }

    /// Returns when a server has counted an event so often.
    func wait(_ event: String, _ count: Int = 1, server: Int) async throws {
        try await control("GET", "/sim/wait?server=\(server)&event=\(event)&count=\(count)&timeout=30s")
    }

    /// Returns when a number of a server is at most this.
    func wait(gauge: String, atMost: Int = 0, server: Int) async throws {
        try await control("GET", "/sim/wait?server=\(server)&gauge=\(gauge)&at_most=\(atMost)&timeout=30s")
    }

    func counter(_ name: String, server: Int) async throws -> Int {
        try await control("GET", "/sim/audit?server=\(server)&request_id=none")["counters"][name].int ?? 0
    }

    /// The sum over all servers.
    func counter(_ name: String) async throws -> Int {
        var sum = 0
        for server in addresses.indices { sum += try await counter(name, server: server) }
        return sum
    }

    func setFaults(_ rules: [String], servers: Range<Int>) async throws {
        let list = rules.map { "\"\($0)\"" }.joined(separator: ",")
        for server in servers { try await control("POST", "/sim/faults?server=\(server)", "{\"rules\":[\(list)]}") }
    }

    /// All that arrived of a request at any server, in the order of arrival.
    func legs(of id: String) async throws -> [SimulatedLeg] {
        var legs: [SimulatedLeg] = []
        for server in addresses.indices {
            let audit = try await control("GET", "/sim/audit?server=\(server)&request_id=\(id)")
            legs += audit["legs"].array.map { SimulatedLeg(server: server, json: $0) }
        }
        return legs.sorted { ($0.json["time"].double ?? 0) < ($1.json["time"].double ?? 0) }
    }

    /// A request as it arrived at a server, with its headers.
    func arrivals(of id: String, server: Int) async throws -> [JSON] {
        try await control("GET", "/admin/requests?server=\(server)").array.filter { $0["id"].string == id }
    }

    // MARK: What Apus tells

    /// `/debug/endpoints` in the order of the servers.
    func endpoints() async throws -> [JSON] {
        let list = try await JSON(text: apus.page("/debug/endpoints").text)["endpoints"].array
        return addresses.map { address in
            list.first { "\($0["address"].string ?? ""):\($0["port"].int ?? 0)" == address } ?? .null
        }
    }

    func waitUntilFresh() async throws {
        try await eventually("every endpoint is fresh") {
            try await self.endpoints().allSatisfy { $0["fresh"].bool == true }
        }
    }

    /// Returns when Apus holds nothing for any request any more: no load, no sub-request, no stream; and no server works on one.
    func waitUntilIdle() async throws {
        try await eventually("nothing is held") {
            let isEmpty = try await self.endpoints().allSatisfy {
                $0["inFlight"]["requests"].int == 0 && $0["inFlight"]["tokens"].int == 0
            }
            guard isEmpty else { return false }
            guard try await self.apus.metric("apus_subrequests_in_flight") ?? 0 == 0 else { return false }
            return try await self.apus.metric("apus_streams_active") ?? 0 == 0
        }
        for server in addresses.indices { try await wait(gauge: "active", server: server) }
    }

    /// Of `apus_orchestration_events_total`.
    func event(_ name: String) async throws -> Int {
        Int(try await apus.metrics()["apus_orchestration_events_total{event=\"\(name)\"}"] ?? 0)
    }

    /// The end of every process' output.
    var logs: String {
        [("apus-sim", simulator), ("envoy", envoy.process), ("apus", apus.process)].map { name, process in
            let lines = process.output.split(separator: "\n").suffix(40).joined(separator: "\n")
            return "--- \(name)\(process.isRunning ? "" : " (has ended)")\n\(lines)"
        }.joined(separator: "\n")
    }

    /// Ends Apus as an operator would, which it must survive whatever the test did.
    func stop() async {
        do {
            let isRunning = apus.process.isRunning
            let status = try await isRunning ? apus.process.terminate() : apus.process.waitForExit()
            if status != .exited(0) { Issue.record("apus ended with \(status)") }
        } catch {
            Issue.record(error)
        }
    }
}

/// A leg as a simulated server saw it.
struct SimulatedLeg: CustomStringConvertible {
    let server: Int
    let json: JSON

    var kind: String { json["leg"].string ?? "" }
    /// Of legs in their order: without those that were sent again at once on a new connection, since the old one ended without an answer.
    static func withoutResent(_ legs: [SimulatedLeg]) -> [SimulatedLeg] {
        var first: [SimulatedLeg] = []
        for leg in legs {
            if let last = first.last, last.attempt == leg.attempt, last.server == leg.server { continue }
            first.append(leg)
        }
        return first
    }

    var attempt: Int { json["attempt"].int ?? 0 }
    var status: String { json["status"].string ?? "" }
    var httpStatus: Int? { json["http_status"].int }
    var fault: String? { json["fault"].string }
    var isDisconnected: Bool { json["disconnect"].bool ?? false }
    var description: String { "\(kind) \(attempt) at s\(server): \(status) \(httpStatus ?? 0) \(fault ?? "")" }
}

/// Runs `body` with a deployment of its own.
func withDisaggregated<R>(_ plan: Disaggregated.Plan, _ body: (Disaggregated) async throws -> R) async throws -> R {
    let deployment = try await Disaggregated(plan)
    return try await Disaggregated.$running.withValue(deployment) {
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
