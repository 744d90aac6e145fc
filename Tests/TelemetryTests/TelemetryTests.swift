import Testing

@testable import Telemetry

private func page(_ telemetry: Telemetry) -> String {
    var bytes: [UInt8] = []
    telemetry.metrics.registry.render(into: &bytes)
    return String(decoding: bytes, as: UTF8.self)
}

private func inference(_ telemetry: Telemetry, receivedAt: UInt64 = 1_000_000_000) -> RequestRecord {
    let record = telemetry.begin(receivedAt: receivedAt)
    record.model = "my-model"
    record.targetModel = "my-model-12345"
    record.priority = 2
    record.requestBytes = 100
    record.bodyCompleteAt = receivedAt + 1_000_000
    record.decidedAt = receivedAt + 1_020_000
    record.pick = .init(address: "192.168.1.2:8000", name: "pod-1", namespace: "default", port: 8000)
    return record
}

@Suite("Telemetry of requests")
struct TelemetryTests {
    @Test("A decision counts the request at once, under both vocabularies, and the request runs until it is finished")
    func decision() {
        let telemetry = Telemetry()
        let record = inference(telemetry)
        telemetry.decided(record)
        let before = page(telemetry)
        for line in [
            #"inference_objective_request_total{model_name="my-model",priority="2",target_model_name="my-model-12345"} 1"#,
            #"llm_d_epp_request_total{fairness_id="default-flow",model_name="my-model",priority="2","#
                + #"target_model_name="my-model-12345"} 1"#,
            #"inference_objective_running_requests{model_name="my-model"} 1"#,
            #"inference_extension_scheduler_attempts_total{namespace="default",pod_name="pod-1",port="8000","#
                + #"status="success",target_model_name="my-model-12345"} 1"#,
            #"llm_d_epp_scheduler_attempts_total{endpoint_name="pod-1",namespace="default",port="8000","#
                + #"status="success",target_model_name="my-model-12345"} 1"#,
            #"apus_request_frame_wait_seconds_sum 0.001"#,
            #"apus_decision_seconds_sum 2e-05"#,
            #"llm_d_epp_request_processing_duration_seconds_sum 0.00102"#,
            #"apus_streams_active 1"#,
        ] {
            #expect(before.contains("\n" + line + "\n"), "\(line)")
        }
        telemetry.finish(record, .complete)
        telemetry.finish(record, .complete)
        let after = page(telemetry)
        #expect(after.contains("\ninference_objective_running_requests{model_name=\"my-model\"} 0\n"))
        #expect(after.contains("\napus_streams_active 0\n"))
        #expect(!after.contains("request_error_total{"))
    }

    @Test("A streamed response is measured from headers to first byte and end")
    func response() {
        let telemetry = Telemetry()
        let record = inference(telemetry)
        telemetry.decided(record)
        record.isStreaming = true
        record.status = 200
        record.responseHeadersAt = 1_200_000_000
        record.firstByteAt = 1_500_000_000
        record.finishedAt = 3_500_000_000
        record.responseBytes = 4000
        record.usage = .init(promptTokens: 7, cachedTokens: 0, completionTokens: 11)
        record.responseProcessingTime = 3_000_000
        telemetry.finish(record, .complete)
        let text = page(telemetry)
        let labels = #"{model_name="my-model",target_model_name="my-model-12345"}"#
        let all =
            #"fairness_id="default-flow",model_name="my-model",priority="2","#
        for line in [
            "inference_objective_request_duration_seconds_sum\(labels) 2.5",
            "inference_objective_request_ttft_seconds_sum\(labels) 0.5",
            "llm_d_epp_response_processing_duration_seconds_sum 0.003",
            "inference_objective_request_tpot_seconds_sum\(labels) 0.2",
            "inference_objective_response_sizes_sum\(labels) 4000",
            "inference_objective_input_tokens_sum\(labels) 7",
            "inference_objective_output_tokens_count\(labels) 1",
            "inference_objective_prompt_cached_tokens_count\(labels) 1",
            "llm_d_epp_request_ttft_seconds_count{\(all)streaming=\"true\",target_model_name=\"my-model-12345\"} 1",
            "llm_d_epp_request_output_tokens_sum{\(all)target_model_name=\"my-model-12345\"} 11",
            "llm_d_epp_request_ntpot_seconds_count{\(all)target_model_name=\"my-model-12345\"} 1",
        ] {
            #expect(text.contains("\n" + line + "\n"), "\(line)")
        }
    }

    @Test("A response without a request phase counts its tokens under empty labels")
    func responseOnly() {
        let telemetry = Telemetry()
        let record = telemetry.begin(receivedAt: 5)
        record.responseHeadersAt = 6
        record.firstByteAt = 7
        record.usage.promptTokens = 7
        telemetry.finish(record, .complete)
        let text = page(telemetry)
        #expect(text.contains("inference_objective_input_tokens_sum{model_name=\"\",target_model_name=\"\"} 7\n"))
        #expect(text.contains("inference_objective_input_tokens_count{model_name=\"\",target_model_name=\"\"} 1\n"))
        let total = #"inference_objective_request_total{model_name="",priority="0",target_model_name=""} 0"#
        #expect(text.contains(total))
    }

    @Test("A refusal counts its error code and its status, and nothing of a response")
    func refusal() {
        let telemetry = Telemetry()
        let record = telemetry.begin()
        record.model = "m"
        record.targetModel = "m"
        record.errorCode = "ServiceUnavailable"
        record.status = 503
        record.decision = DecisionRecord(requestID: "r", model: "m", targetModel: "m", profiles: [])
        telemetry.decisionFailed(record)
        telemetry.finish(record, .immediate(status: 503))
        let text = page(telemetry)
        for line in [
            #"inference_objective_request_error_total{error_code="ServiceUnavailable",model_name="m",target_model_name="m"} 1"#,
            #"apus_immediate_responses_total{code="503"} 1"#,
            #"inference_extension_scheduler_attempts_total{namespace="",pod_name="",port="",status="failure","#
                + #"target_model_name="m"} 1"#,
        ] {
            #expect(text.contains("\n" + line + "\n"), "\(line)")
        }
        #expect(!text.contains("request_duration_seconds_count{"))
        #expect(String(decoding: telemetry.decisions.json(), as: UTF8.self).contains("\"status\":503"))
    }

    @Test("A record that is let go without finish is reported all the same, once")
    func abandoned() {
        let telemetry = Telemetry()
        do {
            let record = inference(telemetry)
            telemetry.decided(record)
        }
        let text = page(telemetry)
        #expect(text.contains("\napus_streams_active 0\n"))
        #expect(text.contains("\ninference_objective_running_requests{model_name=\"my-model\"} 0\n"))
        #expect(text.contains(#"error_code="Unknown",model_name="my-model""#))
    }

    @Test("A request that ends with its headers is in no metric of requests")
    func headersOnly() {
        let telemetry = Telemetry()
        let record = inference(telemetry)
        record.isHeadersOnly = true
        telemetry.decided(record)
        record.responseHeadersAt = record.receivedAt + 1
        telemetry.finish(record, .complete)
        #expect(!page(telemetry).contains("request_total{"))
        #expect(!page(telemetry).contains("request_duration_seconds_count{"))
    }

    @Test("Scrapes are counted by outcome and timed")
    func scrapes() {
        let telemetry = Telemetry()
        telemetry.scraped(outcome: "ok", nanoseconds: 2_000_000)
        telemetry.scraped(outcome: "unreachable", nanoseconds: 1_000_000)
        let text = page(telemetry)
        #expect(text.contains("\napus_scrape_total{outcome=\"ok\"} 1\n"))
        #expect(text.contains("\napus_scrape_total{outcome=\"unreachable\"} 1\n"))
        #expect(text.contains("\napus_scrape_seconds_sum 0.003\n"))
        #expect(text.contains("\nllm_d_epp_datalayer_poll_errors_total{source_type=\"metrics-data-source\"} 1\n"))
    }
}
