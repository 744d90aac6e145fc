import Bytes
import Pool
import Scraping
import Testing

@Suite("The reader of metric selectors")
struct MetricSelectorTests {
    @Test(
        "A name, and labels with equality matchers, whose quotes and spaces are optional",
        arguments: [
            ("up", MetricSelector("up")),
            ("  vllm:num_requests_waiting ", MetricSelector("vllm:num_requests_waiting")),
            ("up{}", MetricSelector("up")),
            ("m{a=b}", MetricSelector("m", labels: ["a": "b"])),
            (#"m { a = "b" , c='d e', }"#, MetricSelector("m", labels: ["a": "b", "c": "d e"])),
            ("m{a=0.5-x/y,_b2=c}", MetricSelector("m", labels: ["a": "0.5-x/y", "_b2": "c"])),
            (#"m{a="}, \"\\ \n'"}"#, MetricSelector("m", labels: ["a": "}, \"\\ \n'"])),
        ]
    )
    func reads(text: String, expected: MetricSelector) throws {
        #expect(try MetricSelector(parsing: text) == expected)
    }

    @Test(
        "Anything else is refused, and what is wrong is said",
        arguments: [
            ("", "the text ends where a metric's name should be"),
            ("0up", "there is \"0up\" where a metric's name should be"),
            (#"{a="b"}"#, "where a metric's name should be"),
            ("up down", "there is \"down\" where { or the end should be"),
            ("up[5m]", "there is \"[5m]\""),
            ("up{a=b}[5m]", "there is \"[5m]\" where the end should be"),
            ("up{", "the text ends where a label's name or } should be"),
            ("up{,}", "where a label's name or } should be"),
            ("up{a}", "there is \"}\" where = should be"),
            ("up{a=b", "the text ends where , or } should be"),
            ("up{a=b c=d}", "where , or } should be"),
            ("up{a==b}", "the value of label \"a\" must not be empty"),
            (#"up{a=""}"#, "the value of label \"a\" must not be empty"),
            ("up{a=~b}", "only = is allowed"),
            ("up{a!=b}", "only = is allowed"),
            (#"up{a="b"#, "the text ends where the closing \" should be"),
            (#"up{a="\d"}"#, "a backslash may stand before"),
            ("up{a=b,a=b}", "label \"a\" is there more than once"),
            ("up{é=b}", "where a label's name or } should be"),
        ]
    )
    func refuses(text: String, message: String) {
        let error = #expect(throws: MetricSelector.SyntaxError.self) { try MetricSelector(parsing: text) }
        #expect(error?.message.contains(message) == true, "\(error?.message ?? "")")
    }

    @Test("A value with a quote or a backslash is found on the page, where it is escaped")
    func escapes() throws {
        var dialect = EngineDialect()
        dialect.queuedRequests = try MetricSelector(parsing: #"m{a='x"\\y'}"#)
        let page = Array(#"m{a="x"} 1"#.utf8) + [10] + Array(#"m{a="x\"\\y"} 2"#.utf8)
        let update = page.withRawSpan { MetricsPage(dialect).read($0) }
        #expect(update.waitingQueueSize == 2)
    }

    @Test("A described engine stands beside the known ones, and takes the place of one with its name altogether")
    func described() {
        var mine = EngineDialect()
        mine.queuedRequests = MetricSelector("my_queue")
        let page = Array("my_queue 3\nvllm:num_requests_waiting 1\nvllm:num_requests_running 7\n".utf8)
        let dialects = EngineDialects.known(label: "e", standard: "mine", described: ["mine": mine, "sglang": mine])
        func update(_ labels: [String: String]) -> MetricsUpdate {
            page.withRawSpan { dialects.page(forLabels: labels).read($0) }
        }
        for labels in [[:], ["e": "mine"], ["e": "sglang"]] {
            #expect(update(labels).waitingQueueSize == 3)
            #expect(update(labels).runningRequests == nil)
        }
        #expect(update(["e": "vllm"]).waitingQueueSize == 1)
    }
}
