#pragma once

#include <cstddef>
#include <cstdint>

// The escapes of JSON strings, for those that check them and those that decode them.

inline bool isDigit(uint8_t byte) { return uint8_t(byte - '0') < 10; }

inline int hexValue(uint8_t byte) {
    if (isDigit(byte)) return byte - '0';
    const uint8_t lower = byte | 0x20;
    return lower >= 'a' && lower <= 'f' ? lower - 'a' + 10 : -1;
}

// The code unit of four hexadecimal digits, or -1.
inline int32_t hexUnit(const uint8_t *bytes) {
    int32_t unit = 0;
    for (int i = 0; i < 4; i++) {
        const int value = hexValue(bytes[i]);
        if (value < 0) return -1;
        unit = unit << 4 | value;
    }
    return unit;
}

// Length of the escape that begins at the backslash `bytes[at]`, or 0 when it is none.
inline size_t escapeLength(const uint8_t *bytes, size_t at, size_t end) {
    if (at + 1 >= end) return 0;
    switch (bytes[at + 1]) {
    case '"': case '\\': case '/': case 'b': case 'f': case 'n': case 'r': case 't': return 2;
    case 'u': return at + 6 <= end && hexUnit(bytes + at + 2) >= 0 ? 6 : 0;
    default: return 0;
    }
}
