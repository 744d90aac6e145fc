internal import Configuration
package import Inference
internal import SubRequests

/// `token-producer`: where the number of a prompt's tokens comes from.
package struct TokenProducerSettings: Sendable, Equatable {
    /// Nil where prompts are estimated.
    package var rendering: TokenRendering?
    package var media = MediaEstimate()

    package init() {}
}

extension PluginRegistry {
    static let tokenPlugins: [String: Factory] = [
        "token-producer": { parameters in
            var settings = TokenProducerSettings()
            let backend = parameters.string("backend", oneOf: ["estimate", "vllm"])
            let model = parameters.nonEmptyString("modelName")
            let server = parameters.mapping("vllm")
            if backend == "estimate" {
                for (name, isThere) in [("modelName", model != nil), ("vllm", server != nil)] where isThere {
                    parameters.diagnostics.error(
                        "parameter \(quoted(name)) is for the backend \"vllm\"",
                        at: parameters.keyPosition(of: name)
                    )
                }
            } else if backend == "vllm" || model != nil || server != nil {
                var rendering = rendering(server)
                rendering.model = model
                settings.rendering = rendering
            }
            if let estimate = parameters.mapping("estimate") { settings.media = media(estimate) }
            parameters.unavailable("uds")
            return .tokenProducer(settings)
        }
    ]

    private static let timeouts: ClosedRange<Duration> = .milliseconds(1) ... .seconds(600)

    private static func rendering(_ fields: Fields?) -> TokenRendering {
        var rendering = TokenRendering()
        guard var fields else { return rendering }
        // The name of older versions.
        let key = fields.node("http") != nil ? "http" : "url"
        _ = fields.node("url")
        if let url = fields.nonEmptyString(key) {
            rendering.url = url
            while rendering.url.hasSuffix("/") { rendering.url.removeLast() }
            if let problem = problem(of: url) {
                fields.diagnostics.error("parameter \(quoted(key)) \(problem)", at: fields.position(of: key))
            }
        }
        rendering.timeout = fields.duration("timeout", in: timeouts) ?? rendering.timeout
        rendering.multimodalTimeout = fields.duration("mmTimeout", in: timeouts) ?? rendering.multimodalTimeout
        rendering.trust = trust(&fields, isNeeded: rendering.url.hasPrefix("https://"))
        for name in ["endpointDiscovery", "messagesRenderMode", "prefillOnly"] { fields.unavailable(name) }
        fields.finish()
        return rendering
    }

    private static func trust(_ fields: inout Fields, isNeeded: Bool) -> TLSTrust {
        var trust = TLSTrust()
        trust.caFile = fields.nonEmptyString("caCertPath") ?? ""
        trust.clientCertificateFile = fields.nonEmptyString("clientCertPath") ?? ""
        trust.clientKeyFile = fields.nonEmptyString("clientKeyPath") ?? ""
        trust.insecureSkipVerify = fields.bool("insecureSkipVerify") ?? false
        if trust.clientCertificateFile.isEmpty != trust.clientKeyFile.isEmpty {
            fields.diagnostics.error(
                "\"clientCertPath\" and \"clientKeyPath\" are needed together",
                at: fields.position
            )
        }
        if !isNeeded, trust != .system {
            fields.diagnostics.warning("certificates have no effect on an http:// address", at: fields.position)
        }
        return trust
    }

    private static func problem(of url: String) -> String? {
        guard url.hasPrefix("http://") || url.hasPrefix("https://"), !url.hasSuffix("://"),
            url.utf8.allSatisfy({ $0 > 0x20 && $0 < 0x7F })
        else {
            return "must be an address such as http://localhost:8000"
        }
        return url.utf8.contains(UInt8(ascii: "?")) ? "must have no query" : nil
    }

    // MARK: The estimate

    private static let counts = 0...1 << 24
    private static let divisors = 1...1 << 24

    private static func media(_ fields: Fields) -> MediaEstimate {
        var fields = fields
        var estimate = MediaEstimate()
        if var image = fields.mapping("image") {
            let isFixed = image.string("mode", oneOf: ["dynamic", "static"]) == "static"
            let size = size(&image, "defaultResolution")
            estimate.image.defaultSize = size ?? estimate.image.defaultSize
            perFrame(&image, fixedName: "staticToken", isFixed, &estimate.image)
            image.finish()
        }
        if let video = fields.mapping("video") { estimate.video = self.video(video) }
        fields.unavailable("audio")
        fields.finish()
        return estimate
    }

    private static func video(_ fields: Fields) -> MediaEstimate.Video {
        var fields = fields
        var video = MediaEstimate.Video()
        video.defaultDuration = fields.number("defaultDuration", in: 0.001...1e6) ?? video.defaultDuration
        video.maxTokens = fields.integer("maxVideoTokens", in: 0...1 << 30) ?? video.maxTokens
        video.frame.defaultSize = size(&fields, "defaultResolution") ?? video.frame.defaultSize
        if var perFrame = fields.mapping("tokensPerFrame") {
            let isFixed = perFrame.string("mode", oneOf: ["dynamic", "static"]) == "static"
            self.perFrame(&perFrame, fixedName: "numTokensPerFrame", isFixed, &video.frame)
            perFrame.finish()
        }
        if var frames = fields.mapping("frames") {
            let isStrided = frames.string("mode", oneOf: ["sampled", "strided"]) == "strided"
            video.minFrames = frames.integer("minFrames", in: counts) ?? 0
            video.maxFrames = frames.integer("maxFrames", in: counts) ?? 0
            var sampled = frames.mapping("sampled")
            let rate = sampled?.number("sampleFPS", in: 0.001...1e4)
            let patch = sampled?.integer("temporalPatchSize", in: counts)
            sampled?.finish()
            var strided = frames.mapping("strided")
            let sourceRate = strided?.number("defaultSourceFPS", in: 0.001...1e4)
            let stride = strided?.integer("frameStride", in: divisors)
            strided?.finish()
            video.frames =
                isStrided
                ? .strided(defaultPerSecond: sourceRate ?? 24, stride: stride ?? 1)
                : .sampled(perSecond: rate ?? 2, patch: patch ?? 1)
            frames.finish()
        }
        fields.finish()
        return video
    }

    /// `dynamic: {factor}` and `static: {…}`.
    private static func perFrame(
        _ fields: inout Fields,
        fixedName: String,
        _ isFixed: Bool,
        _ frame: inout MediaEstimate.Frame
    ) {
        if var dynamic = fields.mapping("dynamic") {
            frame.pixelsPerToken = dynamic.integer("factor", in: divisors) ?? frame.pixelsPerToken
            dynamic.finish()
        }
        var fixed = fields.mapping("static")
        let tokens = fixed?.integer(fixedName, in: counts)
        fixed?.finish()
        if isFixed { frame.fixedTokens = tokens ?? 1 }
    }

    private static func size(_ fields: inout Fields, _ key: String) -> PixelSize? {
        guard var size = fields.mapping(key) else { return nil }
        let width = size.integer("width", in: 1...1 << 20)
        let height = size.integer("height", in: 1...1 << 20)
        size.reportMissing("width")
        size.reportMissing("height")
        size.finish()
        guard let width, let height else { return nil }
        return PixelSize(width: width, height: height)
    }
}
