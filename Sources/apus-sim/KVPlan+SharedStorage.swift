/// vLLM's shared storage connector: prefills write blocks that decodes find by the prompt.
extension KVPlan {
    mutating func sharedStorage(_ body: JSONValue) {
        action = .store(threshold: body["cache_hit_threshold"]?.double)
    }
}
