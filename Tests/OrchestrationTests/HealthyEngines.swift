import Orchestration
import Scheduling

extension Reply {
    static func nixlParameters(_ engine: String = "e0") -> String {
        #"{"do_remote_prefill":true,"do_remote_decode":false,"remote_block_ids":[[1,2]],"remote_engine_id":"\#(engine)","#
            + #""remote_host":"10.0.0.1","remote_port":5600}"#
    }

    static let decoded = #"{"choices":[{"text":"done","finish_reason":"stop"}]}"#

    /// What a healthy engine answers. A prefill beside its decode is silent until it is cancelled.
    static func good(
        _ sent: ScriptedTransport.Sent,
        _ connector: ConnectorName,
        _ encode: OrchestrationSettings.EncodeConnectorName?
    ) -> Reply {
        switch sent.leg.stage {
        case .decode: return .answer(200, decoded)
        case .encode:
            let hash = #""\#(sent.leg.requestID)":{"peer_host":"10.0.2.1","peer_port":5,"size_bytes":9}"#
            return .answer(200, #"{"choices":[],"ec_transfer_params":{\#(hash)}}"#)
        case .prefill where sent.leg.method == "GET": return .answer(200, #"{"0":{"engine_id":"engine-0"}}"#)
        case .prefill where connector.isConcurrent: return .silence
        case .prefill: return .answer(200, prefilled(connector, sent.index))
        }
    }

    /// A prefill's good answer, which tells the how many-th prefill it is.
    static func prefilled(_ connector: ConnectorName, _ index: Int = 0) -> String {
        switch connector {
        case .nixlv2:
            #"{"choices":[{"finish_reason":"length"}],"kv_transfer_params":\#(nixlParameters("e\(index)"))}"#
        case .trtllm:
            #"{"choices":[{"finish_reason":"length","disaggregated_params":"#
                + #"{"request_type":"context_only","ctx_request_id":\#(index)}}]}"#
        default: #"{"choices":[{"finish_reason":"length"}]}"#
        }
    }
}
