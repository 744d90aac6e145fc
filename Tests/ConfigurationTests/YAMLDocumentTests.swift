import Testing

@testable import Configuration

/// The root and what was said about the text.
private func parse(_ text: String) -> (root: YAMLNode?, diagnostics: [String]) {
    parse(Array(text.utf8))
}

private func parse(_ text: [UInt8]) -> (root: YAMLNode?, diagnostics: [String]) {
    let diagnostics = Diagnostics(file: "f")
    let root = YAMLDocument.parse(text, diagnostics)
    return (root, diagnostics.all.map(\.description))
}

private func scalar(_ text: String, _ style: YAMLNode.ScalarStyle = .plain) -> YAMLNode {
    YAMLNode(.scalar(text, style), at: .start)
}

@Suite("YAML documents")
struct YAMLDocumentTests {
    @Test("Block and flow style, quotes and comments make the same tree, with the place of every node")
    func tree() throws {
        let text = """
            # first
            a: 1
            b:
            - x
            - {c: "1", 'd': [~, é]}
            e: |
              two
              lines
            """
        let (root, diagnostics) = parse(text)
        #expect(diagnostics.isEmpty)
        let entries = try #require(root?.entries)
        #expect(entries.map(\.key) == ["a", "b", "e"])
        #expect(entries.map(\.keyPosition.line) == [2, 3, 6])
        #expect(entries[0].value == scalar("1"))
        #expect(entries[0].value.position == SourcePosition(line: 2, column: 4))
        let elements = try #require(entries[1].value.elements)
        #expect(elements[0] == scalar("x"))
        let flow = try #require(elements[1].entries)
        #expect(flow[0].value == scalar("1", .quoted))
        #expect(flow[1].keyPosition == SourcePosition(line: 5, column: 12))
        #expect(flow[1].value.elements?.map(\.isNull) == [true, false])
        #expect(entries[2].value == scalar("two\nlines", .quoted))
    }

    @Test("Columns count characters, not bytes")
    func columns() throws {
        let root = try #require(parse("é: {ü: x}").root)
        #expect(root.entries?[0].value.entries?[0].value.position == SourcePosition(line: 1, column: 8))
    }

    @Test("An empty text, a comment and a lone document mark are null")
    func empty() {
        for text in ["", "# nothing\n", "---\n", "\n\n"] {
            let (root, diagnostics) = parse(text)
            #expect(root?.isNull == true)
            #expect(diagnostics.isEmpty)
        }
    }

    @Test("JSON is YAML")
    func json() {
        let (root, diagnostics) = parse(#"{"a": [1, true, null, "x\u00e9\n"]}"#)
        #expect(diagnostics.isEmpty)
        let elements = root?.entries?[0].value.elements
        #expect(elements == [scalar("1"), scalar("true"), scalar("null"), scalar("xé\n", .quoted)])
    }

    @Test("A duplicate key is reported where it stands; the first counts and reading goes on")
    func duplicates() {
        let (root, diagnostics) = parse("a: 1\nb: {c: 1, c: 2}\na: 3\n")
        #expect(
            diagnostics == [
                #"f:2:11: error: duplicate key "c", first on line 2"#,
                #"f:3:1: error: duplicate key "a", first on line 1"#,
            ]
        )
        #expect(root?.entries?.count == 2)
        #expect(root?.entries?[0].value == scalar("1"))
    }

    @Test("An alias is a copy of the value at its anchor")
    func aliases() {
        let (root, diagnostics) = parse("a: &x {k: 1}\nb: *x\n&s key: *s\n")
        #expect(diagnostics.isEmpty)
        #expect(root?.entries?[1].value == root?.entries?[0].value)
        #expect(root?.entries?[2].value == scalar("key"))
    }

    @Test(
        "What is refused is refused at its place",
        arguments: [
            ("a: *b", "f:1:4: error: the alias *b names no anchor before it"),
            ("a: &a [*a]", "f:1:8: error: the alias *a names no anchor before it"),
            ("a: !!str 1", "f:1:4: error: tags (!) are not supported"),
            ("a: !x [1]", "f:1:4: error: tags (!) are not supported"),
            ("? [a]\n: b", "f:1:3: error: a key must be a text"),
            ("a: &x {k: 1}\nb:\n  <<: *x", "f:3:3: error: merge keys (<<) are not supported"),
            ("a: 1\n---\nb: 2\n", "f:2:1: error: only one document is allowed"),
            ("%YAML 1.2\n---\na: 1", "f:1:1: error: directives (%) are not supported"),
            ("a: b: c", "f:1:5: error: not valid YAML: mapping values are not allowed in this context"),
            ("a:\n\t- b", "f:2:1: error: not valid YAML: found character that cannot start any token"),
            ("a: \"x", "f:1:6: error: not valid YAML: found unexpected end of stream"),
            ("a: \u{1}", "f:1:4: error: not a UTF-8 text: control characters are not allowed"),
        ]
    )
    func refused(text: String, message: String) {
        let (root, diagnostics) = parse(text)
        #expect(root == nil)
        #expect(diagnostics.count == 1)
        #expect(diagnostics.first?.hasPrefix(message) == true, "\(diagnostics)")
    }

    @Test("Invalid UTF-8 is an error at its line and column")
    func invalidUTF8() {
        let (root, diagnostics) = parse(Array("a: é\nb: ".utf8) + [0xFF])
        #expect(root == nil)
        #expect(diagnostics.first?.hasPrefix("f:2:4: error: not a UTF-8 text") == true, "\(diagnostics)")
    }

    @Test("A UTF-16 text is not guessed at")
    func utf16() {
        #expect(parse([0xFF, 0xFE, 0x61, 0x00]).root == nil)
    }

    @Test("Nesting has a limit, in block and in flow style and through aliases")
    func depth() {
        #expect(parse(String(repeating: "[", count: 64) + String(repeating: "]", count: 64)).root != nil)
        for text in [
            String(repeating: "[", count: 65) + String(repeating: "]", count: 65),
            String(repeating: "[", count: 100_000),
            String(repeating: "- ", count: 100_000) + "a",
            String(repeating: "{a: ", count: 100_000),
            String(repeating: "? ", count: 100_000),
        ] {
            let (root, diagnostics) = parse(text)
            #expect(root == nil)
            #expect(diagnostics.count == 1)
        }
        var chain = "a0: &a0 [1]\n"
        for level in 1...70 { chain += "a\(level): &a\(level) [*a\(level - 1)]\n" }
        let (root, diagnostics) = parse(chain)
        #expect(root == nil)
        #expect(diagnostics == ["f:63:12: error: nested deeper than 64 levels"])
    }

    @Test("A bomb of aliases is defused")
    func bomb() {
        var text = "a: &a [x, x, x, x, x, x, x, x, x]\n"
        var last = "a"
        for letter in "bcdefghi" {
            let aliases = Array(repeating: "*\(last)", count: 9).joined(separator: ", ")
            text += "\(letter): &\(letter) [\(aliases)]\n"
            last = String(letter)
        }
        let (root, diagnostics) = parse(text)
        #expect(root == nil)
        #expect(diagnostics.count == 1)
        #expect(diagnostics.first?.contains("aliases stand for more than 10000 values") == true)
    }

    @Test("A text over 1 MiB is refused, one of that size is read")
    func size() {
        let (root, diagnostics) = parse([UInt8](repeating: UInt8(ascii: "a"), count: 2 << 20))
        #expect(root == nil)
        #expect(diagnostics == ["f:1:1: error: larger than 1048576 bytes"])
        #expect(parse([UInt8](repeating: UInt8(ascii: "a"), count: 1 << 20)).root != nil)
    }

    @Test("Random bytes, and a valid text with random changes, never crash")
    func garbage() {
        var generator = SystemRandomNumberGenerator()
        let valid = Array("a: &x {k: [1, \"2\", 'é']}\nb: *x\n? |\n  t\n: >-\n  u\n".utf8)
        for _ in 0..<2_000 {
            _ = parse((0..<Int.random(in: 0..<64)).map { _ in UInt8.random(in: 0...255, using: &generator) })
            var changed = valid
            for _ in 0..<3 { changed[Int.random(in: changed.indices)] = UInt8.random(in: 0...127) }
            _ = parse(changed)
        }
    }
}
