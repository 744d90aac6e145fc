/// Whose page could not be read, and by whom.
struct ExtractionLabels: MetricLabels {
    let source: String
    let extractor: String

    static var overflow: ExtractionLabels {
        ExtractionLabels(source: otherLabelValue, extractor: otherLabelValue)
    }

    static var all: [Exposure<ExtractionLabels>.Label] {
        [.init("source_type") { $0.source }, .init("extractor_type") { $0.extractor }]
    }
}
