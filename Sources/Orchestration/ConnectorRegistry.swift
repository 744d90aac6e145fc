/// The connectors by their names in the configuration.
package enum ConnectorRegistry {
    package static func connector(_ settings: OrchestrationSettings) -> any Connector {
        switch settings.connector {
        case .nixlv2: NIXLv2Connector()
        case .sharedStorage: SharedStorageConnector()
        case .sglang: SGLangConnector()
        case .mooncake: MooncakeConnector()
        case .offloading: OffloadingConnector()
        case .trtllm: TRTLLMConnector()
        }
    }

    /// Nil when no encode legs are wanted.
    package static func encodeConnector(_ settings: OrchestrationSettings) -> (any EncodeConnector)? {
        switch settings.encodeConnector {
        case .example: ECExampleConnector()
        case .nixl: ECNIXLConnector()
        case nil: nil
        }
    }
}
