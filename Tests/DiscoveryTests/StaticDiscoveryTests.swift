import Discovery
import Pool
import Testing

@Suite("Endpoints on the command line")
struct StaticDiscoveryTests {
    private func problems(_ list: String) -> [String] {
        do {
            _ = try StaticDiscovery.endpoints(list)
            return []
        } catch {
            return error.problems
        }
    }

    @Test("A list is read in its order, and the endpoints are numbered")
    func list() throws {
        let endpoints = try StaticDiscovery.endpoints("10.0.0.1:8000, [::1]:8001 ,vllm-0.svc:65535", namespace: "bench")
        #expect(
            endpoints == [
                EndpointDescription(name: "endpoint-0", namespace: "bench", address: "10.0.0.1", port: 8000),
                EndpointDescription(name: "endpoint-1", namespace: "bench", address: "::1", port: 8001),
                EndpointDescription(name: "endpoint-2", namespace: "bench", address: "vllm-0.svc", port: 65535),
            ]
        )
    }

    @Test(
        "What is wrong is said",
        arguments: [
            ("", "expected host:port"),
            ("127.0.0.1", "port is missing"),
            ("127.0.0.1:", "is no port"),
            ("127.0.0.1:0", "is no port"),
            ("127.0.0.1:65536", "is no port"),
            ("127.0.0.1:+80", "is no port"),
            ("127.0.0.1:99999999999999999999", "is no port"),
            ("127.0.0.1:80a", "is no port"),
            ("http://127.0.0.1:80", "without a scheme"),
            ("::1:8000", "needs brackets"),
            ("[::1]", "port is missing"),
            ("[::1", "without ']'"),
            ("[::g]:80", "no IPv6"),
            ("[127.0.0.1]:80", "brackets are for IPv6"),
            ("1.2.3:80", "no IPv4"),
            ("256.0.0.1:80", "no IPv4"),
            ("host name:80", "no host name"),
            ("-host:80", "no host name"),
            ("a..b:80", "no host name"),
            (":80", "address is empty"),
        ]
    )
    func errors(list: String, problem: String) {
        let problems = problems(list)
        #expect(problems.count == 1)
        #expect(problems.first?.contains(problem) == true, "\(problems)")
    }

    @Test("All problems are reported at once, duplicates and empty entries among them")
    func allProblems() {
        #expect(problems("a:1,,A:1,b:x,c:3").count == 3)
        #expect(problems("a:1,A:1") == ["endpoint 1 ('A:1'): the same as endpoint 0"])
    }
}
