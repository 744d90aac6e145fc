#pragma once

#include <stdbool.h>
#include <stddef.h>
#include <stdint.h>

#ifdef __cplusplus
extern "C" {
#endif

/// How many member names one table may hold.
#define APUS_JSON_MAX_NAMES 64
/// Deeper documents are refused (the limit of Go's encoding/json).
#define APUS_JSON_MAX_DEPTH 10000

typedef enum {
    APUS_JSON_OK = 0,
    APUS_JSON_EMPTY,
    APUS_JSON_TOO_LARGE,
    APUS_JSON_NO_MEMORY,
    APUS_JSON_BYTE_ORDER_MARK,
    APUS_JSON_INVALID_UTF8,
    APUS_JSON_UNCLOSED_STRING,
    APUS_JSON_CONTROL_CHARACTER,
    APUS_JSON_NOT_AN_OBJECT,
    APUS_JSON_EXPECTED_KEY,
    APUS_JSON_EXPECTED_COLON,
    APUS_JSON_EXPECTED_VALUE,
    APUS_JSON_EXPECTED_COMMA_OR_BRACE,
    APUS_JSON_EXPECTED_COMMA_OR_BRACKET,
    APUS_JSON_BAD_STRING,
    APUS_JSON_BAD_NUMBER,
    APUS_JSON_BAD_LITERAL,
    APUS_JSON_TOO_DEEP,
    APUS_JSON_UNEXPECTED_END,
    APUS_JSON_TRAILING_BYTES,
} apus_json_code;

typedef enum {
    APUS_JSON_NULL = 0,
    APUS_JSON_FALSE,
    APUS_JSON_TRUE,
    APUS_JSON_NUMBER,
    APUS_JSON_STRING,
    APUS_JSON_ARRAY,
    APUS_JSON_OBJECT,
} apus_json_kind;

/// One member of the outermost object. Offsets are from the first byte; those of strings include the quotes.
typedef struct {
    uint32_t key_start, key_end;
    uint32_t value_start, value_end;
    /// Elements of the array or members of the object.
    uint32_t elements;
    /// Numbers and strings anywhere in the value (keys of objects are not strings here).
    uint32_t numbers, strings;
    /// How often the object has a member of this name; the other fields describe the last one. 0: absent.
    uint32_t occurrences;
    uint8_t kind;
    /// A string with at least one backslash in it.
    bool escaped;
} apus_json_member;

typedef struct {
    apus_json_code code;
    /// Where it went wrong, where that is known; otherwise the length.
    size_t offset;
} apus_json_outcome;

/// The names a reading looks for. Opaque; lives as long as the process.
typedef struct apus_json_names apus_json_names;

/// Makes a table of `count` names; names are compared as decoded UTF-8. NULL when there are too many, or one is empty or longer than 63 bytes.
const apus_json_names *apus_json_names_create(const char *const *names, size_t count);

/// Checks that the bytes are exactly one JSON object (RFC 8259, lone surrogate escapes allowed) and locates its members of the given names:
/// `members[i]` is the i-th name's. `members` has room for all the names. Reads nothing outside `bytes[0..<length]`.
///
/// Two passes that never recurse: simdjson's first stage (UTF-8, strings, positions of tokens), then a walk over the tokens.
apus_json_outcome apus_json_read_object(
    const uint8_t *bytes, size_t length, const apus_json_names *names, apus_json_member *members);

/// Like apus_json_read_object for the first bytes of an object whose rest is missing: `members` has those that are complete.
/// OK and UNEXPECTED_END are both good outcomes. UTF-8 is not checked.
apus_json_outcome apus_json_read_object_start(
    const uint8_t *bytes, size_t length, const apus_json_names *names, apus_json_member *members);

/// Decodes the inside of a JSON string (no quotes) into `output`, which has room for `length` bytes; lone surrogates become U+FFFD.
/// Returns the number of bytes written. Bad escapes are copied as they are.
size_t apus_json_unescape(const uint8_t *bytes, size_t length, uint8_t *output);

/// The first `"`, `{`, `}`, `[` or `]` at or after `start`, or `length`.
size_t apus_json_next_bracket_or_quote(const uint8_t *bytes, size_t start, size_t length);

/// The first `"` or `\` at or after `start`, or `length`.
size_t apus_json_next_quote_or_backslash(const uint8_t *bytes, size_t start, size_t length);

/// The first place of `text` at or after `start`, or `length`.
size_t apus_find(const void *bytes, size_t start, size_t length, const void *text, size_t text_length);

/// The last place of `byte`, or `length`.
size_t apus_find_last(const void *bytes, size_t length, uint8_t byte);

#ifdef __cplusplus
}
#endif
