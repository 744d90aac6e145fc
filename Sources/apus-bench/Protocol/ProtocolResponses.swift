/// Responses of one body and of many pieces, with each `responseProcessing`.
enum ProtocolResponses {
    private static let few = 100
    private static let many = 1000

    static func measure(
        _ section: inout Section,
        _ servers: ProtocolServers,
        _ plan: ProtocolSuite.Plan,
        _ run: BenchRun
    ) throws {
        var table = Table(title: "Responses", key: "responses", columns: ProtocolCase.columns)
        table.columns += [
            Table.Column(title: "piece p50", key: "chunk_p50_ms", unit: "ms", digits: 3),
            Table.Column(title: "piece p99", key: "chunk_p99_ms", unit: "ms", digits: 3),
        ]
        var streamed: [Int: [Contender]] = [:]
        var bursts: [Int: [Contender]] = [:]
        for (title, response, isPaced, requests) in [
            ("JSON", LoadShape.Response.json, true, 4000), ("100 chunks", .events(few), true, 400),
            ("1,000 chunks", .events(many), true, 64), ("100 at once", .events(few), false, 400),
            ("1,000 at once", .events(many), false, 64),
        ] {
            var place = ProtocolCase(title: title, key: title, requests: requests)
            place.shape.response = response
            place.shape.isPaced = isPaced
            let contenders = try place.measure([servers.bare, servers.full, servers.tail], &section, plan, run)
            if case .events(let count) = response {
                if isPaced { streamed[count] = contenders } else { bursts[count] = contenders }
            }
            table.rows += zip(place.rows(contenders), contenders).map { row, contender in
                let pieces =
                    streamed.isEmpty || !isPaced
                    ? [nil, nil] : [contender.spread(\.chunkP50Milliseconds), contender.spread(\.chunkP99Milliseconds)]
                return Table.Row(title: row.title, key: row.key, values: row.values + pieces)
            }
        }
        var place = ProtocolCase(title: "any, body not sent by Envoy", key: "unseen")
        place.shape.response = .unseen
        place.shape.isBuffered = true
        let unseen = try place.measure([servers.headers], &section, plan, run)
        table.rows += place.rows(unseen).map {
            Table.Row(title: $0.title, key: $0.key, values: $0.values + [nil, nil])
        }
        section.tables.append(table)
        section.method.append(
            "With `headers` Envoy keeps the response's body to itself, whatever its pieces; request bodies are BUFFERED then, and the "
                + "bare server has no part in it."
        )
        let pieces = PieceCosts(few: few, many: many, paced: streamed, bursts: bursts)
        pieces.conclude(&section)
    }
}
