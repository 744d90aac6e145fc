#pragma once
// The generated messages of Envoy's external-processing protocol, an arena to decode them into, and one function that packs a reply.
#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#include "envoy_service_ext_proc_v3_external_processor.pb-c.h"
#include "google_protobuf_struct_level.pb-c.h"

// MARK: Arena

/// Memory for one decoded message: handed out bump by bump, given back all at once.
typedef struct apus_arena apus_arena;

/// An empty arena that refuses to hold more than `limit` bytes; from this thread's spares when there is one. NULL when memory is out.
apus_arena *apus_arena_take(size_t limit);

/// Gives the arena back, from whatever thread. Everything decoded into it is gone.
void apus_arena_give_back(apus_arena *arena);

/// Decodes into the arena; NULL when the bytes are no such message, or when they ask for more memory than the arena may hold.
const Envoy__Service__ExtProc__V3__ProcessingRequest *apus_decode_request(
    apus_arena *arena, const uint8_t *bytes, size_t count);
const Envoy__Config__Core__V3__Metadata *apus_decode_metadata(apus_arena *arena, const uint8_t *bytes, size_t count);
const Google__Protobuf__StructLevel *apus_decode_struct(apus_arena *arena, const uint8_t *bytes, size_t count);
const Google__Protobuf__ValueLevel *apus_decode_value(apus_arena *arena, const uint8_t *bytes, size_t count);
const Google__Protobuf__ListLevel *apus_decode_list(apus_arena *arena, const uint8_t *bytes, size_t count);

// MARK: Replies

/// A name and a value as ranges of a text that the caller keeps.
typedef struct {
    uint32_t name_offset;
    uint32_t name_length;
    uint32_t value_offset;
    uint32_t value_length;
} apus_header_range;

typedef enum {
    APUS_BODY_UNCHANGED,
    APUS_BODY_REPLACED,
    APUS_BODY_STREAMED,
} apus_body_kind;

/// One ProcessingResponse, flat. All pointers are borrowed for the call.
typedef struct {
    /// Which member of the oneof.
    Envoy__Service__ExtProc__V3__ProcessingResponse__ResponseCase kind;

    /// Headers to set and to remove: ranges of `text`.
    const uint8_t *text;
    const apus_header_range *set_headers;
    size_t set_header_count;
    const apus_header_range *removed_headers;
    size_t removed_header_count;

    bool clear_route_cache;

    apus_body_kind body_kind;
    const uint8_t *body;
    size_t body_count;
    bool end_of_stream;

    /// Asks for other modes of body, when `overrides_mode`; the response's trailers go on being sent.
    bool overrides_mode;
    Envoy__Extensions__Filters__Http__ExtProc__V3__ProcessingMode__BodySendMode request_body_mode;
    Envoy__Extensions__Filters__Http__ExtProc__V3__ProcessingMode__BodySendMode response_body_mode;

    /// For an immediate response; its body is `body`. A streamed one has its status among the headers that are set.
    int32_t status;
    /// Which piece of a streamed immediate response: its headers, a chunk of its body, or its trailers.
    Envoy__Service__ExtProc__V3__StreamedImmediateResponse__ResponseCase streamed_piece;

    /// Strings for dynamic metadata in one namespace: ranges of `metadata_text`; none when the count is 0.
    const uint8_t *metadata_text;
    apus_header_range metadata_namespace;
    const apus_header_range *metadata;
    size_t metadata_count;
} apus_reply;

/// Packs the reply, or only counts its bytes when `out` is NULL. Returns the count; 0 when memory is out.
size_t apus_reply_pack(const apus_reply *reply, uint8_t *out);
