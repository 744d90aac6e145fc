import Testing

@testable import apus

@Suite("Flags") struct FlagTests {
    @Test(
        "Ports may be given with commas, one flag after the other, or both: they add up, as in the reference",
        arguments: [
            (["--endpoint-target-ports=8000,8001"], "8000,8001"),
            (["--endpoint-target-ports=8000", "--endpoint-target-ports=8001"], "8000,8001"),
            (["--endpoint-target-ports", "8000", "-endpoint-target-ports=8001,8002"], "8000,8001,8002"), ([], ""),
        ]
    )
    func ports(arguments: [String], expected: String) throws {
        #expect(try ServeOptions(parsing: arguments).endpointTargetPorts == expected)
    }

    @Test("Of any other flag that comes twice the last counts")
    func lastOne() throws {
        let options = try ServeOptions(parsing: [
            "--pool-name=a", "--ha-enable-leader-election", "--pool-name=b", "--ha-enable-leader-election=false",
        ])
        #expect(options.poolName == "b")
        #expect(!options.leaderElection)
    }
}
