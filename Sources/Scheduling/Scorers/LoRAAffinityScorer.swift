package import Pool

/// `lora-affinity-scorer`: 1 where the target model's adapter is loaded, 0.8 where there is room to load it, 0.6 where it waits to be loaded, else 0.
package struct LoRAAffinityScorer: Scorer {
    package init() {}

    package func score(_ request: SchedulingRequest, _ candidates: Candidates, into scores: inout MutableSpan<Float>) {
        let model = request.targetModel
        for position in scores.indices {
            let metrics = candidates.metrics(position)
            if metrics.activeModels.contains(model) {
                scores[position] = 1
            } else if metrics.activeModels.count + metrics.waitingModels.count < metrics.maxActiveModels {
                scores[position] = 0.8
            } else if metrics.waitingModels.contains(model) {
                scores[position] = 0.6
            } else {
                scores[position] = 0
            }
        }
    }
}
