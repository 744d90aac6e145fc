import Glibc

/// Finds the end of HTTP/1.1 messages in what a connection delivers, in whatever pieces, and counts their bodies.
///
/// It knows what keep-alive between well-meaning programs needs: `content-length` and `chunked`. Everything else is an error.
struct HTTPMessageReader {
    enum Kind {
        case request
        case reply
    }

    struct Malformed: Error, CustomStringConvertible {
        let description: String
    }

    private enum State {
        case head
        case body(left: Int)
        /// Within the line that tells a chunk's size; whether the size has ended, as at a `;`.
        case chunkSize(Int, digits: Int, isOver: Bool)
        case chunk(left: Int)
        /// The CR and LF after a chunk's data.
        case chunkEnd(left: Int)
        /// Lines after the last chunk; how many bytes the current one has.
        case trailers(lineLength: Int)
        case done
    }

    private static let maximumHeadBytes = 65_536
    private static let maximumChunkBytes = 1 << 40

    private let kind: Kind
    private var state = State.head
    private var head: [UInt8] = []
    /// How many bytes of the head's end have come.
    private var endBytes = 0

    /// A reply's status code; 0 before it is known, and for requests.
    private(set) var status = 0
    /// A request's path with the query; empty before it is known, and for replies.
    private(set) var path = ""
    /// Bytes of the body so far, without the chunks' frames.
    private(set) var bodyBytes = 0
    /// Whether the sender means to close the connection after this message.
    private(set) var isLast = false

    init(_ kind: Kind) {
        self.kind = kind
    }

    var isDone: Bool {
        if case .done = state { true } else { false }
    }

    /// Whether nothing of a message has come yet.
    var isUntouched: Bool {
        if case .head = state { head.isEmpty } else { false }
    }

    /// Ready for the next message of the same connection.
    mutating func reset() {
        state = .head
        head.removeAll(keepingCapacity: true)
        endBytes = 0
        status = 0
        path = ""
        bodyBytes = 0
        isLast = false
    }

    /// Takes the next bytes, up to the message's end at most, and says how many it took.
    mutating func read(_ bytes: UnsafeRawBufferPointer) throws(Malformed) -> Int {
        var position = 0
        while position < bytes.count {
            switch state {
            case .done: return position
            case .head: try readHead(bytes, &position)
            case .body(let left):
                let count = min(left, bytes.count - position)
                position += count
                bodyBytes += count
                state = count == left ? .done : .body(left: left - count)
            case .chunk(let left):
                let count = min(left, bytes.count - position)
                position += count
                bodyBytes += count
                state = count == left ? .chunkEnd(left: 2) : .chunk(left: left - count)
            case .chunkEnd(let left):
                guard bytes[position] == (left == 2 ? 0x0D : 0x0A) else {
                    throw Malformed(description: "a chunk is longer than it says")
                }
                position += 1
                state = left == 2 ? .chunkEnd(left: 1) : .chunkSize(0, digits: 0, isOver: false)
            case .chunkSize: try readChunkSize(bytes, &position)
            case .trailers(let lineLength):
                let byte = bytes[position]
                position += 1
                if byte == 0x0A {
                    state = lineLength == 0 ? .done : .trailers(lineLength: 0)
                } else if byte != 0x0D {
                    state = .trailers(lineLength: lineLength + 1)
                }
            }
        }
        return position
    }

    private mutating func readChunkSize(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) throws(Malformed) {
        guard case .chunkSize(let size, let digits, let isOver) = state else { return }
        let byte = bytes[position]
        position += 1
        if byte == 0x0A {
            guard digits > 0 else { throw Malformed(description: "a chunk without a size") }
            state = size == 0 ? .trailers(lineLength: 0) : .chunk(left: size)
        } else if let digit = Character(Unicode.Scalar(byte)).hexDigitValue, !isOver {
            let next = size * 16 + digit
            guard next <= Self.maximumChunkBytes else { throw Malformed(description: "a chunk that is too large") }
            state = .chunkSize(next, digits: digits + 1, isOver: false)
        } else {
            guard digits > 0 else { throw Malformed(description: "a chunk's size is no number") }
            state = .chunkSize(size, digits: digits, isOver: true)
        }
    }

    // MARK: The head

    private mutating func readHead(_ bytes: UnsafeRawBufferPointer, _ position: inout Int) throws(Malformed) {
        let start = position
        var isWhole = false
        while position < bytes.count, !isWhole {
            let byte = bytes[position]
            position += 1
            // How much of CR LF CR LF has come.
            switch (byte, endBytes) {
            case (0x0D, 0), (0x0D, 2), (0x0A, 1): endBytes += 1
            case (0x0A, 3): isWhole = true
            default: endBytes = byte == 0x0D ? 1 : 0
            }
        }
        head.append(contentsOf: bytes[start..<position])
        if isWhole { return try endHead() }
        guard head.count < Self.maximumHeadBytes else { throw Malformed(description: "a head without an end") }
    }

    private mutating func endHead() throws(Malformed) {
        let lines = String(decoding: head, as: UTF8.self).split(separator: "\r\n")
        let words = lines.first?.split(separator: " ", omittingEmptySubsequences: false) ?? []
        switch kind {
        case .reply:
            guard words.count >= 2, words[0].hasPrefix("HTTP/1."), let code = Int(words[1]) else {
                throw Malformed(description: "no HTTP reply: \(lines.first ?? "")")
            }
            status = code
        case .request:
            guard words.count == 3, words[2].hasPrefix("HTTP/1.") else {
                throw Malformed(description: "no HTTP request: \(lines.first ?? "")")
            }
            path = String(words[1])
        }
        var length: Int?
        var isChunked = false
        for line in lines.dropFirst() {
            guard let colon = line.firstIndex(of: ":") else { throw Malformed(description: "no header: \(line)") }
            let value = line[line.index(after: colon)...].drop { $0 == " " }.lowercased()
            switch line[..<colon].lowercased() {
            case "content-length":
                guard let number = Int(value), number >= 0 else {
                    throw Malformed(description: "content-length: \(value)")
                }
                length = number
            case "transfer-encoding": isChunked = value.hasSuffix("chunked")
            case "connection": isLast = value == "close"
            default: break
            }
        }
        // What comes before the reply proper.
        if kind == .reply, (100..<200).contains(status) { return reset() }
        let hasNoBody = kind == .reply && (status == 204 || status == 304)
        if hasNoBody {
            state = .done
        } else if isChunked {
            state = .chunkSize(0, digits: 0, isOver: false)
        } else if let length {
            state = length == 0 ? .done : .body(left: length)
        } else if kind == .request {
            state = .done
        } else {
            throw Malformed(description: "a reply whose end only the connection's end would tell")
        }
    }
}
