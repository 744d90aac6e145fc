/// `static-usage-limit-policy`: the same ceiling for every priority.
package struct StaticUsageLimitPolicy: UsageLimitPolicy, Equatable {
    package var threshold = 1.0

    package init(threshold: Double = 1) {
        self.threshold = threshold
    }

    package func ceiling(priority: Int) -> Double { threshold }
}
