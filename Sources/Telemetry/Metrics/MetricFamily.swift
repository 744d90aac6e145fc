import Bytes

/// The labels that tell the children of a family apart: a small value whose hash is cheap. What the label names are is
/// said by each exposed name (`Exposure`), so that one sample may appear under several names with differing labels.
package protocol MetricLabels: Hashable, Sendable {
    /// The child that takes every observation that has no room anywhere else.
    static var overflow: Self { get }

    /// The labels with less in them, 1 for the least that is given up: first what clients can invent without end. Nil when there is no such
    /// step before `overflow`.
    func coarsened(step: Int) -> Self?
}

extension MetricLabels {
    package func coarsened(step: Int) -> Self? { nil }
}

/// The value that stands for everything beyond a family's bound, and for values that are too long to be a label.
package let otherLabelValue = "other"

extension String {
    /// The string as a label's value; one of more than 256 bytes is `other`: clients choose model names.
    package var asLabelValue: String { utf8.count <= 256 ? self : otherLabelValue }
}

/// No labels.
package struct NoLabels: MetricLabels {
    package static var overflow: NoLabels { NoLabels() }
    package init() {}
}

/// One name under which a family is exposed. Children that this name's labels do not tell apart are added up.
package struct Exposure<Labels: MetricLabels>: Sendable {
    /// One label: its name here and where its value comes from.
    package struct Label: Sendable {
        let name: String
        let value: @Sendable (Labels) -> String

        package init(_ name: String, _ value: @escaping @Sendable (Labels) -> String) {
            self.name = name
            self.value = value
        }
    }

    let name: String
    let help: String
    let labels: [Label]

    /// Labels are written in the order of their names, whatever order they have here.
    package init(_ name: String, help: String, labels: [Label] = []) {
        self.name = name
        self.help = help
        self.labels = labels.sorted { $0.name < $1.name }
    }

    /// `a="1",b="2"`, escaped.
    func text(of labels: Labels) -> [UInt8] {
        var bytes: [UInt8] = []
        for (offset, label) in self.labels.enumerated() {
            if offset > 0 { bytes.append(UInt8(ascii: ",")) }
            bytes.append(label: label.name, value: label.value(labels))
        }
        return bytes
    }
}

/// The children of one metric, by labels, and the names they are exposed under.
///
/// Resolving a child takes a lock and a dictionary look-up; the child itself is then used without either.
package final class MetricFamily<Labels: MetricLabels, Child: Instrument>: Sendable {
    struct Entry {
        let child: Child
        /// The label text of each exposure.
        let texts: [[UInt8]]
    }

    private let layout: Child.Layout
    let exposures: [Exposure<Labels>]
    private let entries: Lock<BoundedTable<Labels, Entry>>

    init(_ exposures: [Exposure<Labels>], layout: Child.Layout, limit: Int) {
        self.exposures = exposures
        self.layout = layout
        entries = Lock(BoundedTable(limit: limit))
    }

    /// The child of `labels`, made on first use; that of coarser labels when there is no room for another (`BoundedTable`).
    package func child(_ labels: Labels) -> Child {
        entries.withLock { entries in
            entries.value(of: labels) { labels in
                Entry(child: Child(layout: layout), texts: exposures.map { $0.text(of: labels) })
            }.child
        }
    }

    /// The readings under one exposure, sorted by label text, those with equal text added up.
    func samples(exposure: Int) -> [(labels: [UInt8], reading: Child.Reading)] {
        let entries = entries.withLock { Array($0.values.values) }
        let sorted = entries.sorted { $0.texts[exposure].lexicographicallyPrecedes($1.texts[exposure]) }
        var samples: [(labels: [UInt8], reading: Child.Reading)] = []
        for entry in sorted {
            let reading = entry.child.read()
            if !entry.texts[exposure].isEmpty, Child.isSilent(reading) { continue }
            if let last = samples.last, last.labels == entry.texts[exposure] {
                samples[samples.count - 1].reading = Child.merged(last.reading, reading)
            } else {
                samples.append((entry.texts[exposure], reading))
            }
        }
        return samples
    }
}

extension MetricFamily where Labels == NoLabels {
    /// The only child of a family without labels.
    package var only: Child { child(NoLabels()) }
}
