#include <stdlib.h>

#include "CEnvoyAPI.h"

typedef Envoy__Service__ExtProc__V3__ProcessingResponse Reply;
typedef Envoy__Config__Core__V3__HeaderValueOption HeaderOption;
typedef Envoy__Config__Core__V3__HeaderValue Header;

// Replies set a few headers; more than this many go through the heap.
enum { headers_on_stack = 32 };

static ProtobufCBinaryData range(const uint8_t *text, uint32_t offset, uint32_t length) {
    // protobuf-c takes the pointer as mutable and only reads it when packing.
    ProtobufCBinaryData data = {.len = length, .data = (uint8_t *)(uintptr_t)(text + offset)};
    return data;
}

static size_t measure_or_pack(const ProtobufCMessage *message, uint8_t *out) {
    return out ? protobuf_c_message_pack(message, out) : protobuf_c_message_get_packed_size(message);
}

// dynamic_metadata is declared as bytes, so it is packed by itself first. NULL when memory is out.
static uint8_t *pack_metadata(const apus_reply *reply, size_t *count) {
    size_t entries = reply->metadata_count;
    size_t room = 0;
    for (size_t i = 0; i < entries; i++)
        room += reply->metadata[i].name_length + reply->metadata[i].value_length + 64;
    room = room + reply->metadata_namespace.name_length + 64;
    // Three stages of one size: values, the namespace's struct, the whole.
    uint8_t *memory = malloc(3 * room);
    if (!memory) return NULL;
    uint8_t *inner = memory + room, *outer = memory + 2 * room;

    size_t inner_count = 0;
    size_t value_used = 0;
    for (size_t i = 0; i < entries; i++) {
        Google__Protobuf__ValueLevel value = GOOGLE__PROTOBUF__VALUE_LEVEL__INIT;
        value.string_value =
            range(reply->metadata_text, reply->metadata[i].value_offset, reply->metadata[i].value_length);
        Google__Protobuf__StructLevel__FieldsEntry entry = GOOGLE__PROTOBUF__STRUCT_LEVEL__FIELDS_ENTRY__INIT;
        entry.key = range(reply->metadata_text, reply->metadata[i].name_offset, reply->metadata[i].name_length);
        entry.value.data = memory + value_used;
        entry.value.len = google__protobuf__value_level__pack(&value, memory + value_used);
        value_used += entry.value.len;
        Google__Protobuf__StructLevel__FieldsEntry *entry_list[] = {&entry};
        Google__Protobuf__StructLevel fields = GOOGLE__PROTOBUF__STRUCT_LEVEL__INIT;
        fields.n_fields = 1;
        fields.fields = entry_list;
        // Messages of one repeated field each, one behind the other, are one message.
        inner_count += google__protobuf__struct_level__pack(&fields, inner + inner_count);
    }

    // memory is free again for the namespace's value.
    Google__Protobuf__ValueLevel value = GOOGLE__PROTOBUF__VALUE_LEVEL__INIT;
    value.struct_value.data = inner;
    value.struct_value.len = inner_count;
    Google__Protobuf__StructLevel__FieldsEntry entry = GOOGLE__PROTOBUF__STRUCT_LEVEL__FIELDS_ENTRY__INIT;
    entry.key = range(
        reply->metadata_text, reply->metadata_namespace.name_offset, reply->metadata_namespace.name_length);
    entry.value.data = memory;
    entry.value.len = google__protobuf__value_level__pack(&value, memory);
    Google__Protobuf__StructLevel__FieldsEntry *entry_list[] = {&entry};
    Google__Protobuf__StructLevel fields = GOOGLE__PROTOBUF__STRUCT_LEVEL__INIT;
    fields.n_fields = 1;
    fields.fields = entry_list;
    *count = google__protobuf__struct_level__pack(&fields, outer);

    for (size_t i = 0; i < *count; i++) memory[i] = outer[i];
    return memory;
}

size_t apus_reply_pack(const apus_reply *reply, uint8_t *out) {
    Reply message = ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__INIT;
    Envoy__Service__ExtProc__V3__HeaderMutation mutation = ENVOY__SERVICE__EXT_PROC__V3__HEADER_MUTATION__INIT;
    Envoy__Service__ExtProc__V3__BodyMutation body = ENVOY__SERVICE__EXT_PROC__V3__BODY_MUTATION__INIT;
    Envoy__Service__ExtProc__V3__StreamedBodyResponse chunk = ENVOY__SERVICE__EXT_PROC__V3__STREAMED_BODY_RESPONSE__INIT;
    Envoy__Service__ExtProc__V3__CommonResponse common = ENVOY__SERVICE__EXT_PROC__V3__COMMON_RESPONSE__INIT;
    Envoy__Service__ExtProc__V3__HeadersResponse headers = ENVOY__SERVICE__EXT_PROC__V3__HEADERS_RESPONSE__INIT;
    Envoy__Service__ExtProc__V3__BodyResponse body_reply = ENVOY__SERVICE__EXT_PROC__V3__BODY_RESPONSE__INIT;
    Envoy__Service__ExtProc__V3__TrailersResponse trailers = ENVOY__SERVICE__EXT_PROC__V3__TRAILERS_RESPONSE__INIT;
    Envoy__Service__ExtProc__V3__ImmediateResponse immediate = ENVOY__SERVICE__EXT_PROC__V3__IMMEDIATE_RESPONSE__INIT;
    Envoy__Service__ExtProc__V3__StreamedImmediateResponse streamed =
        ENVOY__SERVICE__EXT_PROC__V3__STREAMED_IMMEDIATE_RESPONSE__INIT;
    Envoy__Service__ExtProc__V3__HttpHeaders response_headers = ENVOY__SERVICE__EXT_PROC__V3__HTTP_HEADERS__INIT;
    Envoy__Config__Core__V3__HeaderMap map = ENVOY__CONFIG__CORE__V3__HEADER_MAP__INIT;
    Envoy__Type__V3__HttpStatus status = ENVOY__TYPE__V3__HTTP_STATUS__INIT;

    size_t set = reply->set_header_count;
    size_t removed = reply->removed_header_count;
    HeaderOption option_stack[headers_on_stack], *options = option_stack;
    Header header_stack[headers_on_stack], *values = header_stack;
    HeaderOption *pointer_stack[headers_on_stack], **pointers = pointer_stack;
    Header *value_pointer_stack[headers_on_stack], **value_pointers = value_pointer_stack;
    ProtobufCBinaryData removed_stack[headers_on_stack], *names = removed_stack;
    void *heap = NULL;
    if (set > headers_on_stack || removed > headers_on_stack) {
        size_t each = sizeof *options + sizeof *values + sizeof *pointers + sizeof *value_pointers;
        heap = malloc(set * each + removed * sizeof *names);
        if (!heap) return 0;
        options = heap;
        values = (Header *)(options + set);
        names = (ProtobufCBinaryData *)(values + set);
        pointers = (HeaderOption **)(names + removed);
        value_pointers = (Header **)(pointers + set);
    }
    for (size_t i = 0; i < set; i++) {
        apus_header_range at = reply->set_headers[i];
        envoy__config__core__v3__header_value__init(&values[i]);
        values[i].key = range(reply->text, at.name_offset, at.name_length);
        values[i].raw_value = range(reply->text, at.value_offset, at.value_length);
        envoy__config__core__v3__header_value_option__init(&options[i]);
        options[i].header = &values[i];
        // No append_action: Envoy then overwrites, and the reference's replies look the same.
        pointers[i] = &options[i];
        value_pointers[i] = &values[i];
    }
    mutation.n_set_headers = set;
    mutation.set_headers = pointers;
    for (size_t i = 0; i < removed; i++) {
        apus_header_range at = reply->removed_headers[i];
        names[i] = range(reply->text, at.name_offset, at.name_length);
    }
    mutation.n_remove_headers = removed;
    mutation.remove_headers = names;
    bool has_mutation = set > 0 || removed > 0;

    switch (reply->body_kind) {
    case APUS_BODY_UNCHANGED:
        break;
    case APUS_BODY_REPLACED:
        body.mutation_case = ENVOY__SERVICE__EXT_PROC__V3__BODY_MUTATION__MUTATION_BODY;
        body.body = range(reply->body, 0, 0);
        body.body.len = reply->body_count;
        common.body_mutation = &body;
        break;
    case APUS_BODY_STREAMED:
        chunk.body = range(reply->body, 0, 0);
        chunk.body.len = reply->body_count;
        chunk.end_of_stream = reply->end_of_stream;
        body.mutation_case = ENVOY__SERVICE__EXT_PROC__V3__BODY_MUTATION__MUTATION_STREAMED_RESPONSE;
        body.streamed_response = &chunk;
        common.body_mutation = &body;
        break;
    }
    if (has_mutation) common.header_mutation = &mutation;
    common.clear_route_cache = reply->clear_route_cache;

    Envoy__Extensions__Filters__Http__ExtProc__V3__ProcessingMode mode =
        ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__INIT;
    if (reply->overrides_mode) {
        mode.request_body_mode = reply->request_body_mode;
        mode.response_body_mode = reply->response_body_mode;
        // Without anything more to send Envoy would close the stream at once, and with it go the news of the response's end.
        mode.response_trailer_mode = ENVOY__EXTENSIONS__FILTERS__HTTP__EXT_PROC__V3__PROCESSING_MODE__HEADER_SEND_MODE__SEND;
        message.mode_override = &mode;
    }

    message.response_case = reply->kind;
    switch (reply->kind) {
    case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_REQUEST_HEADERS:
    case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_RESPONSE_HEADERS:
        headers.response = &common;
        message.request_headers = &headers; // the members of the oneof share their place
        break;
    case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_REQUEST_BODY:
    case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_RESPONSE_BODY:
        body_reply.response = &common;
        message.request_body = &body_reply;
        break;
    case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_REQUEST_TRAILERS:
    case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_RESPONSE_TRAILERS:
        if (has_mutation) trailers.header_mutation = &mutation;
        message.request_trailers = &trailers;
        break;
    case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_IMMEDIATE_RESPONSE:
        status.code = reply->status;
        immediate.status = &status;
        if (has_mutation) immediate.headers = &mutation;
        immediate.body = range(reply->body, 0, 0);
        immediate.body.len = reply->body_count;
        message.immediate_response = &immediate;
        break;
    case ENVOY__SERVICE__EXT_PROC__V3__PROCESSING_RESPONSE__RESPONSE_STREAMED_IMMEDIATE_RESPONSE:
        map.n_headers = set;
        map.headers = value_pointers;
        streamed.response_case = reply->streamed_piece;
        if (reply->streamed_piece ==
            ENVOY__SERVICE__EXT_PROC__V3__STREAMED_IMMEDIATE_RESPONSE__RESPONSE_HEADERS_RESPONSE) {
            response_headers.headers = &map;
            response_headers.end_of_stream = reply->end_of_stream;
            streamed.headers_response = &response_headers;
        } else if (
            reply->streamed_piece ==
            ENVOY__SERVICE__EXT_PROC__V3__STREAMED_IMMEDIATE_RESPONSE__RESPONSE_BODY_RESPONSE) {
            chunk.body = range(reply->body, 0, 0);
            chunk.body.len = reply->body_count;
            chunk.end_of_stream = reply->end_of_stream;
            streamed.body_response = &chunk;
        } else {
            streamed.trailers_response = &map;
        }
        message.streamed_immediate_response = &streamed;
        break;
    default:
        break;
    }

    uint8_t *metadata = NULL;
    if (reply->metadata_count > 0) {
        metadata = pack_metadata(reply, &message.dynamic_metadata.len);
        if (!metadata) {
            free(heap);
            return 0;
        }
        message.dynamic_metadata.data = metadata;
    }
    size_t count = measure_or_pack(&message.base, out);
    free(metadata);
    free(heap);
    return count;
}
