internal import Bytes

/// How many tokens images, videos and sounds are taken to have: the reference's estimate, with its defaults.
package struct MediaEstimate: Sendable, Equatable {
    /// Of an image, or of one frame of a video: a token per `pixelsPerToken`, or always the same number.
    package struct Frame: Sendable, Equatable {
        /// Of what does not tell its own.
        package var defaultSize = PixelSize(width: 640, height: 360)
        package var pixelsPerToken = 1024
        /// The number of tokens, whatever the size; nil where the size decides.
        package var fixedTokens: Int?

        package init() {}

        func tokens(_ size: PixelSize?) -> Int {
            if let fixedTokens { return max(1, fixedTokens) }
            let size = size ?? defaultSize
            return max(1, size.width * size.height / max(1, pixelsPerToken))
        }
    }

    package struct Video: Sendable, Equatable {
        package enum Frames: Sendable, Equatable {
            /// So many a second, of which so many make one group of tokens.
            case sampled(perSecond: Double, patch: Int)
            /// Every so many-th of the video's own.
            case strided(defaultPerSecond: Double, stride: Int)
        }

        package var frame = Frame()
        package var frames = Frames.sampled(perSecond: 2, patch: 1)
        /// 0 is no limit.
        package var minFrames = 0
        package var maxFrames = 0
        package var maxTokens = 0
        /// Seconds.
        package var defaultDuration = 10.0

        package init() {}

        func tokens(_ hints: VideoHints) -> Int {
            let tokens = frameCount(hints).multipliedReportingOverflow(by: frame.tokens(hints.size))
            let count = tokens.overflow ? Int.max : tokens.partialValue
            return max(1, min(count, maxTokens > 0 ? maxTokens : MediaEstimate.mostTokens))
        }

        private func frameCount(_ hints: VideoHints) -> Int {
            let duration = hints.duration ?? defaultDuration
            switch frames {
            case .sampled(let perSecond, let patch):
                return limited(Int(duration * perSecond)) / max(1, patch)
            case .strided(let perSecond, let stride):
                return limited(Int(duration * (hints.framesPerSecond ?? perSecond)) / max(1, stride))
            }
        }

        private func limited(_ count: Int) -> Int {
            let count = max(count, minFrames)
            return maxFrames > 0 ? min(count, maxFrames) : count
        }
    }

    /// Tokens of a second of sound, bytes of a second where a sound does not tell its length, and seconds of one that is elsewhere.
    private static let soundTokensPerSecond = 25
    private static let soundBytesPerSecond = 16_000
    private static let soundSeconds = 10
    /// More than any model takes, so that sums of them stay numbers.
    private static let mostTokens = 1 << 32

    package var image = Frame()
    package var video = Video()

    package init() {}

    /// The tokens of a prompt: a quarter of its text's bytes, and those of its media.
    package func tokens(of request: InferenceRequest, _ parts: MultimodalParts, _ hints: VideoHints) -> Int {
        guard parts.count > 0 else { return request.estimatedPromptTokens }
        let text = max(0, request.promptByteCount - parts.inlineByteCount) / 4
        return text + tokens(of: parts, hints)
    }

    func tokens(of parts: MultimodalParts, _ hints: VideoHints) -> Int {
        let images = parts.inline.filter { $0.kind == .image }
        let sounds = parts.inline.filter { $0.kind == .sound }
        var tokens = images.reduce(0) { $0 + image.tokens($1.size) }
        tokens += max(0, parts.images - images.count) * image.tokens(nil)
        tokens += parts.videos * video.tokens(hints)
        tokens += sounds.reduce(0) { sum, sound in
            let bytes = sound.encodedByteCount / 4 * 3
            return sum + max(1, bytes * Self.soundTokensPerSecond / Self.soundBytesPerSecond)
        }
        tokens += max(0, parts.sounds - sounds.count) * Self.soundSeconds * Self.soundTokensPerSecond
        return tokens
    }
}

/// What a client says of the videos of a request in the headers `x-llm-d-video-…`; nil where it says nothing, or nothing of use.
package struct VideoHints: Sendable, Equatable {
    /// Seconds.
    package var duration: Double?
    package var framesPerSecond: Double?
    package var size: PixelSize?

    package init() {}

    /// - Parameter header: looks up a header by its lower-case name.
    package init(header: (String) -> String?) {
        duration = header("x-llm-d-video-duration-seconds").flatMap { Self.number($0, upTo: 1e6) }
        framesPerSecond = header("x-llm-d-video-fps").flatMap { Self.number($0, upTo: 1e4) }
        size = header("x-llm-d-video-resolution").flatMap { PixelSize(ASCII.trimmed($0[...]).description) }
    }

    private static func number(_ text: String, upTo limit: Double) -> Double? {
        Double(ASCII.trimmed(text[...])).flatMap { $0 > 0 && $0 <= limit ? $0 : nil }
    }
}
