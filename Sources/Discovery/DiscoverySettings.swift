/// Where a configuration says that the endpoints are listed.
package enum DiscoverySettings: Sendable, Equatable {
    case file(FileDiscoverySettings)
    case dns(DNSDiscoverySettings)
}
