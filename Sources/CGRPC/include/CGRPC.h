#pragma once
// gRPC C core, and what Swift cannot import of it (macros) or would spell badly (unions of operations).
// Before gRPC's headers, which define _GNU_SOURCE: types such as fd_set must look as they do in Swift's Glibc module.
#include <stdbool.h>
#include <stdlib.h>
#include <string.h>
#include <sys/prctl.h>
#include <sys/select.h>

#include <grpc/byte_buffer.h>
#include <grpc/byte_buffer_reader.h>
#include <grpc/grpc.h>
#include <grpc/grpc_security.h>
#include <grpc/slice.h>
#include <grpc/status.h>
#include <grpc/support/alloc.h>
#include <grpc/support/log.h>
#include <grpc/support/time.h>

// MARK: Slices and messages

/// The first byte of a slice. A small slice carries its bytes inside the struct: the address is good only as long as `slice` stays where it is.
static inline uint8_t *apus_slice_start(grpc_slice *slice) { return GRPC_SLICE_START_PTR(*slice); }

static inline size_t apus_slice_length(const grpc_slice *slice) { return GRPC_SLICE_LENGTH(*slice); }

/// Takes a received message apart: its bytes in one slice (no copy when it came as one), the rest freed.
static inline grpc_slice apus_message_slice(grpc_byte_buffer *buffer) {
    grpc_slice slice;
    if (buffer->data.raw.slice_buffer.count == 1) {
        slice = grpc_slice_ref(buffer->data.raw.slice_buffer.slices[0]);
    } else {
        grpc_byte_buffer_reader reader;
        if (grpc_byte_buffer_reader_init(&reader, buffer)) {
            slice = grpc_byte_buffer_reader_readall(&reader);
            grpc_byte_buffer_reader_destroy(&reader);
        } else {
            slice = grpc_empty_slice();
        }
    }
    grpc_byte_buffer_destroy(buffer);
    if (slice.refcount == NULL) {
        grpc_slice heap = grpc_slice_malloc_large(GRPC_SLICE_LENGTH(slice));
        memcpy(GRPC_SLICE_START_PTR(heap), GRPC_SLICE_START_PTR(slice), GRPC_SLICE_LENGTH(slice));
        slice = heap;
    }
    return slice;
}

/// A message that owns the slice's reference.
static inline grpc_byte_buffer *apus_message_create(grpc_slice slice) {
    grpc_byte_buffer *buffer = grpc_raw_byte_buffer_create(&slice, 1);
    grpc_slice_unref(slice);
    return buffer;
}

// MARK: Server calls

/// Everything that core writes to while a call lives. It has one address from the request to the release of the call.
typedef struct apus_server_slots {
    grpc_call *call;
    grpc_call_details details;
    grpc_metadata_array metadata;
    grpc_byte_buffer *received;
    grpc_byte_buffer *sent;
    int cancelled;
} apus_server_slots;

static inline apus_server_slots *apus_server_slots_create(void) {
    apus_server_slots *slots = (apus_server_slots *)calloc(1, sizeof(apus_server_slots));
    if (slots == NULL) abort();
    grpc_call_details_init(&slots->details);
    grpc_metadata_array_init(&slots->metadata);
    return slots;
}

static inline void apus_server_slots_destroy(apus_server_slots *slots) {
    grpc_call_details_destroy(&slots->details);
    grpc_metadata_array_destroy(&slots->metadata);
    free(slots);
}

/// The called method's path. Good until the slots are destroyed.
static inline const uint8_t *apus_server_method(apus_server_slots *slots, size_t *length) {
    *length = GRPC_SLICE_LENGTH(slots->details.method);
    return GRPC_SLICE_START_PTR(slots->details.method);
}

/// The first value with this key, or NULL. Good until the call is released.
static inline const uint8_t *apus_server_metadata(
    apus_server_slots *slots, const uint8_t *key, size_t key_length, size_t *length
) {
    for (size_t i = 0; i < slots->metadata.count; i++) {
        grpc_metadata *entry = &slots->metadata.metadata[i];
        if (GRPC_SLICE_LENGTH(entry->key) == key_length && memcmp(GRPC_SLICE_START_PTR(entry->key), key, key_length) == 0) {
            *length = GRPC_SLICE_LENGTH(entry->value);
            return GRPC_SLICE_START_PTR(entry->value);
        }
    }
    return NULL;
}

static inline grpc_call_error apus_server_request_call(
    grpc_server *server, apus_server_slots *slots, grpc_completion_queue *queue, void *tag
) {
    return grpc_server_request_call(server, &slots->call, &slots->details, &slots->metadata, queue, queue, tag);
}

static inline grpc_call_error apus_server_receive_close(apus_server_slots *slots, void *tag) {
    grpc_op op = {.op = GRPC_OP_RECV_CLOSE_ON_SERVER};
    op.data.recv_close_on_server.cancelled = &slots->cancelled;
    return grpc_call_start_batch(slots->call, &op, 1, tag, NULL);
}

static inline grpc_call_error apus_server_receive_message(apus_server_slots *slots, void *tag) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &slots->received;
    return grpc_call_start_batch(slots->call, &op, 1, tag, NULL);
}

/// Sends `slots->sent`, after the initial metadata if it has not been sent.
static inline grpc_call_error apus_server_send_message(
    apus_server_slots *slots, bool with_initial_metadata, bool more_follows, void *tag
) {
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}};
    ops[1].data.send_message.send_message = slots->sent;
    ops[1].flags = more_follows ? GRPC_WRITE_BUFFER_HINT : 0;
    return with_initial_metadata ? grpc_call_start_batch(slots->call, ops, 2, tag, NULL)
                                 : grpc_call_start_batch(slots->call, ops + 1, 1, tag, NULL);
}

/// Ends the call with a status; `details` may be NULL and is copied.
static inline grpc_call_error apus_server_send_status(
    apus_server_slots *slots, bool with_initial_metadata, int code, const char *details, size_t details_length, void *tag
) {
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_STATUS_FROM_SERVER}};
    grpc_slice text = grpc_slice_from_copied_buffer(details, details_length);
    ops[1].data.send_status_from_server.status = (grpc_status_code)code;
    ops[1].data.send_status_from_server.status_details = details_length > 0 ? &text : NULL;
    grpc_call_error error = with_initial_metadata ? grpc_call_start_batch(slots->call, ops, 2, tag, NULL)
                                                  : grpc_call_start_batch(slots->call, ops + 1, 1, tag, NULL);
    grpc_slice_unref(text);
    return error;
}

// MARK: Client calls

/// Everything that core writes to while a client's call lives.
typedef struct apus_client_slots {
    grpc_call *call;
    grpc_metadata_array initial_metadata;
    grpc_metadata_array trailing_metadata;
    grpc_byte_buffer *received;
    grpc_byte_buffer *sent;
    grpc_status_code status;
    grpc_slice status_details;
} apus_client_slots;

static inline apus_client_slots *apus_client_slots_create(grpc_call *call) {
    apus_client_slots *slots = (apus_client_slots *)calloc(1, sizeof(apus_client_slots));
    if (slots == NULL) abort();
    slots->call = call;
    slots->status_details = grpc_empty_slice();
    grpc_metadata_array_init(&slots->initial_metadata);
    grpc_metadata_array_init(&slots->trailing_metadata);
    return slots;
}

static inline void apus_client_slots_destroy(apus_client_slots *slots) {
    grpc_metadata_array_destroy(&slots->initial_metadata);
    grpc_metadata_array_destroy(&slots->trailing_metadata);
    grpc_slice_unref(slots->status_details);
    free(slots);
}

static inline grpc_call *apus_client_call_create(
    grpc_channel *channel, grpc_completion_queue *queue, const char *method, gpr_timespec deadline
) {
    grpc_slice path = grpc_slice_from_copied_string(method);
    grpc_call *call = grpc_channel_create_call(channel, NULL, GRPC_PROPAGATE_DEFAULTS, queue, path, NULL, deadline, NULL);
    grpc_slice_unref(path);
    return call;
}

/// Starts the call: sends `count` pairs of metadata (copied by core) and asks for the server's.
static inline grpc_call_error apus_client_start(
    apus_client_slots *slots, grpc_metadata *metadata, size_t count, void *tag
) {
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_RECV_INITIAL_METADATA}};
    ops[0].data.send_initial_metadata.metadata = metadata;
    ops[0].data.send_initial_metadata.count = count;
    ops[1].data.recv_initial_metadata.recv_initial_metadata = &slots->initial_metadata;
    return grpc_call_start_batch(slots->call, ops, 2, tag, NULL);
}

/// Starts the call and sends its first message, `slots->sent`, in one batch.
static inline grpc_call_error apus_client_start_with_message(apus_client_slots *slots, void *tag) {
    grpc_op ops[2] = {{.op = GRPC_OP_SEND_INITIAL_METADATA}, {.op = GRPC_OP_SEND_MESSAGE}};
    ops[1].data.send_message.send_message = slots->sent;
    return grpc_call_start_batch(slots->call, ops, 2, tag, NULL);
}

/// Asks for the server's metadata and first message in one batch.
static inline grpc_call_error apus_client_receive_first_message(apus_client_slots *slots, void *tag) {
    grpc_op ops[2] = {{.op = GRPC_OP_RECV_INITIAL_METADATA}, {.op = GRPC_OP_RECV_MESSAGE}};
    ops[0].data.recv_initial_metadata.recv_initial_metadata = &slots->initial_metadata;
    ops[1].data.recv_message.recv_message = &slots->received;
    return grpc_call_start_batch(slots->call, ops, 2, tag, NULL);
}

static inline grpc_call_error apus_client_receive_status(apus_client_slots *slots, void *tag) {
    grpc_op op = {.op = GRPC_OP_RECV_STATUS_ON_CLIENT};
    op.data.recv_status_on_client.trailing_metadata = &slots->trailing_metadata;
    op.data.recv_status_on_client.status = &slots->status;
    op.data.recv_status_on_client.status_details = &slots->status_details;
    return grpc_call_start_batch(slots->call, &op, 1, tag, NULL);
}

static inline grpc_call_error apus_client_receive_message(apus_client_slots *slots, void *tag) {
    grpc_op op = {.op = GRPC_OP_RECV_MESSAGE};
    op.data.recv_message.recv_message = &slots->received;
    return grpc_call_start_batch(slots->call, &op, 1, tag, NULL);
}

static inline grpc_call_error apus_client_send_message(apus_client_slots *slots, bool more_follows, void *tag) {
    grpc_op op = {.op = GRPC_OP_SEND_MESSAGE};
    op.data.send_message.send_message = slots->sent;
    op.flags = more_follows ? GRPC_WRITE_BUFFER_HINT : 0;
    return grpc_call_start_batch(slots->call, &op, 1, tag, NULL);
}

static inline grpc_call_error apus_client_half_close(apus_client_slots *slots, void *tag) {
    grpc_op op = {.op = GRPC_OP_SEND_CLOSE_FROM_CLIENT};
    return grpc_call_start_batch(slots->call, &op, 1, tag, NULL);
}

// MARK: Doorbells

/// A call on a channel that goes nowhere: an empty batch on it posts its tag to the queue, from any thread.
static inline grpc_call *apus_doorbell_create(grpc_completion_queue *queue) {
    grpc_channel *channel = grpc_lame_client_channel_create("doorbell", GRPC_STATUS_UNAVAILABLE, "doorbell");
    grpc_call *call = apus_client_call_create(channel, queue, "/doorbell", gpr_inf_future(GPR_CLOCK_MONOTONIC));
    grpc_channel_destroy(channel);
    return call;
}

static inline grpc_call_error apus_doorbell_ring(grpc_call *doorbell, void *tag) {
    return grpc_call_start_batch(doorbell, NULL, 0, tag, NULL);
}

// MARK: Threads

/// Names the calling thread; /proc and debuggers show the first 15 bytes.
static inline void apus_thread_set_name(const char *name) { prctl(PR_SET_NAME, name); }

/// Writes the calling thread's name to `name`, which has room for 16 bytes.
static inline void apus_thread_get_name(char *name) { prctl(PR_GET_NAME, name); }

// MARK: Channel arguments

static inline grpc_arg apus_arg_integer(const char *key, int value) {
    grpc_arg arg = {.type = GRPC_ARG_INTEGER, .key = (char *)key};
    arg.value.integer = value;
    return arg;
}
