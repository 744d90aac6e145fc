/// The pool as its gauges show it.
package struct PoolReading: Sendable {
    package struct Endpoint: Sendable {
        /// The endpoint's name (a pod's, in Kubernetes).
        package var name: String
        package var waitingQueueSize: Int
        package var runningRequests: Int
        /// 0...1.
        package var kvCacheUsage: Double

        package init(name: String, waitingQueueSize: Int, runningRequests: Int, kvCacheUsage: Double) {
            self.name = name
            self.waitingQueueSize = waitingQueueSize
            self.runningRequests = runningRequests
            self.kvCacheUsage = kvCacheUsage
        }
    }

    /// The pool's name.
    package var name: String
    package var endpoints: [Endpoint]

    package init(name: String, endpoints: [Endpoint]) {
        self.name = name
        self.endpoints = endpoints
    }
}

/// Means, standard deviations (of the whole population, as the router computes them) and counts over a pool.
enum PoolGauges {
    private typealias Value = @Sendable (PoolReading.Endpoint) -> Double

    static func expose(in registry: MetricsRegistry, _ read: @escaping @Sendable () -> PoolReading) {
        let kvCache: Value = { $0.kvCacheUsage }
        let queue: Value = { Double($0.waitingQueueSize) }
        let running: Value = { Double($0.runningRequests) }
        for (name, of, value) in [
            ("kv_cache_utilization", "the share of KV cache in use", kvCache),
            ("queue_size", "waiting requests", queue),
            ("running_requests", "running requests", running),
        ] {
            let average: @Sendable () -> [MetricsRegistry.Sample] = {
                let pool = read()
                return [sample(pool, mean(pool.endpoints.map(value)))]
            }
            for prefix in ["inference_pool_average_", "llm_d_epp_average_"] {
                registry.computedGauge(prefix + name, help: "Mean over the pool of \(of).", average)
            }
            registry.computedGauge("llm_d_epp_std_dev_" + name, help: "Standard deviation over the pool of \(of).") {
                let pool = read()
                return [sample(pool, standardDeviation(pool.endpoints.map(value)))]
            }
        }
        for name in ["inference_pool_ready_pods", "llm_d_epp_ready_endpoints"] {
            registry.computedGauge(name, help: "Endpoints of the pool.") {
                let pool = read()
                return [sample(pool, Double(pool.endpoints.count))]
            }
        }
        for (name, label) in [
            ("inference_pool_per_pod_queue_size", "model_server_pod"),
            ("llm_d_epp_per_endpoint_queue_size", "model_server_endpoint"),
        ] {
            registry.computedGauge(name, help: "Waiting requests of one endpoint.") {
                let pool = read()
                return pool.endpoints.map { endpoint in
                    .init(labels: [("name", pool.name), (label, endpoint.name)], value: queue(endpoint))
                }
            }
        }
    }

    private static func sample(_ pool: PoolReading, _ value: Double) -> MetricsRegistry.Sample {
        .init(labels: [("name", pool.name)], value: value)
    }

    private static func mean(_ values: [Double]) -> Double {
        values.isEmpty ? 0 : values.reduce(0, +) / Double(values.count)
    }

    private static func standardDeviation(_ values: [Double]) -> Double {
        let center = mean(values)
        return mean(values.map { ($0 - center) * ($0 - center) }).squareRoot()
    }
}
