internal import Bytes

/// HTTP headers in the order in which they came, repeated names included: one text and ranges into it.
package struct HeaderList: Sendable {
    private struct Entry {
        var nameStart: UInt32
        var valueStart: UInt32
        var valueEnd: UInt32
    }

    private var text: [UInt8] = []
    private var entries: [Entry] = []

    package init() {}

    package var count: Int { entries.count }

    package mutating func reserve(entries: Int, bytes: Int) {
        self.entries.reserveCapacity(entries)
        text.reserveCapacity(bytes)
    }

    package mutating func append(name: some Sequence<UInt8>, value: some Sequence<UInt8>) {
        let nameStart = UInt32(truncatingIfNeeded: text.count)
        text.append(contentsOf: name)
        let valueStart = UInt32(truncatingIfNeeded: text.count)
        text.append(contentsOf: value)
        let valueEnd = UInt32(truncatingIfNeeded: text.count)
        entries.append(Entry(nameStart: nameStart, valueStart: valueStart, valueEnd: valueEnd))
    }

    package mutating func append(_ name: String, _ value: String) {
        append(name: name.utf8, value: value.utf8)
    }

    /// The first value of the header, or nil. Names are compared without case; what is no UTF-8 in the value is repaired.
    package subscript(name: StaticString) -> String? {
        guard let entry = entries.first(where: { matches($0, name) }) else { return nil }
        return value(of: entry)
    }

    /// The first value of the header, for a name known only at run time. A name that is no UTF-8 is found by none.
    package func value(named name: String) -> String? {
        var name = name
        return name.withUTF8 { name in
            entries.first { entry in
                Int(entry.valueStart - entry.nameStart) == name.count
                    && name.indices.allSatisfy {
                        ASCII.lowercased(text[Int(entry.nameStart) + $0]) == ASCII.lowercased(name[$0])
                    }
            }.map { value(of: $0) }
        }
    }

    package func contains(_ name: StaticString) -> Bool {
        entries.contains { matches($0, name) }
    }

    /// Whether the first value of the header has `part` somewhere in it, without case. `part` must have no upper-case letters.
    package func value(of name: StaticString, contains part: StaticString) -> Bool {
        guard let entry = entries.first(where: { matches($0, name) }) else { return false }
        let last = Int(entry.valueEnd) - part.utf8CodeUnitCount
        var start = Int(entry.valueStart)
        while start <= last {
            if isEqualIgnoringCase(part, at: start) { return true }
            start += 1
        }
        return false
    }

    /// Every name, as it came, repeated ones too.
    package var names: [String] {
        entries.map { name(of: $0) }
    }

    /// The names, as they came and each spelling once, that are one of `wanted` or begin with `prefix`, without case. Those to look for must
    /// have no upper-case letters.
    package func names(among wanted: [StaticString], orBeginningWith prefix: StaticString) -> [String] {
        var found: [String] = []
        for entry in entries where beginsWith(prefix, entry) || wanted.contains(where: { matches(entry, $0) }) {
            let name = name(of: entry)
            if !found.contains(name) { found.append(name) }
        }
        return found
    }

    /// Calls `body` with every name and value in order, as bytes.
    package func forEach(_ body: (_ name: ArraySlice<UInt8>, _ value: ArraySlice<UInt8>) -> Void) {
        for entry in entries {
            let nameEnd = Int(entry.valueStart)
            body(text[Int(entry.nameStart)..<nameEnd], text[nameEnd..<Int(entry.valueEnd)])
        }
    }

    /// Every name and value in order.
    package var pairs: [(name: String, value: String)] {
        entries.map {
            (name(of: $0), value(of: $0))
        }
    }

    private func name(of entry: Entry) -> String {
        String(decoding: text[Int(entry.nameStart)..<Int(entry.valueStart)], as: UTF8.self)
    }

    private func value(of entry: Entry) -> String {
        String(decoding: text[Int(entry.valueStart)..<Int(entry.valueEnd)], as: UTF8.self)
    }

    private func matches(_ entry: Entry, _ name: StaticString) -> Bool {
        Int(entry.valueStart - entry.nameStart) == name.utf8CodeUnitCount
            && isEqualIgnoringCase(name, at: Int(entry.nameStart))
    }

    private func beginsWith(_ prefix: StaticString, _ entry: Entry) -> Bool {
        Int(entry.valueStart - entry.nameStart) >= prefix.utf8CodeUnitCount
            && isEqualIgnoringCase(prefix, at: Int(entry.nameStart))
    }

    /// `lowercase` must have no upper-case letters.
    private func isEqualIgnoringCase(_ lowercase: StaticString, at start: Int) -> Bool {
        lowercase.withUTF8Buffer { expected in
            for (offset, byte) in expected.enumerated() where ASCII.lowercased(text[start + offset]) != byte {
                return false
            }
            return true
        }
    }
}
