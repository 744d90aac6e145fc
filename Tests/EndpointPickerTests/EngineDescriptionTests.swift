import Configuration
import EndpointPicker
import Scraping
import Testing

/// `engineConfigs` of the core-metrics-extractor.
@Suite struct EngineDescriptionTests {
    /// With `parameters` from line 6 on.
    private func setup(_ parameters: String) -> (extractor: MetricsExtractorSettings?, said: [String]) {
        let head = """
            apiVersion: llm-d.ai/v1alpha1
            kind: EndpointPickerConfig
            plugins:
            - type: core-metrics-extractor
              parameters:

            """
        let result = ConfigurationLoader.setup(text: Array((head + parameters).utf8), file: "f")
        return (result.setup?.metrics?.extractor, result.diagnostics.map(\.description))
    }

    @Test("Every member of a description is read; what is not said, or empty, is not read from pages")
    func whole() throws {
        let (extractor, said) = setup(
            """
                defaultEngine: atom
                engineConfigs:
                - name: atom
                  queuedRequestsSpec: "atom:waiting"
                  runningRequestsSpec: nv_requests{request_type=scheduled}
                  kvUsageSpec: 'atom:kv{kind="used"}'
                  loraSpec: atom:lora
                  cacheInfoSpec: atom:cache_config_info
                  cacheBlockSizeLabelName: bs
                  cacheNumBlocksLabelName: nb
                  cacheBlockSizeSpec: atom:block_size
                  cacheNumBlocksSpec: atom:blocks
                - {name: vllm, queuedRequestsSpec: "vllm:num_requests_waiting", loraSpec: "", cacheInfoSpec: info}
                - {name: sglang, cacheInfoSpec: info}

            """
        )
        #expect(said == [])
        #expect(extractor?.defaultEngine == "atom")
        var atom = EngineDialect()
        atom.queuedRequests = MetricSelector("atom:waiting")
        atom.runningRequests = MetricSelector("nv_requests", labels: ["request_type": "scheduled"])
        atom.kvUsage = [MetricSelector("atom:kv", labels: ["kind": "used"])]
        atom.lora = MetricSelector("atom:lora")
        atom.cacheInfo = MetricSelector("atom:cache_config_info")
        atom.blockSizeLabel = "bs"
        atom.blockCountLabel = "nb"
        atom.cacheBlockSize = MetricSelector("atom:block_size")
        atom.cacheBlockCount = MetricSelector("atom:blocks")
        #expect(extractor?.engines["atom"] == atom)
        var vllm = EngineDialect()
        vllm.queuedRequests = MetricSelector("vllm:num_requests_waiting")
        vllm.cacheInfo = MetricSelector("info")
        vllm.blockSizeLabel = "block_size"
        vllm.blockCountLabel = "num_gpu_blocks"
        #expect(extractor?.engines["vllm"] == vllm)
        #expect(extractor?.engines["sglang"]?.blockSizeLabel == "page_size")
        #expect(extractor?.engines.count == 3)
    }

    @Test("All mistakes are said at once, each where it stands")
    func mistakes() {
        let (extractor, said) = setup(
            """
                engineConfigs:
                - queuedRequestsSpec: a
                - name: b
                  queuedRequestSpec: a
                  kvUsageSpec: [a]
                  loraSpec: "a{b=~c}"
                - name: b
                - c
                defaultEngine: vlm

            """
        )
        #expect(extractor == nil)
        #expect(
            said == [
                #"f:7:7: error: missing parameter "name""#,
                #"f:9:7: error: unknown parameter "queuedRequestSpec"; did you mean "queuedRequestsSpec"?"#,
                #"f:10:20: error: parameter "kvUsageSpec" must be a text, not a list"#,
                #"f:11:17: error: parameter "loraSpec": only = is allowed between a label and its value"#,
                #"f:12:13: error: engine "b" is described more than once"#,
                #"f:13:7: error: must be a mapping (key: value), not "c""#,
                #"f:14:20: error: parameter "defaultEngine" must be one of b, sglang, triton-tensorrt-llm, trtllm-serve, vllm, not "vlm"; did you mean "vllm"?"#,
            ]
        )
    }
}
