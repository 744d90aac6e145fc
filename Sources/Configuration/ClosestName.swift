/// Finds what somebody probably meant to write.
package enum ClosestName {
    private static let searchLimit = 1_000

    /// The known name with the fewest edits from `name` (insertions, deletions, replacements, swaps of neighbours; letters of either case
    /// are one letter), if that is at most a third of its length; of several the first. Only `searchLimit` names are looked at.
    package static func of(_ name: String, among known: some Sequence<String>) -> String? {
        let given = Array(name.lowercased().utf8)
        guard !given.isEmpty, given.count <= 64 else { return nil }
        var best: (name: String, distance: Int)?
        for candidate in known.prefix(searchLimit) {
            let letters = Array(candidate.lowercased().utf8)
            let limit = max(1, max(given.count, letters.count) / 3)
            guard letters.count <= 64, abs(letters.count - given.count) <= limit else { continue }
            let distance = distance(given, letters)
            if distance <= limit, best.map({ distance < $0.distance }) ?? true {
                best = (candidate, distance)
            }
        }
        return best?.name
    }

    /// `; did you mean "x"?`, or nothing.
    package static func hint(for name: String, among known: some Sequence<String>) -> String {
        of(name, among: known).map { "; did you mean \(quoted($0))?" } ?? ""
    }

    private static func distance(_ a: [UInt8], _ b: [UInt8]) -> Int {
        var beforePrevious: [Int] = []
        var previous = Array(0...b.count)
        for i in a.indices {
            var current = [i + 1]
            current.reserveCapacity(b.count + 1)
            for j in b.indices {
                var edits = min(previous[j + 1], current[j]) + 1
                edits = min(edits, previous[j] + (a[i] == b[j] ? 0 : 1))
                if i > 0, j > 0, a[i] == b[j - 1], a[i - 1] == b[j] {
                    edits = min(edits, beforePrevious[j - 1] + 1)
                }
                current.append(edits)
            }
            beforePrevious = previous
            previous = current
        }
        return previous[b.count]
    }
}
