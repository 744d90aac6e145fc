#include "CReference.h"

#include <simdjson.h>

#include <cstring>

static simdjson::dom::parser parser;
static simdjson::dom::element document;

reference_verdict reference_parse(const uint8_t *bytes, size_t length) {
    static const simdjson::error_code prepared = parser.allocate(1 << 16, 10001);
    (void)prepared;
    switch (parser.parse(bytes, length, true).get(document)) {
    case simdjson::SUCCESS: return document.is_object() ? REFERENCE_OBJECT : REFERENCE_OTHER_VALUE;
    case simdjson::NUMBER_ERROR: return REFERENCE_NUMBER;
    case simdjson::STRING_ERROR: return REFERENCE_STRING;
    default: return REFERENCE_INVALID;
    }
}

ptrdiff_t reference_string(const char *name, uint8_t *output, size_t capacity) {
    std::string_view text;
    if (document.at_key(name).get(text) || text.size() > capacity) return -1;
    std::memcpy(output, text.data(), text.size());
    return ptrdiff_t(text.size());
}

bool reference_has(const char *name) { return document.at_key(name).error() == simdjson::SUCCESS; }
