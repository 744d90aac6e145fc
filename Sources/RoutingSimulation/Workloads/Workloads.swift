/// The workloads that reports show.
package enum Workloads {
    package static let keys = [
        "grid", "questions", "unique", "chat", "bursts", "long", "lora", "slow", "dying", "aggregated", "disaggregated",
    ]

    /// The workload with this key; nil when there is none.
    ///
    /// - Parameter length: 1 for the length that figures are quoted of, less for a shorter one.
    package static func make(_ key: String, seed: UInt64, length: Double = 1) -> (any Workload)? {
        switch key {
        case "grid": PrefixGrid(seed: seed, stageSeconds: 40 * length)
        case "chat": MultiTurnChat(seed: seed, duration: 400 * length, warmUp: 60 * length)
        default: open(key, seed: seed).map { shortened($0, length) }
        }
    }

    private static func shortened(_ workload: OpenWorkload, _ length: Double) -> OpenWorkload {
        var workload = workload
        workload.duration *= length
        workload.warmUp *= length
        workload.outages = workload.outages.map {
            Outage(
                server: $0.server,
                from: $0.from * length,
                until: $0.until * length,
                noticed: $0.noticed * length
            )
        }
        return workload
    }

    private static func open(_ key: String, seed: UInt64) -> OpenWorkload? {
        switch key {
        case "questions": questions(seed)
        case "unique": unique(seed)
        case "bursts": bursts(seed)
        case "long": longContext(seed)
        case "lora": adapters(seed)
        case "slow": slow(seed)
        case "dying": dying(seed)
        case "aggregated": aggregated(seed)
        case "disaggregated": disaggregated(seed)
        case "day": day(seed)
        default: nil
        }
    }

    private static func questions(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "questions",
            title: "Shared prefixes, fresh questions",
            summary:
                "8 servers, 150 groups × 6,000-token prefixes, a new question of 1,200 tokens each time, 300-token answers; 35 requests per second",
            seed: seed
        )
        var kind = RequestClass()
        (kind.groups, kind.prefixTokens) = (150, 6_000)
        (kind.ownTokens, kind.answerTokens) = (1_200, 300)
        workload.classes = [kind]
        (workload.rate, workload.warmUp) = (35, 60)
        return workload
    }

    private static func unique(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "unique",
            title: "No sharing",
            summary:
                "8 servers; prompts of about 1,500 tokens (log-normal, 0.8) that have nothing in common, answers of about 200; 28 requests per second",
            seed: seed
        )
        var kind = RequestClass()
        (kind.ownTokens, kind.ownSpread) = (1_500, 0.8)
        (kind.answerTokens, kind.answerSpread) = (200, 0.6)
        workload.classes = [kind]
        workload.rate = 28
        return workload
    }

    private static func bursts(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "bursts",
            title: "Bursts",
            summary:
                "8 servers; 10 requests per second over 60 prefixes of 2,000 tokens, and every 10 s 120 at once that share 2,000 tokens of their own",
            seed: seed
        )
        workload.classes = [prefixMix]
        workload.rate = 10
        var bursts = Bursts()
        bursts.prefixTokens = 2_000
        workload.bursts = bursts
        return workload
    }

    private static func longContext(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "long",
            title: "Long context",
            summary:
                "8 servers; nine of ten prompts have about 800 tokens, one has about 30,000, up to 240,000; 12 requests per second",
            seed: seed
        )
        var short = RequestClass()
        (short.weight, short.ownTokens, short.ownSpread) = (9, 800, 0.6)
        (short.answerTokens, short.answerSpread) = (200, 0.6)
        var long = RequestClass()
        (long.weight, long.ownTokens, long.ownSpread) = (1, 30_000, 0.5)
        (long.answerTokens, long.answerSpread) = (300, 0.6)
        workload.classes = [short, long]
        workload.rate = 12
        return workload
    }

    private static func adapters(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "lora",
            title: "Mixed LoRA",
            summary:
                "8 servers with 4 adapter slots each; 40 adapters by Zipf's law, each with a system prompt of 400 tokens; 20 requests per second",
            seed: seed
        )
        var kind = RequestClass()
        (kind.groups, kind.prefixTokens, kind.adapters) = (1, 400, 40)
        (kind.ownTokens, kind.ownSpread) = (800, 0.6)
        (kind.answerTokens, kind.answerSpread) = (200, 0.6)
        workload.classes = [kind]
        workload.rate = 20
        return workload
    }

    private static func slow(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "slow",
            title: "One slow server",
            summary:
                "8 servers, one of which takes 2.5 times as long; 60 prefixes of 2,000 tokens; 28 requests per second",
            seed: seed
        )
        workload.classes = [prefixMix]
        workload.rate = 28
        workload.servers[3].costs.slowness = 2.5
        return workload
    }

    private static func dying(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "dying",
            title: "One dying server",
            summary:
                "8 servers, one of which is gone from 100 s to 200 s, which discovery notices after 10 s; 60 prefixes of 2,000 tokens; 28 requests per second",
            seed: seed
        )
        workload.classes = [prefixMix]
        workload.rate = 28
        workload.outages = [Outage(server: 3, from: 100, until: 200, noticed: 110)]
        return workload
    }

    private static var prefixMix: RequestClass {
        var kind = RequestClass()
        (kind.groups, kind.prefixTokens) = (60, 2_000)
        (kind.ownTokens, kind.ownSpread) = (500, 0.6)
        (kind.answerTokens, kind.answerSpread) = (200, 0.6)
        return kind
    }

    private static func aggregated(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "aggregated",
            title: "5,000 in, 250 out: aggregated",
            summary:
                "8 servers; prompts of 5,000 tokens that have nothing in common, answers of 250; 12 requests per second",
            seed: seed
        )
        workload.classes = [disaggregationClass]
        workload.rate = 12
        return workload
    }

    private static func disaggregated(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "disaggregated",
            title: "5,000 in, 250 out: prefill and decode apart",
            summary: "6 servers for prompts and 2 for answers; the same requests as the aggregated ones",
            seed: seed
        )
        workload.classes = [disaggregationClass]
        workload.rate = 12
        for index in workload.servers.indices { workload.servers[index].role = index < 6 ? .prefill : .decode }
        return workload
    }

    private static var disaggregationClass: RequestClass {
        var kind = RequestClass()
        (kind.ownTokens, kind.answerTokens) = (5_000, 250)
        return kind
    }

    private static func day(_ seed: UInt64) -> OpenWorkload {
        var workload = OpenWorkload(
            key: "day",
            title: "A day of 1,000 servers",
            summary:
                "1,000 servers; 3 requests per second on average and 5.7 at noon, over 20,000 prefixes of 2,000 tokens",
            seed: seed
        )
        var kind = prefixMix
        kind.groups = 20_000
        workload.classes = [kind]
        workload.servers = Array(repeating: ServerDescription(), count: 1_000)
        (workload.rate, workload.duration, workload.dailySwing) = (3, 86_400, 0.9)
        return workload
    }
}
