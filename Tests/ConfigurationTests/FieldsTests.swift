import Testing

@testable import Configuration

/// Reads the members of `text` and returns what was said.
private func read(_ text: String, finish: Bool = true, _ body: (inout Fields) -> Void) -> [String] {
    let diagnostics = Diagnostics(file: "f")
    guard let root = YAMLDocument.parse(Array(text.utf8), diagnostics) else {
        return diagnostics.all.map(\.description)
    }
    var fields = Fields(root, diagnostics)
    body(&fields)
    if finish { fields.finish() }
    return diagnostics.all.map(\.description)
}

@Suite("Strict reading of mappings")
struct FieldsTests {
    @Test("Values of every type are read")
    func values() {
        let text = """
            s: text
            n: 12
            q: "12"
            d: 2.5
            b: true
            t: 1m30s
            m: 10Gi
            l: [x, y]
            o: {k: v, n: 1}
            e:
            """
        let said = read(text) { fields in
            #expect(fields.string("s") == "text")
            #expect(fields.integer("n") == 12)
            #expect(fields.integer("q", orText: true) == 12)
            #expect(fields.number("d", in: 0...10) == 2.5)
            #expect(fields.bool("b") == true)
            #expect(fields.duration("t", in: .zero...(.seconds(1000))) == .seconds(90))
            #expect(fields.quantity("m") == 10 << 30)
            #expect(fields.strings("l") == ["x", "y"])
            #expect(fields.stringMap("o") == ["k": "v", "n": "1"])
            #expect(fields.string("e") == nil)
            #expect(fields.integer("absent") == nil)
        }
        #expect(said.isEmpty, "\(said)")
    }

    @Test("Everything that is wrong is said at once, each at its place")
    func wrong() {
        let text = """
            s: [1]
            n: "12"
            d: abc
            b: 1
            t: 5
            r: 12
            w: leats
            l: x
            pluginsRef: y
            zzz: 1
            """
        let said = read(text) { fields in
            #expect(fields.string("s") == nil)
            #expect(fields.integer("n") == nil)
            #expect(fields.number("d", in: 0...1) == nil)
            #expect(fields.bool("b") == nil)
            #expect(fields.duration("t", in: .zero...(.seconds(1))) == nil)
            #expect(fields.integer("r", in: 0...10) == nil)
            #expect(fields.string("w", oneOf: ["least", "most"]) == nil)
            #expect(fields.list("l").isEmpty)
            #expect(fields.string("pluginRef") == nil)
        }
        #expect(
            said == [
                #"f:1:4: error: key "s" must be a text, not a list"#,
                #"f:2:4: error: key "n" must be an integer, not "12""#,
                #"f:3:4: error: key "d" must be a number, not "abc""#,
                #"f:4:4: error: key "b" must be true or false, not "1""#,
                #"f:5:4: error: key "t" must be a duration such as 50ms, 5s or 1m30s, not "5""#,
                #"f:6:4: error: key "r" must be at most 10, not 12"#,
                #"f:7:4: error: key "w" must be one of least, most, not "leats"; did you mean "least"?"#,
                #"f:8:4: error: key "l" must be a list, not "x""#,
                #"f:9:1: error: unknown key "pluginsRef"; did you mean "pluginRef"?"#,
                #"f:10:1: error: unknown key "zzz""#,
            ]
        )
    }

    @Test("What is no mapping is said to be none")
    func noMapping() {
        #expect(read("[a]") { _ in } == ["f:1:1: error: must be a mapping (key: value), not a list"])
        #expect(read("") { _ in } == [])
    }

    @Test("A flood of mistakes is cut, and says so")
    func flood() {
        let text = (0..<5_000).map { "key\($0): 1\n" }.joined()
        let said = read(text) { _ in }
        #expect(said.count == Diagnostics.limit + 1)
        #expect(said.last?.hasSuffix("4900 more not shown") == true)
    }

    @Test("A hostile name is shown on one line, cut and escaped")
    func quoting() {
        #expect(quoted("a\"b\n\u{1B}[1m") == #""a\"b\n\u{1b}[1m""#)
        #expect(quoted(String(repeating: "x", count: 1_000)).count == 63)
    }

    @Test(
        "Durations",
        arguments: [
            ("50ms", Duration.milliseconds(50)), ("5s", .seconds(5)), ("1m30s", .seconds(90)), ("1.5h", .seconds(5400)),
            ("0", .zero), ("-1s", .seconds(-1)), ("1us", .microseconds(1)), ("2µs", .microseconds(2)),
            ("5", nil), ("", nil), ("s", nil), ("5 s", nil), ("1d", nil), ("1s2", nil), ("1e3s", nil), ("--1s", nil),
            ("999999999999h", nil), ("1..5s", nil),
        ] as [(String, Duration?)]
    )
    func durations(text: String, value: Duration?) {
        #expect(ScalarReading.duration(text) == value)
    }

    @Test(
        "Quantities",
        arguments: [
            ("100", 100), ("1k", 1_000), ("10Gi", 10 << 30), ("1.5M", 1_500_000), ("1e3", 1_000), ("500m", 1),
            ("8E", 8_000_000_000_000_000_000), ("9223372036854775807", Int.max), ("16Ei", nil), ("1K", nil), ("", nil),
            ("Gi", nil), ("1 k", nil), ("0x10", nil),
        ] as [(String, Int?)]
    )
    func quantities(text: String, value: Int?) {
        #expect(ScalarReading.quantity(text) == value)
    }

    @Test(
        "Numbers of bytes are quantities, with or without a B",
        arguments: [
            ("1MiB", 1 << 20), ("64Mi", 64 << 20), ("1MB", 1_000_000), ("100", 100), ("100B", 100), ("1.5KiB", 1536),
            ("B", nil), ("1BB", nil), ("1MiBB", nil), ("MiB", nil), ("1mb", nil),
        ] as [(String, Int?)]
    )
    func byteCounts(text: String, value: Int?) {
        #expect(ScalarReading.byteCount(text) == value)
    }

    @Test("Numbers are decimal and finite; a leading zero is no integer")
    func numbers() {
        #expect(ScalarReading.integer("4e6") == 4_000_000)
        #expect(ScalarReading.integer("+5") == 5)
        for text in ["010", "1.5", "0x10", "1_000", "", "1e30", "nan"] { #expect(ScalarReading.integer(text) == nil) }
        for text in ["nan", ".inf", "inf", "1e999", "0x1p3", " 1"] { #expect(ScalarReading.number(text) == nil) }
    }

    @Test("The closest name is found over typing mistakes, and only then")
    func closest() {
        let names = ["queue-scorer", "token-load-scorer", "kv-cache-utilization-scorer"]
        #expect(ClosestName.of("queu-scorer", among: names) == "queue-scorer")
        #expect(ClosestName.of("Queue-Scroer", among: names) == "queue-scorer")
        #expect(ClosestName.of("kv-cache-utilisation-scorer", among: names) == "kv-cache-utilization-scorer")
        #expect(ClosestName.of("max-score-picker", among: names) == nil)
        #expect(ClosestName.of("", among: names) == nil)
        #expect(ClosestName.of(String(repeating: "q", count: 100_000), among: names) == nil)
    }
}
