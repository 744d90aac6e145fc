private import Bytes

/// Makes spans of requests and keeps them until they are fetched for export. Never waits: what does not fit is dropped
/// and counted.
package final class Tracer: Sendable {
    private struct State {
        var spans: [[UInt8]] = []
        var dropped = 0
        var exported = 0
    }

    /// Spans that wait, at most; about half a kilobyte each.
    static let capacity = 4096
    /// Spans of one export, at most.
    static let batchSize = 512

    package let settings: TracingSettings
    private let state = Lock(State())

    package init(_ settings: TracingSettings) {
        self.settings = settings
    }

    // MARK: Requests

    /// A request came, with this `traceparent` or none.
    package func begin(
        joining header: String?,
        using generator: inout some RandomNumberGenerator
    ) -> TraceContext {
        let parent = header.flatMap { TraceParent($0) }
        // Ids of zeros mean that there is none.
        let (high, low) = parent.map { ($0.traceHigh, $0.traceLow) } ?? (generator.next(), generator.next() | 1)
        return TraceContext(
            traceHigh: high,
            traceLow: low,
            spanID: generator.next() | 1,
            parentID: parent?.spanID ?? 0,
            isSampled: settings.sampler.samples(traceLow: low, parent: parent)
        )
    }

    /// The request is over: its spans wait for export, if it is sampled.
    func finish(_ record: RequestRecord) {
        guard let trace = record.trace, trace.isSampled else { return }
        let spans = SpanJSON.spans(of: record, trace)
        state.withLock { state in
            for span in spans {
                if state.spans.count < Self.capacity {
                    state.spans.append(span)
                } else {
                    state.dropped += 1
                }
            }
        }
    }

    // MARK: Export

    /// The spans of the next export as the body of an OTLP request, and how many; nil when none waits.
    package func takeBatch() -> (body: [UInt8], count: Int)? {
        let spans = state.withLock { state in
            let batch = Array(state.spans.prefix(Self.batchSize))
            state.spans.removeFirst(batch.count)
            return batch
        }
        guard !spans.isEmpty else { return nil }
        return (SpanJSON.request(spans, resource: settings.resource), spans.count)
    }

    /// How the export of so many spans ended.
    package func exported(_ count: Int, _ succeeded: Bool) {
        state.withLock { state in
            if succeeded { state.exported += count } else { state.dropped += count }
        }
    }

    package var exportedSpans: Int { state.withLock { $0.exported } }
    /// Those that found the queue full, and those whose export failed.
    package var droppedSpans: Int { state.withLock { $0.dropped } }
}
