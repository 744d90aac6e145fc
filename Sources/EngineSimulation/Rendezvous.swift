/// Where prefills and decodes that are sent at the same time find each other, by a room, a transfer id or a request id.
///
/// Both may come first. A prefill is announced, then ready, then taken by its decode, once; a decode that comes before its prefill is ready
/// waits. `Decode` is what the caller needs to answer it.
package struct Rendezvous<Decode: Sendable>: Sendable {
    private enum Meeting: Sendable {
        /// The prefill is being computed, or has not come yet.
        case waits(isAnnounced: Bool, decode: Decode?)
        case ready(tokens: Int)
    }

    package enum Join: Sendable {
        /// The prefill has ended; its KV is this decode's.
        case ready(tokens: Int)
        case waits
        /// Another decode is there already.
        case taken
    }

    private var meetings: [String: Meeting] = [:]

    package init() {}

    /// Meetings that are not over.
    package var count: Int { meetings.count }

    /// A prefill has arrived.
    ///
    /// - Returns: false when there is one under this name.
    package mutating func announce(_ key: String) -> Bool {
        switch meetings[key] {
        case nil: meetings[key] = .waits(isAnnounced: true, decode: nil)
        case .waits(isAnnounced: false, let decode): meetings[key] = .waits(isAnnounced: true, decode: decode)
        default: return false
        }
        return true
    }

    /// A prefill has ended with so many tokens.
    ///
    /// - Returns: the decode that waits for it; the meeting is over then.
    package mutating func ready(_ key: String, tokens: Int) -> Decode? {
        if case .waits(_, let decode?) = meetings[key] {
            meetings[key] = nil
            return decode
        }
        meetings[key] = .ready(tokens: tokens)
        return nil
    }

    /// A decode has arrived.
    package mutating func join(_ key: String, _ decode: Decode) -> Join {
        switch meetings[key] {
        case .ready(let tokens):
            meetings[key] = nil
            return .ready(tokens: tokens)
        case .waits(_, .some): return .taken
        case .waits(let isAnnounced, nil):
            meetings[key] = .waits(isAnnounced: isAnnounced, decode: decode)
            return .waits
        case nil:
            meetings[key] = .waits(isAnnounced: false, decode: decode)
            return .waits
        }
    }

    /// The prefill is no more; a decode that waits for it keeps waiting, as it does in truth.
    package mutating func prefillLeft(_ key: String) {
        switch meetings[key] {
        case .waits(_, let decode?): meetings[key] = .waits(isAnnounced: false, decode: decode)
        default: meetings[key] = nil
        }
    }

    /// The decode is no more.
    ///
    /// - Returns: what it waited with.
    package mutating func decodeLeft(_ key: String) -> Decode? {
        guard case .waits(let isAnnounced, let decode?) = meetings[key] else { return nil }
        meetings[key] = isAnnounced ? .waits(isAnnounced: true, decode: nil) : nil
        return decode
    }
}
