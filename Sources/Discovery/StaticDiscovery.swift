private import Bytes
package import Pool

/// Everything that is wrong with a list of endpoints, one sentence each.
package struct EndpointListError: Error, Sendable, Equatable, CustomStringConvertible {
    package let problems: [String]

    package init(problems: [String]) {
        self.problems = problems
    }

    package var description: String { problems.joined(separator: "; ") }
}

/// A pool that is given on the command line and never changes: `--endpoints host:port,host:port`.
package enum StaticDiscovery {
    /// The endpoints of the list, named `endpoint-0`, `endpoint-1`, … in its order.
    ///
    /// - Parameter list: `host:port` separated by commas; white space around an entry is dropped; an IPv6 address stands in brackets.
    package static func endpoints(
        _ list: String,
        namespace: String = "default"
    ) throws(EndpointListError) -> [EndpointDescription] {
        var endpoints: [EndpointDescription] = []
        var problems: [String] = []
        var places: [String: Int] = [:]
        for (index, entry) in list.split(separator: ",", omittingEmptySubsequences: false).enumerated() {
            let text = String(ASCII.trimmed(entry))
            switch parse(text) {
            case .failure(let problem):
                problems.append("endpoint \(index) ('\(text)'): \(problem.text)")
            case .success(let (address, port)):
                let hostPort = Endpoint.hostPort(address: ASCII.lowercased(address), port: port)
                if let first = places.updateValue(index, forKey: hostPort) {
                    problems.append("endpoint \(index) ('\(text)'): the same as endpoint \(first)")
                }
                endpoints.append(
                    EndpointDescription(name: "endpoint-\(index)", namespace: namespace, address: address, port: port)
                )
            }
        }
        guard problems.isEmpty else { throw EndpointListError(problems: problems) }
        return endpoints
    }

    private struct Problem: Error {
        let text: String
    }

    private static func parse(_ text: String) -> Result<(address: String, port: Int), Problem> {
        func fail(_ text: String) -> Result<(address: String, port: Int), Problem> { .failure(Problem(text: text)) }
        if text.isEmpty { return fail("expected host:port") }
        if text.contains("://") { return fail("expected host:port without a scheme") }
        let address: Substring
        let rest: Substring
        if text.utf8.first == UInt8(ascii: "[") {
            guard let end = text.firstIndex(of: "]") else { return fail("'[' without ']'") }
            address = text[text.index(after: text.startIndex)..<end]
            rest = text[text.index(after: end)...]
            guard address.contains(":") else { return fail("brackets are for IPv6 addresses") }
        } else {
            let end = text.firstIndex(of: ":") ?? text.endIndex
            address = text[..<end]
            rest = text[end...]
            if rest.dropFirst().contains(":") { return fail("an IPv6 address needs brackets, as in [::1]:8000") }
        }
        if let problem = EndpointAddress.problem(String(address)) { return fail(problem) }
        guard rest.first == ":" else { return fail("the port is missing") }
        let digits = rest.dropFirst()
        guard digits.utf8.allSatisfy(ASCII.isDigit), let port = Int(digits), EndpointAddress.ports.contains(port) else {
            return fail("'\(digits)' is no port (1 to 65535)")
        }
        return .success((String(address), port))
    }
}
