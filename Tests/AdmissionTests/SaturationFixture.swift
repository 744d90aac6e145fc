import Bytes
import Pool
import TestSupport

@testable import Admission

/// A pool, and how full a detector takes it to be.
struct SaturationFixture {
    let pool = Pool(stalenessThreshold: .seconds(2))
    let now = MonotonicTime(nanoseconds: 10_000_000_000)

    func scrape(_ values: [(waiting: Int, kvCache: Double)], at time: MonotonicTime) {
        for (endpoint, value) in zip(pool.snapshot.endpoints, values) {
            var update = MetricsUpdate()
            update.waitingQueueSize = value.waiting
            update.kvCacheUsage = value.kvCache
            pool.scrapeSucceeded(endpoint, pool.scrapeStarted(endpoint, at: time), update)
        }
        pool.publish()
    }

    func value(_ detector: any SaturationDetector, at time: MonotonicTime) -> Double {
        var saturation = PoolSaturation(detector)
        saturation.update(pool, at: time)
        return saturation.value
    }
}
