internal import Bytes
package import Pool

/// A response header that names the endpoint which a session belongs to: base64 of `namespace/name`. Clients send it back as it is.
package struct SessionToken: Sendable, Equatable {
    package static let defaultHeader = "x-session-token"

    /// In lower case.
    package var header: String
    /// The profile whose pick is named; nil for where the request went.
    package var profile: String?

    package init(header: String = defaultHeader, profile: String? = nil) {
        self.header = header
        self.profile = profile
    }

    package static func value(for endpoint: Endpoint) -> String {
        Base64.encode(Array("\(endpoint.identity.namespace)/\(endpoint.identity.name)".utf8))
    }

    /// The position of the endpoint that the request's token names; nil without a token, with one that is none, and when its endpoint is no
    /// candidate.
    func position(in candidates: Candidates, _ request: SchedulingRequest) -> Int? {
        // A longer name than any endpoint can have is not worth decoding.
        guard let text = request.header(header), !text.isEmpty, text.utf8.count <= 1_024,
            let bytes = Base64.decode(text), let slash = bytes.firstIndex(of: UInt8(ascii: "/"))
        else { return nil }
        return candidates.list.indices.first { position in
            let identity = candidates.endpoint(position).identity
            return identity.name.utf8.elementsEqual(bytes[(slash + 1)...])
                && identity.namespace.utf8.elementsEqual(bytes[..<slash])
        }
    }
}
