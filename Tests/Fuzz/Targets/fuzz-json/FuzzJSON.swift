import Bytes
import FuzzSupport
import Inference

/// The first four bytes seed the choices (splits, edits), the rest is the document.
@_cdecl("LLVMFuzzerTestOneInput")
func fuzzJSON(_ data: UnsafePointer<UInt8>, _ size: Int) -> CInt {
    guard size >= 4 else { return 0 }
    let input = UnsafeBufferPointer(start: data, count: size)
    var generator = SeededGenerator(seed: input.prefix(4).reduce(0) { $0 << 8 | UInt64($1) })
    let document = Array(input.dropFirst(4))
    checkRequest(document, &generator)
    checkUsage(document, &generator)
    checkRestorer(document, &generator)
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
