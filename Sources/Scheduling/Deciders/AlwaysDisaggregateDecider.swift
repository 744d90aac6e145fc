/// `always-disagg-pd-decider`: every prompt is computed on a prefill endpoint.
package struct AlwaysDisaggregateDecider: DisaggregationDecider {
    package init() {}

    package func disaggregates(_ request: SchedulingRequest, decode: Int?) -> Bool {
        request.carriesPrompt
    }
}
