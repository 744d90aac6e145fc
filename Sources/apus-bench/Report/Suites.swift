extension ReportSuite {
    /// All suites, in the order of the report.
    static let all: [ReportSuite] = [
        ReportSuite(
            key: "floor",
            summary: "CPU per request of apus and of a bare server under the same load, in turn",
            seconds: (20, 5),
            section: FloorCommand.section
        ),
        ReportSuite(
            key: "protocol",
            summary: "CPU and times per request over gRPC, by sizes, response pieces, streams in flight and headers",
            seconds: (180, 20),
            section: ProtocolSuite.section
        ),
        ReportSuite(
            key: "decisions",
            summary: "CPU and memory of decisions alone: scheduling, the prefix index, flow control",
            seconds: (25, 5),
            section: DecisionsCommand.section
        ),
        ReportSuite(
            key: "scrape",
            summary: "CPU of an idle apus that watches 10, 100 and 1,000 endpoints",
            seconds: (80, 15),
            section: ScrapeSuite.section
        ),
        ReportSuite(
            key: "memory",
            summary: "memory under 2,000 held requests, and after them",
            seconds: (75, 20),
            section: MemorySuite.section
        ),
        ReportSuite(
            key: "envoy",
            summary: "latency and CPU through a real Envoy with and without Apus, and through other routers",
            seconds: (1200, 20),
            section: EnvoyCommand.section
        ),
        ReportSuite(
            key: "select",
            summary: "the decision alone, next to Dynamo's selection service",
            seconds: (70, 15),
            section: SelectCommand.section
        ),
        ReportSuite(
            key: "quality",
            summary: "how well requests are routed, in virtual time: policies side by side, and several pickers",
            seconds: (330, 5),
            section: QualityCommand.section
        ),
    ]
}
