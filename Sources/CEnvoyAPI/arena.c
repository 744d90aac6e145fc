#include <pthread.h>
#include <stdlib.h>

#include "CEnvoyAPI.h"

// A block that did not fit the base, in a list until the arena is reset.
typedef struct apus_block {
    struct apus_block *next;
    max_align_t bytes[];
} apus_block;

struct apus_arena {
    apus_arena *next_spare;
    unsigned char *base;
    size_t base_size;
    size_t base_used;
    apus_block *blocks;
    size_t total;
    size_t limit;
    ProtobufCAllocator allocator;
};

enum {
    alignment = 16,
    first_base_size = 16 * 1024,
    // Holds a body frame of 64 KiB and its message without a second block.
    largest_base_size = 160 * 1024,
    most_spares = 8,
};

typedef struct {
    apus_arena *first;
    int count;
} apus_spares;

static pthread_key_t spares_key;
static pthread_once_t spares_once = PTHREAD_ONCE_INIT;

static void arena_free(apus_arena *arena) {
    while (arena->blocks) {
        apus_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    free(arena->base);
    free(arena);
}

static void spares_free(void *value) {
    apus_spares *spares = value;
    while (spares->first) {
        apus_arena *next = spares->first->next_spare;
        arena_free(spares->first);
        spares->first = next;
    }
    free(spares);
}

static void spares_make_key(void) { pthread_key_create(&spares_key, spares_free); }

static apus_spares *spares_of_thread(void) {
    pthread_once(&spares_once, spares_make_key);
    apus_spares *spares = pthread_getspecific(spares_key);
    if (!spares) {
        spares = calloc(1, sizeof *spares);
        if (spares && pthread_setspecific(spares_key, spares) != 0) {
            free(spares);
            spares = NULL;
        }
    }
    return spares;
}

static void *arena_alloc(void *data, size_t size) {
    apus_arena *arena = data;
    if (size > SIZE_MAX - alignment) return NULL;
    size_t rounded = (size + alignment - 1) & ~(size_t)(alignment - 1);
    if (rounded > arena->limit - arena->total) return NULL;
    arena->total += rounded;
    if (rounded <= arena->base_size - arena->base_used) {
        void *result = arena->base + arena->base_used;
        arena->base_used += rounded;
        return result;
    }
    apus_block *block = malloc(sizeof *block + rounded);
    if (!block) return NULL;
    block->next = arena->blocks;
    arena->blocks = block;
    return block->bytes;
}

static void arena_ignore_free(void *data, void *pointer) {
    (void)data;
    (void)pointer;
}

apus_arena *apus_arena_take(size_t limit) {
    apus_spares *spares = spares_of_thread();
    apus_arena *arena = spares ? spares->first : NULL;
    if (arena) {
        spares->first = arena->next_spare;
        spares->count -= 1;
    } else {
        arena = calloc(1, sizeof *arena);
        if (!arena) return NULL;
        arena->base = malloc(first_base_size);
        if (!arena->base) {
            free(arena);
            return NULL;
        }
        arena->base_size = first_base_size;
        arena->allocator.alloc = arena_alloc;
        arena->allocator.free = arena_ignore_free;
        arena->allocator.allocator_data = arena;
    }
    arena->next_spare = NULL;
    arena->limit = limit;
    return arena;
}

void apus_arena_give_back(apus_arena *arena) {
    while (arena->blocks) {
        apus_block *next = arena->blocks->next;
        free(arena->blocks);
        arena->blocks = next;
    }
    // The next message of this kind fits the base at once, up to a size worth keeping.
    if (arena->total > arena->base_size && arena->base_size < largest_base_size) {
        size_t size = arena->total < largest_base_size ? arena->total : largest_base_size;
        unsigned char *base = realloc(arena->base, size);
        if (base) {
            arena->base = base;
            arena->base_size = size;
        }
    }
    arena->base_used = 0;
    arena->total = 0;
    apus_spares *spares = spares_of_thread();
    if (!spares || spares->count >= most_spares) {
        arena_free(arena);
        return;
    }
    arena->next_spare = spares->first;
    spares->first = arena;
    spares->count += 1;
}

static const ProtobufCMessage *decode(
    apus_arena *arena, const ProtobufCMessageDescriptor *descriptor, const uint8_t *bytes, size_t count) {
    return protobuf_c_message_unpack(descriptor, &arena->allocator, count, bytes);
}

const Envoy__Service__ExtProc__V3__ProcessingRequest *apus_decode_request(
    apus_arena *arena, const uint8_t *bytes, size_t count) {
    return (const Envoy__Service__ExtProc__V3__ProcessingRequest *)decode(
        arena, &envoy__service__ext_proc__v3__processing_request__descriptor, bytes, count);
}

const Envoy__Config__Core__V3__Metadata *apus_decode_metadata(apus_arena *arena, const uint8_t *bytes, size_t count) {
    return (const Envoy__Config__Core__V3__Metadata *)decode(
        arena, &envoy__config__core__v3__metadata__descriptor, bytes, count);
}

const Google__Protobuf__StructLevel *apus_decode_struct(apus_arena *arena, const uint8_t *bytes, size_t count) {
    return (const Google__Protobuf__StructLevel *)decode(
        arena, &google__protobuf__struct_level__descriptor, bytes, count);
}

const Google__Protobuf__ValueLevel *apus_decode_value(apus_arena *arena, const uint8_t *bytes, size_t count) {
    return (const Google__Protobuf__ValueLevel *)decode(
        arena, &google__protobuf__value_level__descriptor, bytes, count);
}

const Google__Protobuf__ListLevel *apus_decode_list(apus_arena *arena, const uint8_t *bytes, size_t count) {
    return (const Google__Protobuf__ListLevel *)decode(
        arena, &google__protobuf__list_level__descriptor, bytes, count);
}
