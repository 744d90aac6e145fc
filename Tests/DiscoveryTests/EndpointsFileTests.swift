import Configuration
import Discovery
import Pool
import Testing

@Suite("The endpoints file")
struct EndpointsFileTests {
    private func read(_ text: String) -> (endpoints: [EndpointDescription]?, errors: [String]) {
        let diagnostics = Diagnostics(file: "f")
        let endpoints = EndpointsFile.parse(Array(text.utf8), diagnostics)
        return (endpoints, diagnostics.all.map(\.description))
    }

    private let first = EndpointDescription(
        name: "sim-0",
        namespace: "bench",
        address: "127.0.0.1",
        port: 8000,
        labels: ["llm-d.ai/role": "prefill"]
    )

    @Test("YAML in both styles and JSON give the same endpoints")
    func styles() {
        let flow = """
            endpoints:
            - {name: sim-0, namespace: bench, address: "127.0.0.1", port: "8000", labels: {llm-d.ai/role: prefill}}
            """
        let block = """
            # the pool
            endpoints:
              - name: sim-0
                namespace: bench
                address: 127.0.0.1
                port: 8000
                labels:
                  llm-d.ai/role: prefill
            """
        let json = """
            {"endpoints": [{"name": "sim-0", "namespace": "bench", "address": "127.0.0.1", "port": 8000,
              "labels": {"llm-d.ai/role": "prefill"}}]}
            """
        for text in [flow, block, json] {
            let (endpoints, errors) = read(text)
            #expect(endpoints == [first])
            #expect(errors.isEmpty)
        }
    }

    @Test(
        "Namespace and labels may be absent; addresses may be IPv6 or names; a label's value is a text even if it looks like a number"
    )
    func optional() {
        let (endpoints, errors) = read(
            """
            endpoints:
            - {name: a, address: "::1", port: 1, labels: {version: 2, empty: ""}}
            - {name: b, address: vllm-0.vllm.svc, port: 65535, labels: }
            """
        )
        #expect(errors.isEmpty)
        #expect(
            endpoints == [
                EndpointDescription(
                    name: "a",
                    namespace: "default",
                    address: "::1",
                    port: 1,
                    labels: ["version": "2", "empty": ""]
                ),
                EndpointDescription(name: "b", namespace: "default", address: "vllm-0.vllm.svc", port: 65535),
            ]
        )
    }

    @Test(
        "An empty list is an empty pool; a missing one is an error",
        arguments: ["", "endpoints:", "{}", "endpoints: ~"]
    )
    func empty(text: String) {
        #expect(read("endpoints: []").endpoints == [])
        let (endpoints, errors) = read(text)
        #expect(endpoints == nil)
        #expect(errors.count == 1)
        #expect(errors.first?.contains("missing key \"endpoints\"") == true)
    }

    @Test("Everything that is wrong is said, with its place")
    func problems() {
        let (endpoints, errors) = read(
            """
            endpoint: 1
            endpoints:
            - {name: a, address: 1.2.3, port: 0}
            - {name: "", adress: x, port: "80x"}
            - text
            - {name: b, address: "[::1]", port: 8.5, labels: [x]}
            - {name: c, address: h, port: 1, labels: {x: {y: z}}}
            """
        )
        #expect(endpoints == nil)
        let expected = [
            "f:1:1: error: unknown key \"endpoint\"",
            "f:3:22: error: '1.2.3' is no IPv4 address",
            "f:3:35: error: key \"port\" must be at least 1, not 0",
            "f:4:3: error: missing key \"address\"",
            "f:4:10: error: missing key \"name\"",
            "f:4:14: error: unknown key \"adress\"",
            "f:4:31: error: key \"port\" must be an integer",
            "f:5:3: error: must be a mapping",
            "f:6:22: error: '[::1]' is no IPv6 address",
            "f:6:37: error: key \"port\" must be an integer",
            "f:6:50: error: key \"labels\" must be a mapping",
            "f:7:46: error: must be a text",
        ]
        #expect(errors.count == expected.count)
        for (error, start) in zip(errors, expected) { #expect(error.hasPrefix(start)) }
    }

    @Test("Two endpoints with one name or one address and port are an error")
    func duplicates() {
        let (endpoints, errors) = read(
            """
            endpoints:
            - {name: a, address: 10.0.0.1, port: 1}
            - {name: a, address: 10.0.0.2, port: 1}
            - {name: a, namespace: other, address: 10.0.0.3, port: 1}
            - {name: b, address: 10.0.0.1, port: 1}
            """
        )
        #expect(endpoints == nil)
        #expect(
            errors == [
                "f:3:10: error: an endpoint \"default/a\" exists already, on line 2",
                "f:5:22: error: an endpoint at \"10.0.0.1:1\" exists already, on line 2",
            ]
        )
    }

    @Test("The plugin's parameters are read strictly")
    func settings() {
        func settings(_ text: String) -> (FileDiscoverySettings?, Int) {
            let diagnostics = Diagnostics(file: "f")
            let node = YAMLDocument.parse(Array(text.utf8), diagnostics)
            let settings = FileDiscoverySettings(parameters: node, diagnostics, at: .start)
            return (settings, diagnostics.all.count)
        }
        #expect(settings("{path: /etc/e.yaml, watchFile: true}") == (.init(path: "/etc/e.yaml", watchFile: true), 0))
        #expect(settings("path: e") == (.init(path: "e"), 0))
        #expect(settings("{watch: true, watchFile: 7}").0 == nil)
        #expect(settings("{watch: true, watchFile: 7}").1 == 3)
        #expect(settings("").1 == 1)
    }
}
