package import Bytes

/// Changes a response's body while it passes, however its bytes are split.
package protocol ResponseEditor: Sendable {
    /// The bytes to send in place of `chunk`, or nil when they are the chunk's own.
    ///
    /// - Parameter isLast: whether the body ends with the chunk (which may be empty). Nothing is held back then.
    mutating func process(_ chunk: RawSpan, isLast: Bool) -> ByteBuffer?
}

/// Several editors, each of which gets what the one before it makes.
package struct ResponseEditors: ResponseEditor {
    private var editors: [any ResponseEditor]

    package init(_ editors: [any ResponseEditor] = []) {
        self.editors = editors
    }

    package var isEmpty: Bool { editors.isEmpty }

    package mutating func append(_ editor: some ResponseEditor) {
        editors.append(editor)
    }

    package mutating func process(_ chunk: RawSpan, isLast: Bool) -> ByteBuffer? {
        process(chunk, isLast: isLast, from: 0)
    }

    private mutating func process(_ chunk: RawSpan, isLast: Bool, from index: Int) -> ByteBuffer? {
        guard index < editors.count else { return nil }
        guard let output = editors[index].process(chunk, isLast: isLast) else {
            return process(chunk, isLast: isLast, from: index + 1)
        }
        let further = process(output, isLast: isLast, from: index + 1)
        switch consume further {
        case .some(let last): return last
        case .none: return output
        }
    }

    private mutating func process(_ earlier: borrowing ByteBuffer, isLast: Bool, from index: Int) -> ByteBuffer? {
        process(earlier.bytes, isLast: isLast, from: index)
    }
}
