/// `always-disagg-multimodal-decider`: a prompt with images, videos or sounds has them encoded on an endpoint for that.
package struct MultimodalDecider: DisaggregationDecider {
    package init() {}

    package func disaggregates(_ request: SchedulingRequest, decode: Int?) -> Bool {
        request.multimodalParts > 0
    }
}
