import Discovery
import Pool
import Testing

@Suite struct AddressResolverTests {
    private func endpoint(_ address: String) -> EndpointDescription {
        EndpointDescription(name: "a", namespace: "n", address: address, port: 8000)
    }

    @Test("An address stays as it is", arguments: ["10.0.0.1", "fd00::1"])
    func literal(address: String) {
        #expect(AddressResolver.resolved(endpoint(address)) == endpoint(address))
    }

    @Test("A name becomes an address, IPv4 before IPv6: gateways do not look names up")
    func name() {
        #expect(AddressResolver.resolved(endpoint("localhost")) == endpoint("127.0.0.1"))
    }
}
