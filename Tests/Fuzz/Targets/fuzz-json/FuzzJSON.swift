import Bytes
import FuzzSupport
import Inference

/// A request's or a response's body. What is chosen at random (splits, edits) follows from the bytes, so that an input fails every time.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzJSON(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    let document = Array(UnsafeBufferPointer(start: data, count: size))
    var generator = SeededGenerator(seed: document.withRawSpan { XXH3.hash($0) })
    checkRequest(document, &generator)
    checkUsage(document, &generator)
    checkRestorer(document, &generator)
    checkCachedTokens(document, &generator)
    checkParts(document)
    checkMedia(document)
    checkTail(document, &generator)
    return 0
}

/// The document in up to four pieces; some may be empty.
func pieces(_ document: [UInt8], _ generator: inout SeededGenerator) -> [[UInt8]] {
    let cuts = (0..<Int.random(in: 0...3, using: &generator)).map { _ in
        Int.random(in: 0...document.count, using: &generator)
    }
    let places = [0] + cuts.sorted() + [document.count]
    return zip(places, places.dropFirst()).map { Array(document[$0..<$1]) }
}
