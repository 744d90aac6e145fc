internal import CEnvoyAPI

/// One `ProcessingResponse`.
///
/// The bytes of a body are not held but passed when the reply is packed, so that a chunk goes from the request's buffer into the message
/// in one copy.
package struct Reply: Sendable {
    package enum Kind: Sendable, Equatable {
        case requestHeaders
        case requestBody
        case requestTrailers
        case responseHeaders
        case responseBody
        case responseTrailers
        case immediate(status: Int)
        /// The beginning of a response of Apus's own that comes piece by piece: `headers` holds all its fields, `:status` too. Envoy takes it
        /// only in place of the answer to the request's headers, and only where bodies are FULL_DUPLEX_STREAMED.
        case streamedHeaders(endOfStream: Bool)
        /// A piece of its body.
        case streamedBody(endOfStream: Bool)
    }

    /// What a body reply says of the body.
    package enum Body: Sendable, Equatable {
        /// Envoy goes on with what it has.
        case unchanged
        /// Replaces what the frame carried (STREAMED, BUFFERED).
        case replaced
        /// A chunk of the body as it shall be (FULL_DUPLEX_STREAMED).
        case streamed(endOfStream: Bool)
    }

    package var kind: Kind
    package var headers = HeaderMutation()
    package var clearRouteCache = false
    package var body = Body.unchanged
    package var dynamicMetadata: DynamicMetadata?
    /// Asks Envoy to send bodies in other modes from here on. Only replies to headers may ask; Envoy heeds it when its filter has
    /// `allow_mode_override`, and never while either body is configured as FULL_DUPLEX_STREAMED.
    package var bodyModes: BodyModes?

    package init(_ kind: Kind) {
        self.kind = kind
    }

    /// The largest chunk of a body in one reply: below Envoy's 64 KiB, and the reference's number.
    package static let chunkBytes = 62000

    /// How many bytes the packed reply has.
    package func packedByteCount(body bytes: RawSpan) -> Int {
        withFlat(body: bytes) { apus_reply_pack(&$0, nil) }
    }

    /// Packs the reply into `out`, which must have `packedByteCount` bytes.
    package func pack(body bytes: RawSpan, into out: UnsafeMutableRawBufferPointer) {
        guard let start = out.bindMemory(to: UInt8.self).baseAddress else { return }
        _ = withFlat(body: bytes) { apus_reply_pack(&$0, start) }
    }

    private func withFlat(body bytes: RawSpan, _ use: (inout apus_reply) -> Int) -> Int {
        var flat = apus_reply()
        flat.clear_route_cache = clearRouteCache
        switch kind {
        case .requestHeaders: flat.kind = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_REQUEST_HEADERS
        case .requestBody: flat.kind = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_REQUEST_BODY
        case .requestTrailers: flat.kind = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_REQUEST_TRAILERS
        case .responseHeaders: flat.kind = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_RESPONSE_HEADERS
        case .responseBody: flat.kind = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_RESPONSE_BODY
        case .responseTrailers:
            flat.kind = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_RESPONSE_TRAILERS
        case .immediate(let status):
            flat.kind = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_IMMEDIATE_RESPONSE
            flat.status = Int32(clamping: status)
        case .streamedHeaders(let isLast):
            flat.kind = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_STREAMED_IMMEDIATE_RESPONSE
            flat.streamed_piece =
                ENVOY__SERVICE__EXT_PROC__V3__STREAMED_IMMEDIATE_RESPONSE__RESPONSE_HEADERS_RESPONSE
            flat.end_of_stream = isLast
        case .streamedBody(let isLast):
            flat.kind = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_STREAMED_IMMEDIATE_RESPONSE
            flat.streamed_piece = ENVOY__SERVICE__EXT_PROC__V3__STREAMED_IMMEDIATE_RESPONSE__RESPONSE_BODY_RESPONSE
            flat.end_of_stream = isLast
        }
        switch body {
        case .unchanged: flat.body_kind = APUS_BODY_UNCHANGED
        case .replaced: flat.body_kind = APUS_BODY_REPLACED
        case .streamed(let endOfStream):
            flat.body_kind = APUS_BODY_STREAMED
            flat.end_of_stream = endOfStream
        }
        if let bodyModes {
            flat.overrides_mode = true
            flat.request_body_mode = bodyModes.request.wireValue
            flat.response_body_mode = bodyModes.response.wireValue
        }
        let metadata = dynamicMetadata
        return bytes.withUnsafeBytes { body in
            headers.text.withUnsafeBufferPointer { text in
                headers.sets.withUnsafeBufferPointer { sets in
                    headers.removals.withUnsafeBufferPointer { removals in
                        flat.body = body.bindMemory(to: UInt8.self).baseAddress
                        flat.body_count = body.count
                        flat.text = text.baseAddress
                        flat.set_headers = sets.baseAddress
                        flat.set_header_count = sets.count
                        flat.removed_headers = removals.baseAddress
                        flat.removed_header_count = removals.count
                        guard let metadata, !metadata.isEmpty else { return use(&flat) }
                        return metadata.text.withUnsafeBufferPointer { text in
                            metadata.entries.withUnsafeBufferPointer { entries in
                                flat.metadata_text = text.baseAddress
                                flat.metadata_namespace = metadata.namespace
                                flat.metadata = entries.baseAddress
                                flat.metadata_count = entries.count
                                return use(&flat)
                            }
                        }
                    }
                }
            }
        }
    }
}
