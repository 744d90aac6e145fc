import EngineSimulation

/// Who serves what, and how much of it.
extension Setting {
    static let serving: [Setting] = [
        Setting(
            name: "count",
            standard: "1",
            help: "servers in this process, on consecutive ports",
            effect: .atStart { o, v throws(OptionError) in
                o.count = try whole(v, 1...4096)
            }
        ),
        Setting(
            name: "address",
            standard: "127.0.0.1",
            help: "address to listen on",
            effect: .atStart { o, v in o.address = v }
        ),
        Setting(
            name: "address-per-server",
            standard: "false",
            help: "each server has the next address, such as 127.0.0.2, and all have the same ports",
            effect: .toggle { o, on in o.hasAddressPerServer = on }
        ),
        Setting(
            name: "port",
            standard: "8000",
            help: "first port; 0 gives every server a free one",
            effect: .atStart { o, v throws(OptionError) in
                o.port = try whole(v, 0...65535)
            }
        ),
        Setting(
            name: "model",
            standard: "simulated-model",
            help: "the base model's name",
            effect: .atStart { o, v in o.model = v }
        ),
        Setting(
            name: "served-model-name",
            standard: "the model",
            help: "names that requests may use; several words",
            effect: .list { o, v in o.servedModelNames += v }
        ),
        Setting(
            name: "lora-modules",
            standard: "none",
            help: "LoRA adapters; several words, each a name, NAME=PATH or JSON with \"name\"",
            effect: .list { o, v throws(OptionError) in o.adapters += try v.map(adapterName) }
        ),
        Setting(
            name: "max-loras",
            standard: "1",
            help: "LoRA adapters in one batch",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.maxLoras = try whole(v, 1...1_000_000)
            }
        ),
        Setting(
            name: "max-model-len",
            standard: "1024",
            help: "tokens of prompt and answer together",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.maxModelLen = try whole(v, 1...100_000_000)
            }
        ),
        Setting(
            name: "max-num-seqs",
            standard: "5",
            help: "requests that run at the same time",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.maxNumSeqs = try whole(v, 1...1_000_000)
            }
        ),
        Setting(
            name: "max-waiting-queue-length",
            standard: "1000",
            help: "requests that may wait; one more is answered 429",
            effect: .atStart { o, v throws(OptionError) in o.engine.maxWaitingQueueLength = try whole(v, 1...10_000_000)
            }
        ),
        Setting(
            name: "mode",
            standard: "random",
            help: "what answers are made of: random or echo",
            effect: .live { s, v throws(OptionError) in
                guard let mode = AnswerMode(rawValue: v) else { throw OptionError("\(v) is neither random nor echo") }
                s.mode = mode
            }
        ),
        Setting(
            name: "seed",
            standard: "from the system",
            help: "seed of all random choices",
            effect: .atStart { o, v throws(OptionError) in
                o.engine.seed = UInt64(try whole(v, 0...Int.max))
            }
        ),
        Setting(
            name: "max-request-body-size-mb",
            standard: "4",
            help: "larger requests are answered 413",
            effect: .atStart { o, v throws(OptionError) in o.maxRequestBodyMegabytes = try whole(v, 1...512) }
        ),
        Setting(
            name: "enable-request-id-headers",
            standard: "false",
            help: "answers carry the request's x-request-id",
            effect: .toggle { o, on in o.enableRequestIDHeaders = on }
        ),
        Setting(
            name: "default-embedding-dimensions",
            standard: "384",
            help: "length of embeddings when a request names none",
            effect: .atStart { o, v throws(OptionError) in o.defaultEmbeddingDimensions = try whole(v, 1...65536) }
        ),
        Setting(
            name: "pod-name",
            standard: "$POD_NAME or apus-sim",
            help: "for x-inference-pod: this, a dash and the server's number",
            effect: .atStart { o, v in o.podName = v }
        ),
        Setting(
            name: "pod-namespace",
            standard: "$POD_NAMESPACE",
            help: "for x-inference-namespace",
            effect: .atStart { o, v in o.podNamespace = v }
        ),
    ]
}
