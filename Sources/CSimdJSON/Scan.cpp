#include "CSimdJSON.h"
#include "Escapes.h"

#include <cstring>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace {

void appendUTF8(uint32_t scalar, uint8_t *&output) {
    if (scalar < 0x80) {
        *output++ = uint8_t(scalar);
    } else if (scalar < 0x800) {
        *output++ = uint8_t(0xC0 | scalar >> 6);
        *output++ = uint8_t(0x80 | (scalar & 0x3F));
    } else if (scalar < 0x10000) {
        *output++ = uint8_t(0xE0 | scalar >> 12);
        *output++ = uint8_t(0x80 | (scalar >> 6 & 0x3F));
        *output++ = uint8_t(0x80 | (scalar & 0x3F));
    } else {
        *output++ = uint8_t(0xF0 | scalar >> 18);
        *output++ = uint8_t(0x80 | (scalar >> 12 & 0x3F));
        *output++ = uint8_t(0x80 | (scalar >> 6 & 0x3F));
        *output++ = uint8_t(0x80 | (scalar & 0x3F));
    }
}

}  // namespace

size_t apus_json_unescape(const uint8_t *bytes, size_t length, uint8_t *output) {
    uint8_t *out = output;
    size_t at = 0;
    while (at < length) {
        if (bytes[at] != '\\' || escapeLength(bytes, at, length) == 0) {
            *out++ = bytes[at++];
            continue;
        }
        const uint8_t letter = bytes[at + 1];
        if (letter != 'u') {
            switch (letter) {
            case 'b': *out++ = '\b'; break;
            case 'f': *out++ = '\f'; break;
            case 'n': *out++ = '\n'; break;
            case 'r': *out++ = '\r'; break;
            case 't': *out++ = '\t'; break;
            default: *out++ = letter; break;
            }
            at += 2;
            continue;
        }
        uint32_t scalar = uint32_t(hexUnit(bytes + at + 2));
        at += 6;
        if (scalar >= 0xD800 && scalar < 0xDC00 && at + 6 <= length && bytes[at] == '\\' && bytes[at + 1] == 'u') {
            const int32_t low = hexUnit(bytes + at + 2);
            if (low >= 0xDC00 && low < 0xE000) {
                scalar = 0x10000 + ((scalar - 0xD800) << 10) + (uint32_t(low) - 0xDC00);
                at += 6;
            }
        }
        if (scalar >= 0xD800 && scalar < 0xE000) scalar = 0xFFFD;
        appendUTF8(scalar, out);
    }
    return size_t(out - output);
}

size_t apus_json_next_bracket_or_quote(const uint8_t *bytes, size_t start, size_t length) {
    size_t at = start;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), open = _mm_set1_epi8('{'), close = _mm_set1_epi8('}');
    const __m128i bit = _mm_set1_epi8(0x20);
    for (; at + 16 <= length; at += 16) {
        const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes + at));
        // With bit 5 set, [ and ] are { and }.
        const __m128i brackets = _mm_or_si128(block, bit);
        const int mask = _mm_movemask_epi8(_mm_or_si128(
            _mm_cmpeq_epi8(block, quote), _mm_or_si128(_mm_cmpeq_epi8(brackets, open), _mm_cmpeq_epi8(brackets, close))));
        if (mask) return at + size_t(__builtin_ctz(unsigned(mask)));
    }
#endif
    for (; at < length; at++) {
        const uint8_t byte = bytes[at];
        if (byte == '"' || (byte | 0x20) == '{' || (byte | 0x20) == '}') return at;
    }
    return length;
}

size_t apus_json_next_quote_or_backslash(const uint8_t *bytes, size_t start, size_t length) {
    size_t at = start;
#if defined(__SSE2__)
    const __m128i quote = _mm_set1_epi8('"'), backslash = _mm_set1_epi8('\\');
    for (; at + 16 <= length; at += 16) {
        const __m128i block = _mm_loadu_si128(reinterpret_cast<const __m128i *>(bytes + at));
        const int mask = _mm_movemask_epi8(_mm_or_si128(_mm_cmpeq_epi8(block, quote), _mm_cmpeq_epi8(block, backslash)));
        if (mask) return at + size_t(__builtin_ctz(unsigned(mask)));
    }
#endif
    while (at < length && bytes[at] != '"' && bytes[at] != '\\') at++;
    return at;
}

size_t apus_find(const void *bytes, size_t start, size_t length, const void *text, size_t text_length) {
    if (start >= length) return length;
    const auto *base = static_cast<const uint8_t *>(bytes);
    const void *found = memmem(base + start, length - start, text, text_length);
    return found ? size_t(static_cast<const uint8_t *>(found) - base) : length;
}

size_t apus_find_last(const void *bytes, size_t length, uint8_t byte) {
    const void *found = length ? memrchr(bytes, byte, length) : nullptr;
    return found ? size_t(static_cast<const uint8_t *>(found) - static_cast<const uint8_t *>(bytes)) : length;
}
