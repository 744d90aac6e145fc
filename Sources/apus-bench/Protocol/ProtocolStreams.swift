/// From one stream to a thousand in flight, and from 15 headers to 60.
enum ProtocolStreams {
    static func measure(
        _ section: inout Section,
        _ servers: ProtocolServers,
        _ plan: ProtocolSuite.Plan,
        _ run: BenchRun
    ) throws {
        let streams = [1, 4, 16, 64, 250, 1000].map { count in
            let place = ProtocolCase(title: count.of("stream"), key: "\(count)", concurrency: count)
            return (x: Double(count), place: place)
        }
        let byStreams = try measure(streams, "Streams in flight", "streams", &section, servers, plan, run)
        let headers = [15, 30, 45, 60].map { count in
            let shape = LoadShape(headerCount: count)
            return (x: Double(count), place: ProtocolCase(title: count.of("header"), key: "\(count)", shape: shape))
        }
        let byHeaders = try measure(headers, "Headers of the request", "headers", &section, servers, plan, run)
        let axis = Chart.Axis(title: "streams in flight", unit: "", isLogarithmic: true)
        section.charts += [
            chart(
                "Throughput by streams in flight",
                axis,
                ("throughput", "requests/s"),
                byStreams,
                \.requestsPerSecond
            ),
            chart(
                "Time to the pick by streams in flight",
                axis,
                ("p99", "ms"),
                byStreams,
                \.pickP99Milliseconds,
                isLogarithmic: true
            ),
            chart(
                "CPU per request by streams in flight",
                axis,
                ("server CPU", "µs per request"),
                byStreams,
                \.cpuMicroseconds
            ),
            chart(
                "CPU per request by headers",
                Chart.Axis(title: "headers", unit: ""),
                ("server CPU", "µs per request"),
                byHeaders,
                \.cpuMicroseconds
            ),
        ]
    }

    private static func measure(
        _ places: [(x: Double, place: ProtocolCase)],
        _ title: String,
        _ key: String,
        _ section: inout Section,
        _ servers: ProtocolServers,
        _ plan: ProtocolSuite.Plan,
        _ run: BenchRun
    ) throws -> [(x: Double, contenders: [Contender])] {
        var table = Table(title: title, key: key, columns: ProtocolCase.columns)
        var found: [(x: Double, contenders: [Contender])] = []
        for (x, place) in places {
            let contenders = try place.measure([servers.bare, servers.full], &section, plan, run)
            table.rows += place.rows(contenders)
            found.append((x, contenders))
        }
        section.tables.append(table)
        return found
    }

    private static func chart(
        _ title: String,
        _ x: Chart.Axis,
        _ y: (title: String, unit: String),
        _ found: [(x: Double, contenders: [Contender])],
        _ value: KeyPath<Contender.Round, Double>,
        isLogarithmic: Bool = false
    ) -> Chart {
        let names = found.first?.contenders.map(\.name).reversed() ?? []
        return Chart(
            title: title,
            x: x,
            y: Chart.Axis(title: y.title, unit: y.unit, isLogarithmic: isLogarithmic),
            series: names.map { name in
                Chart.Series(
                    name: name,
                    points: found.compactMap { place in
                        place.contenders.first { $0.name == name }.map { Chart.Point(x: place.x, y: $0.spread(value)) }
                    }
                )
            }
        )
    }
}
