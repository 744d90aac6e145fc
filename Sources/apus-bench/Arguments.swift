/// `--name value`, `--name=value` and bare `--name`, taken one by one; `finish` complains about what nobody took.
struct Arguments {
    private var values: [(name: String, value: String?)] = []

    /// `flags` are the names that take no value.
    init(_ words: [String], flags: Set<String>) throws {
        var index = 0
        while index < words.count {
            let word = words[index]
            index += 1
            guard word.hasPrefix("--") else { throw BenchError("unexpected argument \(word)") }
            let body = word.dropFirst(2)
            if let equals = body.firstIndex(of: "=") {
                values.append((String(body[..<equals]), String(body[body.index(after: equals)...])))
            } else if flags.contains(String(body)) {
                values.append((String(body), nil))
            } else {
                guard index < words.count else { throw BenchError("\(word) needs a value") }
                values.append((String(body), words[index]))
                index += 1
            }
        }
    }

    mutating func flag(_ name: String) -> Bool {
        let isGiven = values.contains { $0.name == name && $0.value != "false" }
        values.removeAll { $0.name == name }
        return isGiven
    }

    mutating func string(_ name: String) -> String? {
        strings(name).last
    }

    mutating func strings(_ name: String) -> [String] {
        let found = values.filter { $0.name == name }.compactMap(\.value)
        values.removeAll { $0.name == name }
        return found
    }

    mutating func integer(_ name: String, default value: Int, in range: ClosedRange<Int> = 1...1_000_000_000) throws
        -> Int
    {
        guard let text = string(name) else { return value }
        guard let number = Int(text), range.contains(number) else {
            throw BenchError("--\(name) must be a number from \(range.lowerBound) to \(range.upperBound)")
        }
        return number
    }

    func finish() throws {
        if let rest = values.first { throw BenchError("unknown option --\(rest.name)") }
    }
}
