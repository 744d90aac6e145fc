private import Bytes
private import Glibc

/// The address of a model server as a source of endpoints may write it.
enum EndpointAddress {
    static let ports = 1...65535

    /// Why the text is no address to connect to, or nil. An address is an IPv4 or IPv6 literal (without brackets or a zone) or a host name.
    static func problem(_ text: String) -> String? {
        if text.isEmpty { return "the address is empty" }
        if text.utf8.contains(UInt8(ascii: ":")) {
            return isIPv6(text) ? nil : "'\(text)' is no IPv6 address"
        }
        // What looks like a number is meant as an IPv4 address, never as a name.
        if text.utf8.allSatisfy({ ASCII.isDigit($0) || $0 == UInt8(ascii: ".") }) {
            return isIPv4(text) ? nil : "'\(text)' is no IPv4 address"
        }
        return isHostName(text) ? nil : "'\(text)' is no IP address and no host name"
    }

    static func isLiteral(_ text: String) -> Bool {
        isIPv4(text) || isIPv6(text)
    }

    private static func isIPv4(_ text: String) -> Bool {
        var address = in_addr()
        return inet_pton(AF_INET, text, &address) == 1
    }

    /// Of 16 bytes.
    static func text(ofIPv6 bytes: [UInt8]) -> String {
        var text = [CChar](repeating: 0, count: Int(INET6_ADDRSTRLEN))
        guard bytes.count == 16, inet_ntop(AF_INET6, bytes, &text, socklen_t(text.count)) != nil else { return "" }
        return String(decoding: text.prefix { $0 != 0 }.map { UInt8(bitPattern: $0) }, as: UTF8.self)
    }

    private static func isIPv6(_ text: String) -> Bool {
        var address = in6_addr()
        return inet_pton(AF_INET6, text, &address) == 1
    }

    /// RFC 1123, and underscores as container networks allow them.
    private static func isHostName(_ text: String) -> Bool {
        text.utf8.count <= 253
            && text.utf8.split(separator: UInt8(ascii: "."), omittingEmptySubsequences: false).allSatisfy { label in
                let hyphen = UInt8(ascii: "-")
                return (1...63).contains(label.count) && label.first != hyphen && label.last != hyphen
                    && label.allSatisfy { byte in
                        ASCII.isDigit(byte) || ASCII.lowercased(byte) &- 0x61 < 26 || byte == hyphen
                            || byte == UInt8(ascii: "_")
                    }
            }
    }
}
