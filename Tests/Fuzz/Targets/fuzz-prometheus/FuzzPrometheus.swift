import Bytes
import FuzzSupport
import Pool
import Scraping

private let pages = [EngineDialect.vllm, .sglang, .tensorRTServe, .tritonTensorRT].map { MetricsPage($0) }

/// A metrics page of any engine: what is read is always sensible, and lines that say nothing change nothing.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzPrometheus(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    // A copy of its own, so that the sanitizer sees a read beyond the page.
    let page = Array(UnsafeBufferPointer(start: data, count: size))
    for reader in pages {
        let update = page.withRawSpan { reader.read($0) }
        check(update)
        let framed = Array("# HELP x y\n\n".utf8) + page + Array("\n# a comment behind the page\n".utf8)
        FuzzSupport.check(framed.withRawSpan { reader.read($0) } == update, "comments change \(update)")
    }
    return 0
}

private func check(_ update: MetricsUpdate) {
    let counts = [update.waitingQueueSize, update.runningRequests, update.cacheBlockSize, update.cacheBlockCount]
    for case let count? in counts + [update.adapters?.maximum] {
        FuzzSupport.check(count >= 0 && count <= 1_000_000_000, "\(update)")
    }
    if let usage = update.kvCacheUsage { FuzzSupport.check(usage.isFinite && usage >= 0, "\(update)") }
    for name in (update.adapters?.active ?? []) + (update.adapters?.waiting ?? []) {
        FuzzSupport.check(!name.isEmpty, "\(update)")
    }
}
