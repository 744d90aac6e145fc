import Testing

@testable import Certificates

@Suite("Key pairs")
struct KeyPairTests {
    private func pair(_ chain: String, _ key: String) throws(CertificateError) -> KeyPair {
        try KeyPair(certificateChain: Array(chain.utf8), privateKey: Array(key.utf8))
    }

    private func refusal(_ chain: String, _ key: String) -> String? {
        do {
            _ = try pair(chain, key)
            return nil
        } catch {
            return error.description
        }
    }

    @Test("A self-signed pair is PEM, belongs together, and is another one each time")
    func selfSigned() throws {
        let one = try KeyPair.selfSigned(names: ["localhost"], addresses: ["127.0.0.1"])
        let two = try KeyPair.selfSigned(names: ["localhost"], addresses: ["127.0.0.1"])
        #expect(one.certificateChain.hasPrefix("-----BEGIN CERTIFICATE-----\n"))
        #expect(one.privateKey.hasPrefix("-----BEGIN PRIVATE KEY-----\n"))
        #expect(!one.hasExpired)
        #expect(try pair(one.certificateChain, one.privateKey) == one)
        #expect(one.certificateChain != two.certificateChain)
        #expect(one.privateKey != two.privateKey)
    }

    @Test("Names that are none are left out, and cannot add other entries")
    func oddNames() throws {
        let odd = ["", ".", "a,DNS:b", "a b", "ä", String(repeating: "a", count: 64), "a..b", "*.x", "dirName:x"]
        for name in odd { _ = try KeyPair.selfSigned(names: [name], addresses: ["no address", "1.2.3", "::g"]) }
        _ = try KeyPair.selfSigned(names: odd + ["good-name_1.example"], addresses: ["::1", "10.0.0.1", "10.0.0.1"])
    }

    @Test("A certificate whose time is over can be used, and says so")
    func expired() throws {
        let pair = try KeyPair.selfSigned(names: ["a"], addresses: [], lifetime: .seconds(-60))
        #expect(pair.hasExpired)
    }

    @Test("A chain is read to its end, and the key must be that of its first certificate")
    func chain() throws {
        let own = try KeyPair.selfSigned(names: ["a"], addresses: [])
        let issuer = try KeyPair.selfSigned(names: ["b"], addresses: [])
        _ = try pair("some text\n" + own.certificateChain + issuer.certificateChain, own.privateKey)
        #expect(refusal(issuer.certificateChain + own.certificateChain, own.privateKey) != nil)
        let torn = own.certificateChain + issuer.certificateChain.dropLast(100)
        #expect(refusal(torn, own.privateKey)?.hasPrefix("not a certificate") == true)
    }

    @Test("A certificate with another's key is refused")
    func mismatch() throws {
        let one = try KeyPair.selfSigned(names: ["a"], addresses: [])
        let two = try KeyPair.selfSigned(names: ["a"], addresses: [])
        let text = refusal(one.certificateChain, two.privateKey)
        #expect(text == "the private key cannot be used with the certificate: key values mismatch")
    }

    @Test("What is no PEM, is cut off, or has a zero byte is refused")
    func garbage() throws {
        let good = try KeyPair.selfSigned(names: ["a"], addresses: [])
        #expect(refusal("", good.privateKey) == "there is no certificate")
        #expect(refusal(good.privateKey, good.privateKey) == "there is no certificate")
        #expect(refusal(good.certificateChain, "")?.hasPrefix("no private key") == true)
        #expect(refusal(good.certificateChain, good.certificateChain)?.hasPrefix("no private key") == true)
        #expect(refusal(good.certificateChain, "\0" + good.privateKey) == "the private key is not PEM text")
        for length in stride(from: 0, to: good.certificateChain.utf8.count - 30, by: 7) {
            #expect(refusal(String(good.certificateChain.prefix(length)), good.privateKey) != nil)
        }
        for length in stride(from: 0, to: good.privateKey.utf8.count - 30, by: 7) {
            #expect(refusal(good.certificateChain, String(good.privateKey.prefix(length))) != nil)
        }
        let bytes = KeyPairTests.bytes(seed: 7)
        #expect(throws: CertificateError.self) { try KeyPair(certificateChain: bytes, privateKey: bytes) }
    }

    @Test("A key with a passphrase is refused, and nobody is asked for it")
    func passphrase() throws {
        let good = try KeyPair.selfSigned(names: ["a"], addresses: [])
        #expect(refusal(good.certificateChain, encryptedKey)?.hasPrefix("no private key without a passphrase") == true)
    }

    @Test("A key too short for TLS is refused before a handshake could fail with it")
    func shortKey() {
        #expect(refusal(shortCertificate, shortKeyText) == "the certificate cannot be used: ee key too small")
    }

    @Test("Roots are one or more certificates")
    func roots() throws {
        let one = try KeyPair.selfSigned(names: ["a"], addresses: []).certificateChain
        let two = try KeyPair.selfSigned(names: ["b"], addresses: []).certificateChain
        #expect(try TrustedRoots(pem: Array((one + two).utf8)).pem == one + two)
        #expect(throws: CertificateError("there is no certificate")) { try TrustedRoots(pem: []) }
        #expect(throws: CertificateError.self) { try TrustedRoots(pem: Array((one + two.dropLast(60)).utf8)) }
    }

    private static func bytes(seed: UInt64) -> [UInt8] {
        var state = seed
        return (0..<2048).map { _ in
            state = state &* 6_364_136_223_846_793_005 &+ 1_442_695_040_888_963_407
            return UInt8(truncatingIfNeeded: state >> 33)
        }
    }
}

// Made for these tests and used nowhere else.

private let encryptedKey = """
    -----BEGIN ENCRYPTED PRIVATE KEY-----
    MIHsMFcGCSqGSIb3DQEFDTBKMCkGCSqGSIb3DQEFDDAcBAhisoKEWHcVqwICCAAw
    DAYIKoZIhvcNAgkFADAdBglghkgBZQMEASoEEJi0TesYpLqmSyHoLf8W8ZYEgZC+
    HeWjNuFYJKAdfVTvRhzRzbsmyf5m5XzPifEOJA/aKReA8ZOKaKi01LFtrD0vUKVd
    c0pr1P3qpuPrPBcy8kQ2bZiZHP8Aa2skoluafRfg6BNwciV48TWfvvKx2ui6qrFB
    PKuD6DjqRfyo4K40lp0G79ESbEZPJQTbZcq52CWQXOx7txy/mXezIepybV4yS0U=
    -----END ENCRYPTED PRIVATE KEY-----
    """

private let shortCertificate = """
    -----BEGIN CERTIFICATE-----
    MIIB/jCCAWegAwIBAgIUWP52Vh8iY5rHqL4D6NcP5m7h2p0wDQYJKoZIhvcNAQEL
    BQAwEDEOMAwGA1UEAwwFc2hvcnQwIBcNMjYxMTIwMjI0MTMxWhgPMjEyNjEwMjcy
    MjQxMzFaMBAxDjAMBgNVBAMMBXNob3J0MIGfMA0GCSqGSIb3DQEBAQUAA4GNADCB
    iQKBgQD4bXhx9f1BZg8uP5daPIwj/UjpjOhPsJkCdHJgTS43htNnN3QQLBcTNH+G
    C0qGSWdOrSgpaOx+JYk/HbvcPHSI6R/3NAxHsCLL43kVHppMcy0k5vwE2N56YQnx
    B1xSkY+HBT4ZqyopfvarfcQEWPah+xBfaf/NZqa8XIeX2FQGHQIDAQABo1MwUTAd
    BgNVHQ4EFgQUhOoqFMKsEYuQcMIdb3NmxumxWDYwHwYDVR0jBBgwFoAUhOoqFMKs
    EYuQcMIdb3NmxumxWDYwDwYDVR0TAQH/BAUwAwEB/zANBgkqhkiG9w0BAQsFAAOB
    gQAlMb1mM8OtLb2hGboOUwbrSLRIyNMWuFMD03ip+zWjTgDieSqH6jmQ40iSSXkL
    ZErx78UD6quwmMCbB3teHzIR2zKkebIXjhnvbNbsVlkvqQZErv4FkwbS3PKlgWC2
    7HhLRlrJSQA5702dv+Apcy11rvL2lrxKUdqYIyzIhlkxPw==
    -----END CERTIFICATE-----
    """

private let shortKeyText = """
    -----BEGIN PRIVATE KEY-----
    MIICdgIBADANBgkqhkiG9w0BAQEFAASCAmAwggJcAgEAAoGBAPhteHH1/UFmDy4/
    l1o8jCP9SOmM6E+wmQJ0cmBNLjeG02c3dBAsFxM0f4YLSoZJZ06tKClo7H4liT8d
    u9w8dIjpH/c0DEewIsvjeRUemkxzLSTm/ATY3nphCfEHXFKRj4cFPhmrKil+9qt9
    xARY9qH7EF9p/81mprxch5fYVAYdAgMBAAECgYBqEOsk1N79JiMDHvly+HjpAMI5
    nQSuyXp6ltcikLFT2ce2wPFX2ks70uVDiNyXuw1VhQ6pp3eZYFNZ1EsZ++HQn0Mc
    LNDrDUqyoGr+2hrQdxIfJLkWpCOf7W2CuEqgSBD2KeisOEhBfWbgA0rOJ75pPBqj
    tSJm2z7d8CZdlH+i4QJBAP+P/xMdIwvx3jGTYfAMZYHDk6NS+Hh9We6oIb1gnbVQ
    PTNaTPLDBO4Y0J/PlCjP97AvRQd4nmrAfyb4VKfej1kCQQD42ljfHWuZf4djlbBa
    l4DgiT+qSt1SHRNMkvm3C8thBn99TugYQNjQk87J6TCf385OwnlFm1t4T5bClvWU
    OjhlAkAEfQPu0wEtkYbkegErVRxnRgcOxENG4nS041EMYWkDqTAZ+ckGLnSktdzc
    IaopeVWRS5M7yVuG5nCVP6FE/XypAkAXsLmrK+LVbxWVfmeWiDvFpGtCK/Rb39a5
    gHhzW5UV/Idgh4WC4ZGCcb/K6v8tCSJbzxm6barMjk8c4UApx00dAkEAuLOuJ3oS
    vuluwXt/psqiWQ03RiPBAAgUPH7ZoMiSlnCQH6spmffdefM3CFsK6hgTFwytmZbQ
    sP1LYagq7A8Mow==
    -----END PRIVATE KEY-----
    """
