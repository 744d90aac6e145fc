import Bytes
import Testing

@Suite struct ASCIITests {
    @Test("Only A to Z have lower-case forms")
    func lowercased() {
        for byte in UInt8.min...UInt8.max {
            let expected = (UInt8(ascii: "A")...UInt8(ascii: "Z")).contains(byte) ? byte + 32 : byte
            #expect(ASCII.lowercased(byte) == expected)
        }
        #expect(ASCII.lowercased("Content-TYPE é É") == "content-type é É")
        #expect(ASCII.lowercased("plain") == "plain")
    }

    @Test("White space and digits are the ASCII ones")
    func classes() {
        for byte in UInt8.min...UInt8.max {
            #expect(ASCII.isWhitespace(byte) == [9, 10, 11, 12, 13, 32].contains(byte))
            #expect(ASCII.isDigit(byte) == (48...57).contains(byte))
        }
    }

    @Test(
        "Texts are compared without regard to the case of A to Z",
        arguments: [
            ("Host", "hOST", true), ("", "", true), ("a", "ab", false), ("[", "{", false), ("É", "é", false),
            ("k", "\u{212a}", false),
        ]
    )
    func comparison(left: String, right: String, equal: Bool) {
        #expect(ASCII.equalsIgnoringCase(left, right) == equal)
    }

    @Test(
        "Trimming takes white space from both ends only",
        arguments: [(" \t a b\r\n", "a b"), ("", ""), (" ", ""), ("x", "x"), ("\u{a0}x", "\u{a0}x")]
    )
    func trimming(text: String, trimmed: String) {
        #expect(ASCII.trimmed(Substring(text)) == trimmed)
    }
}

@Suite struct HexAndBase64Tests {
    @Test("Hexadecimal digits are lower case, two per byte")
    func hex() {
        #expect(Hex.encode([0x00, 0x0F, 0xA5, 0xFF]) == "000fa5ff")
        #expect(Hex.encode([UInt8]()) == "")
    }

    @Test(
        "Base64 has the test vectors of RFC 4648",
        arguments: [
            ("", ""), ("f", "Zg=="), ("fo", "Zm8="), ("foo", "Zm9v"), ("foob", "Zm9vYg=="), ("fooba", "Zm9vYmE="),
            ("foobar", "Zm9vYmFy"),
        ]
    )
    func base64(text: String, encoded: String) {
        #expect(Base64.encode(Array(text.utf8)) == encoded)
        #expect(Base64.decode(encoded) == Array(text.utf8))
        #expect(Base64.decode(encoded.filter { $0 != "=" }) == Array(text.utf8))
    }

    @Test("Every byte survives Base64, in either alphabet")
    func base64RoundTrip() {
        let bytes = Array(UInt8.min...UInt8.max)
        for length in [253, 254, 255, 256] {
            let part = Array(bytes.suffix(length))
            let encoded = Base64.encode(part)
            #expect(Base64.decode(encoded) == part)
            let url = encoded.map { $0 == "+" ? "-" : $0 == "/" ? "_" : $0 }
            #expect(Base64.decode(String(url)) == part)
        }
    }

    @Test(
        "What is no Base64 is refused",
        arguments: ["A", "AAAAA", "A===", "Zg==Zg==", "Zm 9v", "Zm9*", "Zm9v\n", "é"]
    )
    func base64Invalid(text: String) {
        #expect(Base64.decode(text) == nil)
    }
}

@Suite struct RawSpanReadingTests {
    private let bytes = Array("hello, world".utf8)

    @Test("A byte is found from the place where the search begins")
    func firstOffset() {
        bytes.withRawSpan { span in
            #expect(span.firstOffset(of: UInt8(ascii: "o")) == 4)
            #expect(span.firstOffset(of: UInt8(ascii: "o"), from: 5) == 8)
            #expect(span.firstOffset(of: UInt8(ascii: "o"), from: 9) == nil)
            #expect(span.firstOffset(of: UInt8(ascii: "d"), from: 11) == 11)
            #expect(span.firstOffset(of: UInt8(ascii: "d"), from: 12) == nil)
            #expect(span.firstOffset(of: UInt8(ascii: "d"), from: 13) == nil)
            #expect(span[7] == UInt8(ascii: "w"))
        }
        [UInt8]().withRawSpan { #expect($0.firstOffset(of: 0) == nil) }
    }

    @Test("Prefixes and equality look at no byte outside the span")
    func comparison() {
        bytes.withRawSpan { span in
            #expect(span.starts(with: "hello") == true)
            #expect(span.starts(with: "") == true)
            #expect(span.starts(with: "world", at: 7) == true)
            #expect(span.starts(with: "world!", at: 7) == false)
            #expect(span.starts(with: "h", at: -1) == false)
            #expect(span.starts(with: "h", at: 12) == false)
            #expect(span.starts(with: "", at: 12) == true)
            #expect(span.isEqual(to: "hello, world") == true)
            #expect(span.isEqual(to: "hello, worlx") == false)
            #expect(span.isEqual(to: "hello") == false)
            #expect(span.extracting(4..<5).isEqual(to: span.extracting(8..<9)) == true)
            #expect(span.extracting(0..<2).isEqual(to: span.extracting(0..<3)) == false)
            #expect(span.extracting(0..<0).isEqual(to: span.extracting(3..<3)) == true)
        }
    }

    @Test(
        "UTF-8 is valid without overlong forms, surrogates and cut characters",
        arguments: [
            ([], true), (Array("aé€😀".utf8), true), ([0x00], true), ([0x80], false), ([0xC0, 0xAF], false),
            ([0xED, 0xA0, 0x80], false),
            ([0xF4, 0x90, 0x80, 0x80], false), ([0xE2, 0x82], false), ([0xFF], false),
        ] as [([UInt8], Bool)]
    )
    func utf8(bytes: [UInt8], valid: Bool) {
        bytes.withRawSpan { #expect($0.isValidUTF8 == valid) }
    }

    @Test("Invalid UTF-8 is repaired to replacement characters")
    func repairing() {
        #expect([0x61, 0xFF, 0x62].withRawSpan { String(repairing: $0) } == "a\u{fffd}b")
    }
}
