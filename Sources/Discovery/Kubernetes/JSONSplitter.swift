internal import Bytes

/// Cuts JSON that arrives in pieces into objects, so that no more than one of them is held at a time.
///
/// A watch is one object after the other; a list is one object whose member `items` holds them. What is around the items is kept apart as
/// `envelope`. Nothing is checked beyond where objects begin and end: whoever reads them does that.
struct JSONSplitter {
    enum Shape {
        case sequence
        case list
    }

    enum Problem: Error, Equatable {
        /// What is around the items is longer than any list's metadata.
        case longEnvelope
        /// A byte stands where no object can begin.
        case unexpectedByte(UInt8)
    }

    static let maxEnvelopeBytes = 256 << 10

    private let shape: Shape
    private let maxObjectBytes: Int
    /// The depth at which the objects begin.
    private let objectDepth: Int
    private var depth = 0
    private var isInString = false
    private var isEscaped = false
    private var isInItems = false
    /// Whether an object is being read, and whether it is too long to be kept.
    private var isInObject = false
    private var isDropped = false
    private var object: [UInt8] = []
    /// The list without its items.
    private(set) var envelope: [UInt8] = []
    /// Where the last string of the envelope began.
    private var stringStart = 0
    private var lastString: Range<Int> = 0..<0

    /// - Parameter maxObjectBytes: longer objects are left out and counted.
    init(_ shape: Shape, maxObjectBytes: Int) {
        self.shape = shape
        self.maxObjectBytes = maxObjectBytes
        objectDepth = shape == .list ? 2 : 0
    }

    /// How many objects were longer than what is taken.
    private(set) var droppedCount = 0

    /// Whether the last piece ended between two objects, or with the list.
    var isComplete: Bool {
        depth == 0 && !isInString && !isInObject && (shape == .sequence || !envelope.isEmpty)
    }

    /// Takes the next piece and runs `body` with each object that it completes.
    mutating func feed(_ piece: [UInt8], _ body: ([UInt8]) -> Void) throws(Problem) {
        let bytes = piece.span.bytes
        var offset = 0
        while offset < bytes.byteCount {
            if isInObject {
                offset = readObject(bytes, from: offset, body)
            } else if shape == .list && !(isInItems && depth == objectDepth) {
                try readEnvelope(bytes[offset])
                offset += 1
            } else {
                try readBetween(bytes[offset])
                // The brace is the object's first byte.
                if !isInObject { offset += 1 }
            }
        }
    }

    private mutating func readBetween(_ byte: UInt8) throws(Problem) {
        switch byte {
        case 0x20, 0x09, 0x0A, 0x0D: break
        case UInt8(ascii: ",") where shape == .list: break
        case UInt8(ascii: "{"):
            isInObject = true
            isDropped = false
        case UInt8(ascii: "]") where shape == .list:
            isInItems = false
            try readEnvelope(byte)
        default: throw .unexpectedByte(byte)
        }
    }

    /// Reads to the end of the object or of the piece.
    private mutating func readObject(_ bytes: RawSpan, from start: Int, _ body: ([UInt8]) -> Void) -> Int {
        var offset = start
        while offset < bytes.byteCount {
            if isInString {
                offset = skipString(bytes, from: offset)
                continue
            }
            let byte = bytes[offset]
            offset += 1
            switch byte {
            case UInt8(ascii: "\""): isInString = true
            case UInt8(ascii: "{"), UInt8(ascii: "["): depth += 1
            case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
            default: continue
            }
            guard depth == objectDepth, !isInString else { continue }
            keep(bytes, start..<offset)
            isInObject = false
            if isDropped { droppedCount += 1 } else { body(object) }
            object.removeAll(keepingCapacity: object.capacity <= 1 << 20)
            return offset
        }
        keep(bytes, start..<offset)
        return offset
    }

    /// Goes on within a string: behind its end, behind a backslash, or as far as is looked at in one step, so that a string of nothing but
    /// backslashes takes no longer than its length allows.
    private mutating func skipString(_ bytes: RawSpan, from start: Int) -> Int {
        if isEscaped {
            isEscaped = false
            return start + 1
        }
        let window = bytes.extracting(start..<min(start + 1024, bytes.byteCount))
        let quote = window.firstOffset(of: UInt8(ascii: "\""))
        if let backslash = window.extracting(0..<(quote ?? window.byteCount)).firstOffset(of: UInt8(ascii: "\\")) {
            isEscaped = true
            return start + backslash + 1
        }
        isInString = quote == nil
        return start + (quote.map { $0 + 1 } ?? window.byteCount)
    }

    private mutating func keep(_ bytes: RawSpan, _ range: Range<Int>) {
        guard !isDropped, range.count <= maxObjectBytes - object.count else {
            isDropped = true
            object = []
            return
        }
        bytes.extracting(range).withUnsafeBytes { object.append(contentsOf: $0) }
    }

    private mutating func readEnvelope(_ byte: UInt8) throws(Problem) {
        guard envelope.count < Self.maxEnvelopeBytes else { throw .longEnvelope }
        envelope.append(byte)
        if isInString {
            if isEscaped {
                isEscaped = false
            } else if byte == UInt8(ascii: "\\") {
                isEscaped = true
            } else if byte == UInt8(ascii: "\"") {
                isInString = false
                lastString = stringStart..<envelope.count
            }
            return
        }
        switch byte {
        case UInt8(ascii: "\""):
            isInString = true
            stringStart = envelope.count - 1
        case UInt8(ascii: "["):
            depth += 1
            isInItems = depth == objectDepth && envelope[lastString].elementsEqual("\"items\"".utf8)
        case UInt8(ascii: "{"): depth += 1
        case UInt8(ascii: "}"), UInt8(ascii: "]"): depth -= 1
        default: break
        }
    }
}
