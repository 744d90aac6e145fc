import Bytes
import Foundation
import Pool
import Scraping
import Testing

func fixture(_ name: String) throws -> [UInt8] {
    let url = try #require(Bundle.module.url(forResource: name, withExtension: "txt", subdirectory: "Fixtures"))
    return try [UInt8](Data(contentsOf: url))
}

private func read(_ page: [UInt8], _ dialect: EngineDialect = .vllm) -> MetricsUpdate {
    page.withRawSpan { MetricsPage(dialect).read($0) }
}

private func read(_ page: String, _ dialect: EngineDialect = .vllm) -> MetricsUpdate {
    read(Array(page.utf8), dialect)
}

@Suite("The reader of metrics pages")
struct MetricsPageTests {
    // MARK: Engines

    @Test("A real vLLM page gives exactly what it says")
    func vllm() throws {
        let update = try read(fixture("vllm-0.32-metrics"))
        #expect(update.waitingQueueSize == 8)
        #expect(update.runningRequests == 16)
        #expect(update.kvCacheUsage == 0.3855185909980431)
        #expect(update.adapters == .init(active: ["ad1"], waiting: ["ad1"], maximum: 2))
        #expect(update.cacheBlockSize == 32)
        #expect(update.cacheBlockCount == 512)
    }

    @Test("A page cut off anywhere is read up to there")
    func truncated() throws {
        let page = try fixture("vllm-0.32-metrics")
        let whole = read(page)
        for length in stride(from: 0, through: page.count, by: 977) {
            let update = read(Array(page[..<length]))
            #expect(update.waitingQueueSize == nil || update.waitingQueueSize == whole.waitingQueueSize)
        }
        #expect(read(Array(page.dropLast())) == whole)
    }

    @Test("SGLang's names")
    func sglang() {
        let page = """
            # TYPE sglang:num_running_reqs gauge
            sglang:num_running_reqs{engine_type="unified",model_name="m",tp_rank="0",dp_rank="0"} 3.0
            sglang:num_running_reqs_total{model_name="m"} 99.0
            sglang:num_queue_reqs{model_name="m"} 2.0
            sglang:token_usage{model_name="m"} 0.25
            sglang:cache_config_info{page_size="16",num_pages="1000"} 1.0
            """
        let update = read(page, .sglang)
        #expect(update.runningRequests == 3)
        #expect(update.waitingQueueSize == 2)
        #expect(update.kvCacheUsage == 0.25)
        #expect(update.cacheBlockSize == 16)
        #expect(update.cacheBlockCount == 1000)
        #expect(update.adapters == nil)
        #expect(read(page).isEmpty)
    }

    @Test("TensorRT-LLM's names")
    func tensorRT() {
        let page = """
            trtllm_num_requests_waiting{model_name="m"} 4
            trtllm_num_requests_running{model_name="m"} 5
            trtllm_kv_cache_utilization{model_name="m"} 0.5
            trtllm_kv_cache_tokens_per_block{model_name="m"} 32
            trtllm_kv_cache_max_blocks{model_name="m"} 2048
            """
        let update = read(page, .tensorRTServe)
        #expect(update.waitingQueueSize == 4)
        #expect(update.runningRequests == 5)
        #expect(update.kvCacheUsage == 0.5)
        #expect(update.cacheBlockSize == 32)
        #expect(update.cacheBlockCount == 2048)
    }

    @Test("Triton's names, told apart by a label")
    func triton() {
        let page = """
            nv_trt_llm_request_metrics{model="t",request_type="context",version="1"} 9
            nv_trt_llm_request_metrics{model="t",request_type="scheduled",version="1"} 1
            nv_trt_llm_request_metrics{model="t",request_type="max",version="1"} 512
            nv_trt_llm_request_metrics{model="t",request_type="waiting",version="1"} 7
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="fraction",model="t"} 0.75
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="tokens_per",model="t"} 64
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="used",model="t"} 3
            nv_trt_llm_kv_cache_block_metrics{kv_cache_block_type="max",model="t"} 6239
            """
        let update = read(page, .tritonTensorRT)
        #expect(update.waitingQueueSize == 7)
        #expect(update.runningRequests == 1)
        #expect(update.kvCacheUsage == 0.75)
        #expect(update.cacheBlockSize == 64)
        #expect(update.cacheBlockCount == 6239)
    }

    @Test("An endpoint's labels choose the dialect; unknown and absent engines are vLLM")
    func engineLabels() {
        let page = Array("sglang:num_queue_reqs 1\nvllm:num_requests_waiting 2\ntrtllm_num_requests_waiting 3".utf8)
        let expected: [([String: String], Int)] = [
            ([:], 2),
            (["inference.networking.k8s.io/engine-type": "sglang"], 1),
            (["llm-d.ai/engine-type": "trtllm-serve"], 3),
            (["llm-d.ai/engine-type": "sglang", "inference.networking.k8s.io/engine-type": "trtllm-serve"], 3),
            (["inference.networking.k8s.io/engine-type": "abacus"], 2),
        ]
        for (labels, waiting) in expected {
            let reader = EngineDialects.standard.page(forLabels: labels)
            #expect(page.withRawSpan { reader.read($0) }.waitingQueueSize == waiting)
        }
    }

    @Test("A dialect of one's own may name anything")
    func ownDialect() {
        var dialect = EngineDialect()
        dialect.queuedRequests = MetricSelector("q", labels: ["kind": "w", "pool": "a"])
        dialect.runningRequests = MetricSelector("running")
        let page = "q{pool=\"b\",kind=\"w\"} 1\nq{kind=\"w\",pool=\"a\",x=\"y\"} 2\nrunning 3\nq 4"
        let update = read(page, dialect)
        #expect(update.waitingQueueSize == 2)
        #expect(update.runningRequests == 3)
        #expect(read("q{kind=\"w\",pool=\"a\"} 7", dialect).waitingQueueSize == 7)
        #expect(read(page, EngineDialect()).isEmpty)
    }

    @Test("The old name of the cache's use counts where the new one is absent")
    func oldName() {
        #expect(read("vllm:gpu_cache_usage_perc 0.5").kvCacheUsage == 0.5)
        #expect(read("vllm:gpu_cache_usage_perc 0.5\nvllm:kv_cache_usage_perc 0.1").kvCacheUsage == 0.1)
        #expect(read("vllm:kv_cache_usage_perc 0.1\nvllm:gpu_cache_usage_perc 0.5").kvCacheUsage == 0.1)
    }

    // MARK: Ranks

    @Test("Data-parallel ranks are summed, and the cache's use is weighted by their blocks")
    func ranks() {
        let page = """
            vllm:num_requests_running{engine="0",model_name="m"} 3
            vllm:num_requests_running{engine="1",model_name="m"} 4
            vllm:num_requests_waiting{engine="0",model_name="m"} 1
            vllm:num_requests_waiting{engine="1",model_name="m"} 0
            vllm:kv_cache_usage_perc{engine="0",model_name="m"} 0.2
            vllm:kv_cache_usage_perc{engine="1",model_name="m"} 0.6
            """
        let mean = read(page)
        #expect(mean.runningRequests == 7)
        #expect(mean.waitingQueueSize == 1)
        #expect(mean.kvCacheUsage == 0.4)
        let blocks = """

            vllm:cache_config_info{block_size="16",engine="0",num_gpu_blocks="300"} 1
            vllm:cache_config_info{block_size="16",engine="1",num_gpu_blocks="100"} 1
            """
        let weighted = read(page + blocks)
        #expect(abs((weighted.kvCacheUsage ?? 0) - 0.3) < 1e-12)
        #expect(weighted.cacheBlockCount == 400)
        #expect(weighted.cacheBlockSize == 16)
    }

    @Test("Of several series of one rank the first counts")
    func duplicates() {
        let page = """
            sglang:num_running_reqs{dp_rank="0",tp_rank="0"} 3
            sglang:num_running_reqs{dp_rank="0",tp_rank="1"} 3
            sglang:num_running_reqs{dp_rank="1",tp_rank="0"} 5
            sglang:num_running_reqs{dp_rank="1",tp_rank="1"} 50
            """
        #expect(read(page, .sglang).runningRequests == 8)
        #expect(read("vllm:num_requests_waiting 1\nvllm:num_requests_waiting 2").waitingQueueSize == 1)
    }

    @Test("A page of more ranks than any engine has is read in bounded time and memory")
    func manyRanks() {
        let page = (0..<2000).map { "vllm:num_requests_waiting{engine=\"\($0)\"} 1\n" }.joined()
        #expect(read(page).waitingQueueSize == 512)
    }

    // MARK: Adapters

    @Test("Of the adapters' series the newest counts")
    func newestAdapters() {
        let page = """
            vllm:lora_requests_info{max_lora="4",running_lora_adapters="a",waiting_lora_adapters=""} 1.8e+09
            vllm:lora_requests_info{max_lora="4",running_lora_adapters=" b , c ,,",waiting_lora_adapters="d"} 1.9e+09
            vllm:lora_requests_info{max_lora="4",running_lora_adapters="e",waiting_lora_adapters=""} 1.7e+09
            """
        #expect(read(page).adapters == .init(active: ["b", "c"], waiting: ["d"], maximum: 4))
    }

    @Test("Escapes in a label's value are undone")
    func escapes() {
        let page = #"vllm:lora_requests_info{max_lora="x",running_lora_adapters="a\"b\\c\nd,é}",other="}\""} 1"#
        #expect(read(page).adapters == .init(active: ["a\"b\\c\nd", "é}"], waiting: [], maximum: 0))
    }

    @Test("An adapter list of a megabyte is cut off")
    func longList() {
        let list = String(repeating: "a,", count: 500_000)
        let page = "vllm:lora_requests_info{running_lora_adapters=\"\(list)\"} 1"
        #expect((read(page).adapters?.active.count ?? 0) <= 4096)
    }

    // MARK: The format

    @Test(
        "White space, line ends, timestamps and exemplars are as the format allows",
        arguments: [
            "vllm:num_requests_waiting 5",
            "vllm:num_requests_waiting\t5",
            "vllm:num_requests_waiting{} 5\n",
            "vllm:num_requests_waiting{}5",
            "vllm:num_requests_waiting {} 5\r\n",
            "vllm:num_requests_waiting{a=\"b\",} 5.0 1700000000000\r\n",
            "vllm:num_requests_waiting{ a = \"b\" , c = \"\" } 5e0 # {trace=\"x\"} 1.0",
            "\n\n\r\nvllm:num_requests_waiting{a=\"x\\\\\"} 50e-1",
            "vllm:num_requests_waiting_by_reason 7\nvllm:num_requests_waiting +5.000000000000000000000000",
        ]
    )
    func forms(page: String) {
        #expect(read(page).waitingQueueSize == 5)
    }

    @Test(
        "A series that makes no sense is left out",
        arguments: [
            "NaN", "+Inf", "-Inf", "-1", "", "abc", "1e", "1e+", "1.2.3", "1e99999999999999999999", "--1", ".", "0x",
        ]
    )
    func nonsense(value: String) {
        let page = "vllm:num_requests_waiting \(value)\nvllm:num_requests_running 1"
        let update = read(page)
        #expect(update.waitingQueueSize == nil)
        #expect(update.runningRequests == 1)
    }

    @Test(
        "A line that breaks the format is left out, and the next one is read",
        arguments: [
            "vllm:num_requests_waiting{", "vllm:num_requests_waiting{a", "vllm:num_requests_waiting{a=",
            "vllm:num_requests_waiting{a=\"", "vllm:num_requests_waiting{a=\"b", "vllm:num_requests_waiting{a=\"b\"",
            "vllm:num_requests_waiting{a=\"b\\", "vllm:num_requests_waiting{a=b} 1",
            "vllm:num_requests_waiting{=\"\"} 1",
            "vllm:num_requests_waiting{a=\"b\" 1", "vllm:num_requests_waiting", "vllm:num_requests_waiting{}",
            "vllm:num_requests_waitin", "vllm:", "#", "",
        ]
    )
    func brokenLines(line: String) {
        #expect(read(line).isEmpty)
        #expect(read(line + "\nvllm:num_requests_running 1\n").runningRequests == 1)
    }

    @Test("Counts beyond reason are cut off, and sums of them stay in range")
    func hugeCounts() {
        #expect(read("vllm:num_requests_waiting 1e308").waitingQueueSize == 1_000_000_000)
        let ranks = (0..<600).map { "vllm:num_requests_waiting{engine=\"\($0)\"} 1e300\n" }.joined()
        #expect(read(ranks).waitingQueueSize == 1_000_000_000)
        let info = "vllm:cache_config_info{block_size=\"99999999999999999\",num_gpu_blocks=\"999999999999999999\"} 1"
        #expect(read(info).cacheBlockSize == 1_000_000_000)
        #expect(read(info).cacheBlockCount == 1_000_000_000)
        #expect(read("vllm:cache_config_info{block_size=\"None\",num_gpu_blocks=\"0\"} 1").isEmpty)
    }

    @Test("The cache's use is at most 1: what is more is full, not a percentage")
    func usageRange() {
        #expect(read("vllm:kv_cache_usage_perc 1.02").kvCacheUsage == 1)
        #expect(read("vllm:kv_cache_usage_perc 85").kvCacheUsage == 1)
        #expect(read("vllm:kv_cache_usage_perc -0.5").kvCacheUsage == nil)
        #expect(read("vllm:kv_cache_usage_perc 1e-300").kvCacheUsage == 1e-300)
    }

    @Test("Garbage is read without harm")
    func garbage() {
        var generator = SeededGenerator(seed: 7)
        let pieces = [
            "vllm:", "num_requests_waiting", "{", "}", "\"", "\\", "=", ",", " ", "\n", "1", "e9", "\0", "é", "engine",
        ]
        for _ in 0..<500 {
            let page = (0..<60).map { _ in pieces.randomElement(using: &generator) ?? "" }.joined()
            _ = read(page)
            _ = read("vllm:num_requests_waiting{" + page)
            _ = read("vllm:lora_requests_info{running_lora_adapters=\"a\\" + page + "\"} 1")
        }
        let noise = (0..<(1 << 20)).map { _ in UInt8.random(in: 0...255, using: &generator) }
        _ = read(noise)
        #expect(read([UInt8](repeating: UInt8(ascii: "v"), count: 1 << 20)).isEmpty)
        let quotes = Array("vllm:num_requests_waiting{".utf8) + [UInt8](repeating: UInt8(ascii: "\""), count: 1 << 20)
        #expect(read(quotes).isEmpty)
    }

    @Test("Numbers are rounded as the standard library rounds them")
    func numbers() {
        var generator = SeededGenerator(seed: 3)
        for _ in 0..<5000 {
            let value = Double.random(in: 0..<1, using: &generator)
            #expect(read("vllm:kv_cache_usage_perc \(value)").kvCacheUsage == value)
        }
        for text in ["0.1", "9007199254740993e-17", "1e-23", "0.30000000000000004", "123456789012345678901e-22"] {
            #expect(read("vllm:kv_cache_usage_perc \(text)").kvCacheUsage == Double(text))
        }
    }
}
