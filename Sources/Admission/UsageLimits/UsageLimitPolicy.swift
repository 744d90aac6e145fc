/// Says how full the pool may be for requests of a priority to go.
package protocol UsageLimitPolicy: Sendable {
    /// Requests of this priority wait while the saturation is not below.
    func ceiling(priority: Int) -> Double
}
