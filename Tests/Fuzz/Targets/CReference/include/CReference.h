#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

typedef enum {
    REFERENCE_OBJECT,       // a valid document that is an object
    REFERENCE_OTHER_VALUE,  // a valid document of another kind
    REFERENCE_NUMBER,       // refused for a number, which may only be too large
    REFERENCE_STRING,       // refused for a string, which may only have a lone surrogate
    REFERENCE_INVALID,
} reference_verdict;

/// What simdjson's own parser says about a document of at most 10,000 levels.
reference_verdict reference_parse(const uint8_t *bytes, size_t length);

/// Copies the string member `name` of the document that was parsed last; its length, or -1 when there is none or it is longer than `capacity`.
ptrdiff_t reference_string(const char *name, uint8_t *output, size_t capacity);

/// Whether the document that was parsed last has the member.
bool reference_has(const char *name);

#ifdef __cplusplus
}
#endif
