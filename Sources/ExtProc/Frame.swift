internal import CEnvoyAPI

/// One decoded `ProcessingRequest`. It owns the memory it was decoded into; what outlives it is copied out.
package struct Frame: ~Copyable {
    package enum Kind: Sendable, Equatable {
        case requestHeaders
        case requestBody
        case requestTrailers
        case responseHeaders
        case responseBody
        case responseTrailers
        /// Flow-control windows and the like, which ask for no answer.
        case none
    }

    package enum DecodingError: Error, Equatable {
        /// The bytes are no `ProcessingRequest`, or one that unfolds to far more memory than it has bytes.
        case malformed
        /// A message with no member that this version knows.
        case unknownRequest
    }

    package let kind: Kind
    /// Whether Envoy says that nothing of this direction follows (trailers are their own sign).
    package let endOfStream: Bool
    /// Envoy sends copies and wants no answers.
    package let isObservation: Bool
    /// On the first frame of a stream: how bodies are sent.
    package let bodyModes: BodyModes?
    /// How many bytes of a body this frame carries.
    package let bodyByteCount: Int

    let arena: OpaquePointer
    let message: UnsafePointer<Envoy__Service__ExtProc__V3__ProcessingRequest>

    deinit {
        apus_arena_give_back(arena)
    }

    /// Decodes a message.
    ///
    /// Memory is bounded: by 256 KiB, thirty-two times the message (a header of a few bytes takes a hundred once decoded) up to 32 MiB of that,
    /// and twice the message for its bytes.
    package init(decoding bytes: RawSpan) throws(DecodingError) {
        guard let arena = apus_arena_take((256 << 10) + min(32 * bytes.byteCount, 32 << 20) + 2 * bytes.byteCount)
        else { throw .malformed }
        let decoded = bytes.withUnsafeBytes {
            apus_decode_request(arena, $0.bindMemory(to: UInt8.self).baseAddress, $0.count)
        }
        guard let message = decoded else {
            apus_arena_give_back(arena)
            throw .malformed
        }
        let shape: Shape
        do {
            shape = try Shape(of: message.pointee)
        } catch {
            apus_arena_give_back(arena)
            throw error
        }
        kind = shape.kind
        endOfStream = shape.endOfStream
        bodyByteCount = shape.bodyByteCount
        isObservation = message.pointee.observability_mode != 0
        bodyModes = message.pointee.protocol_config.map { configuration in
            BodyModes(
                request: BodyMode(configuration.pointee.request_body_mode),
                response: BodyMode(configuration.pointee.response_body_mode)
            )
        }
        self.arena = arena
        self.message = message
    }

    private struct Shape {
        var kind = Kind.none
        var endOfStream = false
        var bodyByteCount = 0

        init(of message: Envoy__Service__ExtProc__V3__ProcessingRequest) throws(DecodingError) {
            switch message.request_case {
            case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_REQUEST__REQUEST_REQUEST_HEADERS:
                kind = .requestHeaders
                endOfStream = (message.request_headers?.pointee.end_of_stream ?? 0) != 0
            case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_REQUEST__REQUEST_RESPONSE_HEADERS:
                kind = .responseHeaders
                endOfStream = (message.response_headers?.pointee.end_of_stream ?? 0) != 0
            case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_REQUEST__REQUEST_REQUEST_BODY:
                kind = .requestBody
                read(message.request_body)
            case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_REQUEST__REQUEST_RESPONSE_BODY:
                kind = .responseBody
                read(message.response_body)
            case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_REQUEST__REQUEST_REQUEST_TRAILERS:
                kind = .requestTrailers
            case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_REQUEST__REQUEST_RESPONSE_TRAILERS:
                kind = .responseTrailers
            default:
                guard message.flow_control_init.len > 0 || message.client_window_update.len > 0 else {
                    throw .unknownRequest
                }
            }
        }

        private mutating func read(_ body: UnsafeMutablePointer<Envoy__Service__ExtProc__V3__HttpBody>?) {
            guard let body = body?.pointee else { return }
            endOfStream = body.end_of_stream != 0 || body.end_of_stream_without_message != 0
            bodyByteCount = body.body.len
        }
    }

    /// Runs `read` over the bytes of a body frame; they are gone with the frame.
    package borrowing func withBody<Result: ~Copyable>(_ read: (RawSpan) -> Result) -> Result {
        let data =
            switch kind {
            case .requestBody: message.pointee.request_body?.pointee.body
            case .responseBody: message.pointee.response_body?.pointee.body
            default: ProtobufCBinaryData?.none
            }
        return read(UnsafeRawBufferPointer(start: data?.data, count: data?.len ?? 0).bytes)
    }

    /// A copy of the headers, or trailers, that the frame carries.
    package borrowing func headers() -> HeaderList {
        let map =
            switch kind {
            case .requestHeaders: message.pointee.request_headers?.pointee.headers
            case .responseHeaders: message.pointee.response_headers?.pointee.headers
            case .requestTrailers: message.pointee.request_trailers?.pointee.trailers
            case .responseTrailers: message.pointee.response_trailers?.pointee.trailers
            case .requestBody, .responseBody, .none:
                UnsafeMutablePointer<Envoy__Config__Core__V3__HeaderMap>?.none
            }
        var list = HeaderList()
        guard let map = map?.pointee else { return list }
        let headers = UnsafeBufferPointer(start: map.headers, count: map.n_headers)
        list.reserve(
            entries: headers.count,
            bytes: headers.reduce(0) { sum, header in
                sum + (header.map { $0.pointee.key.len + $0.pointee.value.len + $0.pointee.raw_value.len } ?? 0)
            }
        )
        for case let header? in headers {
            // Envoy fills raw_value; value is what others send.
            let value = header.pointee.raw_value.len > 0 ? header.pointee.raw_value : header.pointee.value
            list.append(
                name: UnsafeBufferPointer(start: header.pointee.key.data, count: header.pointee.key.len),
                value: UnsafeBufferPointer(start: value.data, count: value.len)
            )
        }
        return list
    }
}

/// How Envoy sends a body to the processor.
package enum BodyMode: Sendable, Equatable {
    case none
    case streamed
    case buffered
    case bufferedPartial
    case fullDuplexStreamed
    case grpc

    init(_ mode: Envoy__Extensions__Filters__Http__ExtProc__V3__ProcessingMode__BodySendMode) {
        switch mode {
        case ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__STREAMED:
            self = .streamed
        case ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__BUFFERED:
            self = .buffered
        case ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__BUFFERED_PARTIAL:
            self = .bufferedPartial
        case ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__FULL_DUPLEX_STREAMED:
            self = .fullDuplexStreamed
        case ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__GRPC:
            self = .grpc
        default:
            self = .none
        }
    }

    var wireValue: Envoy__Extensions__Filters__Http__ExtProc__V3__ProcessingMode__BodySendMode {
        switch self {
        case .none: ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__NONE
        case .streamed: ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__STREAMED
        case .buffered: ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__BUFFERED
        case .bufferedPartial:
            ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__BUFFERED_PARTIAL
        case .fullDuplexStreamed:
            ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__FULL_DUPLEX_STREAMED
        case .grpc: ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__BODY_SEND_MODE__GRPC
        }
    }

    /// Replies carry the body themselves, as chunks of their own, and come when the processor likes.
    package var isDuplex: Bool { self == .fullDuplexStreamed || self == .grpc }
}

/// Both directions' body modes, as `protocol_config` announces them.
package struct BodyModes: Sendable, Equatable {
    package var request: BodyMode
    package var response: BodyMode

    package init(request: BodyMode, response: BodyMode) {
        self.request = request
        self.response = response
    }

    /// What a stream without `protocol_config` is taken for: the only mode of the reference picker.
    package static let fullDuplex = BodyModes(request: .fullDuplexStreamed, response: .fullDuplexStreamed)
}
