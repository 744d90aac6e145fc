import Bytes

/// All metrics of the process, and their Prometheus text (exposition format 0.0.4).
package final class MetricsRegistry: Sendable {
    /// A value that is computed when the page is rendered.
    package struct Sample: Sendable {
        package var labels: [(name: String, value: String)]
        package var value: Double

        package init(labels: [(name: String, value: String)] = [], value: Double) {
            self.labels = labels
            self.value = value
        }
    }

    private struct Page: Sendable {
        let name: String
        let help: String
        let type: String
        /// Appends the samples; nothing when there are none.
        let render: @Sendable (inout [UInt8]) -> Void
    }

    /// The largest number of children of one family, and of those with coarser labels (`BoundedTable`).
    package static let childLimit = 1000

    private let pages = Lock<[Page]>([])

    package init() {}

    // MARK: Making metrics

    package func counter<Labels>(_ exposures: Exposure<Labels>...) -> MetricFamily<Labels, Counter> {
        let family = MetricFamily<Labels, Counter>(exposures, layout: (), limit: Self.childLimit)
        register(family, type: "counter") { $0.append(decimal: $1) }
        return family
    }

    package func gauge<Labels>(_ exposures: Exposure<Labels>...) -> MetricFamily<Labels, Gauge> {
        let family = MetricFamily<Labels, Gauge>(exposures, layout: (), limit: Self.childLimit)
        register(family, type: "gauge") { $0.append(decimal: $1) }
        return family
    }

    /// `buckets` are the upper bounds, ascending, without infinity; at most `Histogram.maximumBounds`.
    package func histogram<Labels>(
        buckets: [Double],
        _ exposures: Exposure<Labels>...
    ) -> MetricFamily<Labels, Histogram> {
        let family = MetricFamily<Labels, Histogram>(exposures, layout: buckets, limit: Self.childLimit)
        let bounds = (buckets + [Double.infinity]).map { bound in
            var text: [UInt8] = []
            text.append(text: "le=\"")
            text.append(prometheus: bound)
            text.append(text: "\"} ")
            return text
        }
        for (index, exposure) in exposures.enumerated() {
            add(exposure.name, help: exposure.help, type: "histogram") { bytes in
                for sample in family.samples(exposure: index) {
                    bytes.append(histogram: sample.reading, name: exposure.name, labels: sample.labels, bounds: bounds)
                }
            }
        }
        return family
    }

    /// A gauge that is computed at each rendering: `compute` runs on the thread that renders.
    package func computedGauge(_ name: String, help: String, _ compute: @escaping @Sendable () -> [Sample]) {
        computed(name, help: help, type: "gauge", compute)
    }

    /// A counter whose value somebody else keeps.
    package func computedCounter(_ name: String, help: String, _ compute: @escaping @Sendable () -> [Sample]) {
        computed(name, help: help, type: "counter", compute)
    }

    private func computed(
        _ name: String,
        help: String,
        type: String,
        _ compute: @escaping @Sendable () -> [Sample]
    ) {
        add(name, help: help, type: type) { bytes in
            for sample in compute() {
                var labels: [UInt8] = []
                for (offset, label) in sample.labels.sorted(by: { $0.name < $1.name }).enumerated() {
                    if offset > 0 { labels.append(UInt8(ascii: ",")) }
                    labels.append(label: label.name, value: label.value)
                }
                bytes.append(sampleName: name, labels: labels)
                bytes.append(prometheus: sample.value)
                bytes.append(UInt8(ascii: "\n"))
            }
        }
    }

    // MARK: Rendering

    /// Appends the page. Families are in the order of their names; one without children is left out.
    package func render(into bytes: inout [UInt8]) {
        let pages = pages.withLock { $0 }
        for page in pages {
            var samples: [UInt8] = []
            page.render(&samples)
            if samples.isEmpty { continue }
            bytes.append(text: "# HELP ")
            bytes.append(text: page.name)
            bytes.append(UInt8(ascii: " "))
            bytes.append(help: page.help)
            bytes.append(text: "\n# TYPE ")
            bytes.append(text: page.name)
            bytes.append(UInt8(ascii: " "))
            bytes.append(text: page.type)
            bytes.append(UInt8(ascii: "\n"))
            bytes.append(contentsOf: samples)
        }
    }

    private func register<Labels, Child>(
        _ family: MetricFamily<Labels, Child>,
        type: String,
        value: @escaping @Sendable (inout [UInt8], Child.Reading) -> Void
    ) {
        for (index, exposure) in family.exposures.enumerated() {
            add(exposure.name, help: exposure.help, type: type) { bytes in
                for sample in family.samples(exposure: index) {
                    bytes.append(sampleName: exposure.name, labels: sample.labels)
                    value(&bytes, sample.reading)
                    bytes.append(UInt8(ascii: "\n"))
                }
            }
        }
    }

    /// A name that is there already is replaced: a value may be computed by another object after a reload.
    private func add(_ name: String, help: String, type: String, _ render: @escaping @Sendable (inout [UInt8]) -> Void)
    {
        pages.withLock { pages in
            pages.removeAll { $0.name == name }
            let place = pages.firstIndex { $0.name > name } ?? pages.endIndex
            pages.insert(Page(name: name, help: help, type: type, render: render), at: place)
        }
    }
}

extension [UInt8] {
    /// `name="value"`, with the format's three escapes.
    mutating func append(label name: String, value: String) {
        append(text: name)
        append(text: "=\"")
        for byte in value.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append(text: "\\\\")
            case UInt8(ascii: "\""): append(text: "\\\"")
            case UInt8(ascii: "\n"): append(text: "\\n")
            default: append(byte)
            }
        }
        append(UInt8(ascii: "\""))
    }

    fileprivate mutating func append(help: String) {
        for byte in help.utf8 {
            switch byte {
            case UInt8(ascii: "\\"): append(text: "\\\\")
            case UInt8(ascii: "\n"): append(text: "\\n")
            default: append(byte)
            }
        }
    }

    /// `name{labels} `, without braces when there are no labels.
    fileprivate mutating func append(sampleName name: String, suffix: StaticString = "", labels: [UInt8]) {
        append(text: name)
        append(text: suffix)
        if !labels.isEmpty {
            append(UInt8(ascii: "{"))
            append(contentsOf: labels)
            append(UInt8(ascii: "}"))
        }
        append(UInt8(ascii: " "))
    }

    fileprivate mutating func append(
        histogram reading: Histogram.Reading,
        name: String,
        labels: [UInt8],
        bounds: [[UInt8]]
    ) {
        var total: UInt64 = 0
        for (bound, count) in zip(bounds, reading.buckets) {
            total &+= count
            append(text: name)
            append(text: "_bucket{")
            if !labels.isEmpty {
                append(contentsOf: labels)
                append(UInt8(ascii: ","))
            }
            append(contentsOf: bound)
            append(decimal: total)
            append(UInt8(ascii: "\n"))
        }
        append(sampleName: name, suffix: "_sum", labels: labels)
        append(prometheus: reading.sum)
        append(UInt8(ascii: "\n"))
        append(sampleName: name, suffix: "_count", labels: labels)
        append(decimal: reading.count)
        append(UInt8(ascii: "\n"))
    }
}
