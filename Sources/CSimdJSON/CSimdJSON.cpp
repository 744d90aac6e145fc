#include "CSimdJSON.h"
#include "Escapes.h"

#include <simdjson.h>

#include <cstring>
#include <memory>
#include <new>

#if defined(__SSE2__)
#include <emmintrin.h>
#endif

namespace {

using Stage1 = simdjson::internal::dom_parser_implementation;

// The token positions of a large body take four bytes each; they are given back afterwards.
constexpr size_t kKeptCapacity = size_t(1) << 20;
constexpr size_t kSmallestCapacity = size_t(1) << 14;

// One tokenizer per thread: a reading is synchronous and its buffers are worth keeping.
struct Tokenizer {
    std::unique_ptr<Stage1> implementation;
    uint64_t nesting[(APUS_JSON_MAX_DEPTH + 64) / 64];

    apus_json_code prepare(size_t length) {
        if (implementation && implementation->capacity() >= length) return APUS_JSON_OK;
        size_t capacity = kSmallestCapacity;
        while (capacity < length) capacity *= 2;
        simdjson::error_code error =
            implementation ? implementation->set_capacity(capacity)
                           : simdjson::get_active_implementation()->create_dom_parser_implementation(
                                 capacity, 1, implementation);
        if (error) {
            implementation.reset();
            return APUS_JSON_NO_MEMORY;
        }
        return APUS_JSON_OK;
    }

    void trim() {
        if (implementation && implementation->capacity() > kKeptCapacity) implementation.reset();
    }
};

thread_local Tokenizer tokenizer;

inline bool isSpace(uint8_t byte) { return byte == ' ' || byte == '\n' || byte == '\r' || byte == '\t'; }

// Checks the escapes of bytes[start..<end]. `escaped` tells whether there are any.
inline bool checkEscapes(const uint8_t *bytes, size_t start, size_t end, bool &escaped, size_t &offset) {
    escaped = false;
    size_t at = start;
#if defined(__SSE2__)
    const __m128i backslash = _mm_set1_epi8('\\');
    while (at + 64 <= end) {
        const __m128i *block = reinterpret_cast<const __m128i *>(bytes + at);
        const __m128i a = _mm_cmpeq_epi8(_mm_loadu_si128(block), backslash);
        const __m128i b = _mm_cmpeq_epi8(_mm_loadu_si128(block + 1), backslash);
        const __m128i c = _mm_cmpeq_epi8(_mm_loadu_si128(block + 2), backslash);
        const __m128i d = _mm_cmpeq_epi8(_mm_loadu_si128(block + 3), backslash);
        if (_mm_movemask_epi8(_mm_or_si128(_mm_or_si128(a, b), _mm_or_si128(c, d))) == 0) {
            at += 64;
            continue;
        }
        uint64_t mask = uint64_t(uint32_t(_mm_movemask_epi8(a))) | uint64_t(uint32_t(_mm_movemask_epi8(b))) << 16
                      | uint64_t(uint32_t(_mm_movemask_epi8(c))) << 32 | uint64_t(uint32_t(_mm_movemask_epi8(d))) << 48;
        escaped = true;
        const size_t base = at;
        size_t next = base + 64;
        while (mask) {
            const size_t position = base + size_t(__builtin_ctzll(mask));
            const size_t length = escapeLength(bytes, position, end);
            if (length == 0) {
                offset = position;
                return false;
            }
            const size_t behind = position + length;
            if (behind >= base + 64) {
                next = behind;
                break;
            }
            mask &= ~uint64_t(0) << (behind - base);
        }
        at = next;
    }
#endif
    while (at < end) {
        if (bytes[at] != '\\') {
            at++;
            continue;
        }
        escaped = true;
        const size_t length = escapeLength(bytes, at, end);
        if (length == 0) {
            offset = at;
            return false;
        }
        at += length;
    }
    return true;
}

inline bool isNumber(const uint8_t *at, const uint8_t *end) {
    if (at < end && *at == '-') at++;
    if (at == end || !isDigit(*at)) return false;
    if (*at == '0') {
        at++;
    } else {
        while (at < end && isDigit(*at)) at++;
    }
    if (at < end && *at == '.') {
        at++;
        if (at == end || !isDigit(*at)) return false;
        while (at < end && isDigit(*at)) at++;
    }
    if (at < end && (*at | 0x20) == 'e') {
        at++;
        if (at < end && (*at == '+' || *at == '-')) at++;
        if (at == end || !isDigit(*at)) return false;
        while (at < end && isDigit(*at)) at++;
    }
    return at == end;
}

inline bool isLiteral(const uint8_t *start, size_t length, const char *literal, size_t expected) {
    return length == expected && std::memcmp(start, literal, expected) == 0;
}

}  // namespace

struct apus_json_names {
    static constexpr size_t longest = 63;
    size_t count = 0;
    char text[APUS_JSON_MAX_NAMES][longest + 1];
    // Names of one length form a chain; -1 ends it.
    int8_t first[longest + 1];
    int8_t next[APUS_JSON_MAX_NAMES];

    int find(const uint8_t *bytes, size_t length) const {
        if (length > longest) return -1;
        int index = first[length];
        while (index >= 0 && std::memcmp(text[index], bytes, length) != 0) index = next[index];
        return index;
    }
};

const apus_json_names *apus_json_names_create(const char *const *names, size_t count) {
    if (count > APUS_JSON_MAX_NAMES) return nullptr;
    auto *table = new (std::nothrow) apus_json_names;
    if (!table) return nullptr;
    table->count = count;
    std::memset(table->first, -1, sizeof table->first);
    for (size_t i = 0; i < count; i++) {
        const size_t length = std::strlen(names[i]);
        if (length == 0 || length > apus_json_names::longest) {
            delete table;
            return nullptr;
        }
        std::memcpy(table->text[i], names[i], length + 1);
        table->next[i] = table->first[length];
        table->first[length] = int8_t(i);
    }
    return table;
}

namespace {

// A walk over the tokens that simdjson's first stage found. Nesting is a bit per level (1: object), so nothing recurses.
class Walk {
public:
    Walk(const uint8_t *bytes, size_t length, const uint32_t *tokens, size_t tokenCount, uint64_t *nesting,
         const apus_json_names *names, apus_json_member *members, bool partial)
        : bytes(bytes), length(length), tokens(tokens), tokenCount(tokenCount), nesting(nesting), names(names),
          members(members), partial(partial) {}

    apus_json_outcome run() {
        if (tokenCount == 0) return fail(APUS_JSON_EMPTY, length);
        if (bytes[tokens[0]] != '{') return fail(APUS_JSON_NOT_AN_OBJECT, tokens[0]);
        size_t at = 0;  // index of the current token
        goto open_object;

    open_object:
        if (!push(true)) return fail(APUS_JSON_TOO_DEEP, tokens[at]);
        if (++at == tokenCount) return end();
        if (bytes[tokens[at]] == '}') goto close;
        goto key;

    open_array:
        if (!push(false)) return fail(APUS_JSON_TOO_DEEP, tokens[at]);
        if (++at == tokenCount) return end();
        if (bytes[tokens[at]] == ']') goto close;
        goto value;

    key: {
        if (bytes[tokens[at]] != '"') return fail(APUS_JSON_EXPECTED_KEY, tokens[at]);
        const size_t start = tokens[at];
        const size_t behind = scalarEnd(at);
        bool escaped;
        if (!checkString(start, behind, escaped)) return outcome;
        if (depth == 1) beginMember(start, behind, escaped);
        if (++at == tokenCount) return end();
        if (bytes[tokens[at]] != ':') return fail(APUS_JSON_EXPECTED_COLON, tokens[at]);
        if (++at == tokenCount) return end();
        goto value;
    }

    value: {
        const size_t start = tokens[at];
        elements += depth == 2;
        if (depth == 1) valueStart = start;
        switch (bytes[start]) {
        case '{': goto open_object;
        case '[': goto open_array;
        case '"': {
            const size_t behind = scalarEnd(at);
            bool escaped;
            if (!checkString(start, behind, escaped)) return outcome;
            strings++;
            if (depth == 1) endMember(behind, APUS_JSON_STRING, escaped);
            break;
        }
        case '-': case '0': case '1': case '2': case '3': case '4': case '5': case '6': case '7': case '8': case '9': {
            const size_t behind = scalarEnd(at);
            if (partial && at + 1 == tokenCount) return end();  // it may go on
            if (!isNumber(bytes + start, bytes + behind)) return fail(APUS_JSON_BAD_NUMBER, start);
            numbers++;
            if (depth == 1) endMember(behind, APUS_JSON_NUMBER, false);
            break;
        }
        case 't': case 'f': case 'n': {
            const size_t size = scalarEnd(at) - start;
            if (partial && at + 1 == tokenCount) return end();
            apus_json_kind kind;
            if (isLiteral(bytes + start, size, "true", 4)) {
                kind = APUS_JSON_TRUE;
            } else if (isLiteral(bytes + start, size, "false", 5)) {
                kind = APUS_JSON_FALSE;
            } else if (isLiteral(bytes + start, size, "null", 4)) {
                kind = APUS_JSON_NULL;
            } else {
                return fail(APUS_JSON_BAD_LITERAL, start);
            }
            if (depth == 1) endMember(start + size, kind, false);
            break;
        }
        default: return fail(APUS_JSON_EXPECTED_VALUE, start);
        }
        goto next;
    }

    next: {
        if (++at == tokenCount) return end();
        const uint8_t byte = bytes[tokens[at]];
        if (inObject()) {
            if (byte == ',') {
                if (++at == tokenCount) return end();
                goto key;
            }
            if (byte != '}') return fail(APUS_JSON_EXPECTED_COMMA_OR_BRACE, tokens[at]);
        } else {
            if (byte == ',') {
                if (++at == tokenCount) return end();
                goto value;
            }
            if (byte != ']') return fail(APUS_JSON_EXPECTED_COMMA_OR_BRACKET, tokens[at]);
        }
        goto close;
    }

    close: {
        const bool object = inObject();
        depth--;
        if (depth == 0) {
            if (at + 1 < tokenCount) return fail(APUS_JSON_TRAILING_BYTES, tokens[at + 1]);
            return {APUS_JSON_OK, length};
        }
        if (depth == 1) endMember(tokens[at] + 1, object ? APUS_JSON_OBJECT : APUS_JSON_ARRAY, false);
        goto next;
    }
    }

private:
    const uint8_t *const bytes;
    const size_t length;
    const uint32_t *const tokens;
    const size_t tokenCount;
    uint64_t *const nesting;
    const apus_json_names *const names;
    apus_json_member *const members;
    const bool partial;

    size_t depth = 0;
    uint32_t numbers = 0, strings = 0, elements = 0;
    // The member of the outermost object that is being read; -1: none that is looked for.
    int name = -1;
    size_t keyStart = 0, keyEnd = 0, valueStart = 0;
    apus_json_outcome outcome{APUS_JSON_OK, 0};

    apus_json_outcome fail(apus_json_code code, size_t offset) {
        outcome = {code, offset};
        return outcome;
    }

    apus_json_outcome end() { return fail(APUS_JSON_UNEXPECTED_END, length); }

    bool push(bool object) {
        if (depth == APUS_JSON_MAX_DEPTH) return false;
        const uint64_t bit = uint64_t(1) << (depth & 63);
        nesting[depth >> 6] = object ? nesting[depth >> 6] | bit : nesting[depth >> 6] & ~bit;
        depth++;
        return true;
    }

    bool inObject() const { return nesting[(depth - 1) >> 6] >> ((depth - 1) & 63) & 1; }

    // Behind the last byte of the scalar at token `at`: what is not white space before the next token.
    size_t scalarEnd(size_t at) const {
        size_t end = at + 1 < tokenCount ? tokens[at + 1] : length;
        while (isSpace(bytes[end - 1])) end--;
        return end;
    }

    bool checkString(size_t start, size_t behind, bool &escaped) {
        size_t offset = start;
        if (behind - start < 2 || bytes[behind - 1] != '"' || !checkEscapes(bytes, start + 1, behind - 1, escaped, offset)) {
            fail(APUS_JSON_BAD_STRING, offset);
            return false;
        }
        return true;
    }

    void beginMember(size_t start, size_t behind, bool escaped) {
        keyStart = start;
        keyEnd = behind;
        numbers = strings = elements = 0;
        const size_t size = behind - start - 2;
        if (!escaped) {
            name = names->find(bytes + start + 1, size);
            return;
        }
        // An escape is at most six bytes for one, so a longer key cannot be one of the names.
        uint8_t decoded[6 * apus_json_names::longest];
        name = size <= sizeof decoded
                   ? names->find(decoded, apus_json_unescape(bytes + start + 1, size, decoded))
                   : -1;
    }

    void endMember(size_t behind, apus_json_kind kind, bool escaped) {
        if (name < 0) return;
        apus_json_member &member = members[name];
        member.key_start = uint32_t(keyStart);
        member.key_end = uint32_t(keyEnd);
        member.value_start = uint32_t(valueStart);
        member.value_end = uint32_t(behind);
        member.elements = elements;
        member.numbers = numbers;
        member.strings = strings;
        member.occurrences++;
        member.kind = uint8_t(kind);
        member.escaped = escaped;
        name = -1;
    }
};

apus_json_outcome read(
    const uint8_t *bytes, size_t length, const apus_json_names *names, apus_json_member *members, bool partial) {
    std::memset(members, 0, names->count * sizeof *members);
    if (length == 0) return {APUS_JSON_EMPTY, 0};
    if (length >= UINT32_MAX - 64) return {APUS_JSON_TOO_LARGE, length};
    if (length >= 3 && std::memcmp(bytes, "\xEF\xBB\xBF", 3) == 0) return {APUS_JSON_BYTE_ORDER_MARK, 0};
    if (apus_json_code code = tokenizer.prepare(length)) return {code, length};

    Stage1 &stage1 = *tokenizer.implementation;
    stage1.n_structural_indexes = 0;
    const simdjson::error_code error = stage1.stage1(
        bytes, length, partial ? simdjson::stage1_mode::streaming_partial : simdjson::stage1_mode::regular);
    apus_json_outcome outcome{APUS_JSON_OK, length};
    switch (error) {
    case simdjson::SUCCESS: break;
    case simdjson::CAPACITY:
        // With a document that is not complete yet; its tokens are there all the same.
        if (!partial) outcome.code = APUS_JSON_TOO_LARGE;
        break;
    case simdjson::EMPTY: outcome.code = APUS_JSON_EMPTY; break;
    case simdjson::UTF8_ERROR: outcome.code = APUS_JSON_INVALID_UTF8; break;
    case simdjson::UNCLOSED_STRING: outcome.code = APUS_JSON_UNCLOSED_STRING; break;
    case simdjson::UNESCAPED_CHARS: outcome.code = APUS_JSON_CONTROL_CHARACTER; break;
    default: outcome.code = APUS_JSON_EXPECTED_VALUE; break;
    }
    if (outcome.code == APUS_JSON_OK) {
        outcome = Walk(bytes, length, stage1.structural_indexes.get(), stage1.n_structural_indexes, tokenizer.nesting,
                       names, members, partial)
                      .run();
    }
    tokenizer.trim();
    return outcome;
}

}  // namespace

apus_json_outcome apus_json_read_object(
    const uint8_t *bytes, size_t length, const apus_json_names *names, apus_json_member *members) {
    return read(bytes, length, names, members, false);
}

apus_json_outcome apus_json_read_object_start(
    const uint8_t *bytes, size_t length, const apus_json_names *names, apus_json_member *members) {
    // simdjson drops the tokens of an incomplete document that does not begin with the first byte.
    if (length > UINT32_MAX) return read(bytes, length, names, members, true);
    uint32_t spaces = 0;
    while (spaces < length && isSpace(bytes[spaces])) spaces++;
    apus_json_outcome outcome = read(bytes + spaces, length - spaces, names, members, true);
    outcome.offset += spaces;
    for (size_t i = 0; i < names->count; i++) {
        if (members[i].occurrences == 0) continue;
        members[i].key_start += spaces;
        members[i].key_end += spaces;
        members[i].value_start += spaces;
        members[i].value_end += spaces;
    }
    return outcome;
}
