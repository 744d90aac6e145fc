extension ReportSuite {
    /// All suites, in the order of the report.
    static let all: [ReportSuite] = [
        ReportSuite(
            key: "floor",
            summary: "CPU per request of apus and of a bare server under the same load, in turn",
            section: FloorCommand.section
        ),
        ReportSuite(
            key: "protocol",
            summary: "CPU and times per request over gRPC, by sizes, response pieces, streams in flight and headers",
            section: ProtocolSuite.section
        ),
        ReportSuite(
            key: "decisions",
            summary: "CPU and memory of decisions alone: scheduling, the prefix index, flow control",
            section: DecisionsCommand.section
        ),
        ReportSuite(
            key: "scrape",
            summary: "CPU of an idle apus that watches 10, 100 and 1,000 endpoints",
            section: ScrapeSuite.section
        ),
        ReportSuite(
            key: "memory",
            summary: "memory under 2,000 held requests, and after them",
            section: MemorySuite.section
        ),
        ReportSuite(
            key: "envoy",
            summary: "latency and CPU through a real Envoy with and without Apus, and through other routers",
            section: EnvoyCommand.section
        ),
        ReportSuite(
            key: "select",
            summary: "the decision alone, next to Dynamo's selection service",
            section: SelectCommand.section
        ),
        ReportSuite(
            key: "quality",
            summary: "how well requests are routed, in virtual time: policies side by side, and several pickers",
            section: QualityCommand.section
        ),
    ]
}
