/* event2/tag.h: values with tags before them. */
#include "case.h"

#include <event2/tag.h>

/* libevent exports these, and declares them nowhere. */
int evtag_decode_int(ev_uint32_t *, struct evbuffer *);
int evtag_decode_int64(ev_uint64_t *, struct evbuffer *);
int evtag_encode_tag(struct evbuffer *, ev_uint32_t);
int evtag_decode_tag(ev_uint32_t *, struct evbuffer *);

#define COUNT(array) (sizeof(array) / sizeof *(array))

enum { ROOM = 64 };

static const ev_uint64_t values[] = {
    0,          1,           15,         16,         127,
    128,        255,         256,        0x0fff,     0x1000,
    0x3fff,     0x4000,      0xffff,     0x10000,    0xfffffff,
    0x10000000, 0x7fffffff,  0x80000000, 0xffffffff, 0x100000000,
    0x123456789abcdef,       0x7fffffffffffffff,     0x8000000000000000,
    0xffffffffffffffff,
};

static struct evbuffer *new_buffer(const void *bytes, size_t length) {
    struct evbuffer *buffer = evbuffer_new();
    CHECK(buffer && evbuffer_add(buffer, bytes, length) == 0);
    return buffer;
}

/* All that is in it, in hexadecimal, which is taken out. */
static size_t take_bytes(struct evbuffer *buffer, unsigned char bytes[ROOM]) {
    char text[2 * ROOM + 1] = "nothing";
    size_t length = (size_t)evbuffer_remove(buffer, bytes, ROOM);
    for (size_t i = 0; i < length; i++)
        sprintf(text + 2 * i, "%02x", bytes[i]);
    token("%s", text);
    return length;
}

static void show_int(const unsigned char *bytes, size_t length) {
    struct evbuffer *buffer = new_buffer(bytes, length);
    ev_uint32_t number = 0;
    int result = evtag_decode_int(&number, buffer);
    token("%d,%u,%zu", result, number, evbuffer_get_length(buffer));
    evbuffer_free(buffer);
}

static void show_int64(const unsigned char *bytes, size_t length) {
    struct evbuffer *buffer = new_buffer(bytes, length);
    ev_uint64_t number = 0;
    int result = evtag_decode_int64(&number, buffer);
    token("%d,%llu,%zu", result, (unsigned long long)number, evbuffer_get_length(buffer));
    evbuffer_free(buffer);
}

CASE(tag_numbers) /* as they are written, and back; each cut short too, and with more behind it */ {
    unsigned char bytes[ROOM];
    evtag_init();
    for (size_t i = 0; i < COUNT(values); i++) {
        struct evbuffer *buffer = new_buffer("", 0);
        step("int");
        evtag_encode_int(buffer, (ev_uint32_t)values[i]);
        size_t length = take_bytes(buffer, bytes);
        for (size_t n = 0; n <= length + 1; n++)
            show_int(bytes, n);
        step("int64");
        evtag_encode_int64(buffer, values[i]);
        length = take_bytes(buffer, bytes);
        for (size_t n = 0; n <= length + 1; n++)
            show_int64(bytes, n);
        token("as an int");
        show_int(bytes, length);
        evbuffer_free(buffer);
    }
}

static void show_tag(const void *bytes, size_t length) {
    struct evbuffer *buffer = new_buffer(bytes, length);
    ev_uint32_t peeked = 0, tag = 0;
    int peek = evtag_peek(buffer, &peeked), result = evtag_decode_tag(&tag, buffer);
    CHECK(peek == result && (result < 0 || peeked == tag));
    token("%d,%u,%zu", result, result < 0 ? 0 : tag, evbuffer_get_length(buffer));
    evbuffer_free(buffer);
}

CASE(tag_tags) {
    static const char *const odd[] = {
        "\x80\x80\x80\x80\x0f",         "\x80\x80\x80\x80\x10", "\x80\x80\x80\x80\x80\x01",
        "\x80\x80\x80\x80\x80\x80\x80", "\xff\xff\xff\xff\x7f", "\xff\xff\xff\xff\x0f",
        "\x81\x80\x01",                 "\x81\x80",
    };
    unsigned char bytes[ROOM];
    for (size_t i = 0; i < COUNT(values); i++) {
        struct evbuffer *buffer = new_buffer("", 0);
        step("tag");
        token("%d", evtag_encode_tag(buffer, (ev_uint32_t)values[i]));
        size_t length = take_bytes(buffer, bytes);
        for (size_t n = 0; n <= length + 1; n++)
            show_tag(bytes, n);
        evbuffer_add(buffer, bytes, length);
        token("nobody asks: %d,%zu", evtag_decode_tag(NULL, buffer), evbuffer_get_length(buffer));
        evbuffer_free(buffer);
    }
    step("odd");
    for (size_t i = 0; i < COUNT(odd); i++)
        show_tag(odd[i], strlen(odd[i]));
}

CASE(tag_cve_2026_63383) /* a tag of six bytes, each in a segment of its own */ {
    struct evbuffer *buffer = new_buffer("", 0);
    ev_uint32_t tag;
    for (int i = 0; i < 6; i++) {
        struct evbuffer *one = new_buffer("\x80", 1);
        evbuffer_add_buffer(buffer, one);
        evbuffer_free(one);
    }
    int peek = evtag_peek(buffer, &tag), decode = evtag_decode_tag(&tag, buffer);
    say("%d %d %d left %zu", peek, decode, evtag_consume(buffer), evbuffer_get_length(buffer));
    evbuffer_free(buffer);
}

CASE(tag_marshal) /* how each kind of value is written */ {
    struct evbuffer *buffer = new_buffer("", 0), *data = new_buffer("data", 4);
    struct timeval time = {1234567890, 654321}, negative = {-1, -2};
    unsigned char bytes[ROOM];
    evtag_marshal(buffer, 5, "abc", 3);
    step("marshal");
    take_bytes(buffer, bytes);
    evtag_marshal(buffer, 500, NULL, 0);
    step("empty");
    take_bytes(buffer, bytes);
    evtag_marshal_buffer(buffer, 1, data);
    step("buffer");
    take_bytes(buffer, bytes);
    token("left %zu", evbuffer_get_length(data));
    evtag_marshal_buffer(buffer, 1, data);
    step("empty buffer");
    take_bytes(buffer, bytes);
    evtag_marshal_int(buffer, 2, 0xabcdef);
    step("int");
    take_bytes(buffer, bytes);
    evtag_marshal_int64(buffer, 2, 0xabcdef0123456789);
    step("int64");
    take_bytes(buffer, bytes);
    evtag_marshal_string(buffer, 3, "string");
    step("string");
    take_bytes(buffer, bytes);
    evtag_marshal_string(buffer, 3, "");
    step("empty string");
    take_bytes(buffer, bytes);
    evtag_marshal_timeval(buffer, 4, &time);
    step("timeval");
    take_bytes(buffer, bytes);
    evtag_marshal_timeval(buffer, 4, &negative);
    step("negative timeval");
    take_bytes(buffer, bytes);
    evbuffer_free(buffer);
    evbuffer_free(data);
}

/* ---- What each function that reads makes of the same bytes ---- */

/* What a function that reads may have set. */
struct got {
    ev_uint32_t tag, number;
    ev_uint64_t large;
    char fixed[3], *string;
    struct timeval time;
};

static int read_in_way(int way, struct evbuffer *buffer, ev_uint32_t need, struct got *got,
                       struct evbuffer *out) {
    switch (way) {
    case 0:
        return evtag_peek(buffer, &got->tag);
    case 1:
        return evtag_peek_length(buffer, &got->number);
    case 2:
        return evtag_payload_length(buffer, &got->number);
    case 3:
        return evtag_unmarshal_header(buffer, &got->tag);
    case 4:
        return evtag_consume(buffer);
    case 5:
        return evtag_unmarshal(buffer, &got->tag, out);
    case 6:
        return evtag_unmarshal_int(buffer, need, &got->number);
    case 7:
        return evtag_unmarshal_int64(buffer, need, &got->large);
    case 8:
        return evtag_unmarshal_fixed(buffer, need, got->fixed, sizeof got->fixed);
    case 9:
        return evtag_unmarshal_string(buffer, need, &got->string);
    default:
        return evtag_unmarshal_timeval(buffer, need, &got->time);
    }
}

static unsigned short_hash(const void *bytes, size_t length) {
    return (unsigned)(hash_bytes(HASH_START, bytes, length) & 0xffff);
}

/* For each way: the result, what was set if that says that it was, and what is left. */
static void read_all_ways(const unsigned char *bytes, size_t length, ev_uint32_t need) {
    for (int way = 0; way <= 10; way++) {
        struct evbuffer *buffer = new_buffer(bytes, length), *out = new_buffer("", 0);
        struct got got;
        memset(&got, 0, sizeof got);
        int result = read_in_way(way, buffer, need, &got, out);
        token("%d:%d", way, result);
        if (result >= 0)
            token("(%x %x %llx %04x %04x %ld.%ld)", got.tag, got.number,
                  (unsigned long long)got.large, short_hash(got.fixed, sizeof got.fixed),
                  got.string ? short_hash(got.string, strlen(got.string)) : 0,
                  (long)got.time.tv_sec, (long)got.time.tv_usec);
        token("%zu+%zu", evbuffer_get_length(buffer), evbuffer_get_length(out));
        free(got.string);
        evbuffer_free(buffer);
        evbuffer_free(out);
    }
}

static void write_kind(int kind, struct evbuffer *buffer) {
    struct timeval time = {1234567890, 654321};
    switch (kind) {
    case 0:
        evtag_marshal(buffer, 5, "abc", 3);
        break;
    case 1:
        evtag_marshal_int(buffer, 500, 0xabcdef);
        break;
    case 2:
        evtag_marshal_int64(buffer, 5, 0xabcdef0123456789);
        break;
    case 3:
        evtag_marshal_string(buffer, 5, "a longer string");
        break;
    default:
        evtag_marshal_timeval(buffer, 5, &time);
        break;
    }
}

CASE(tag_unmarshal) /* each kind of value, also cut short, with more behind it, and with another tag */ {
    for (int kind = 0; kind <= 4; kind++) {
        struct evbuffer *buffer = new_buffer("", 0);
        unsigned char bytes[ROOM];
        write_kind(kind, buffer);
        evbuffer_add(buffer, "rest", 4);
        size_t length = (size_t)evbuffer_remove(buffer, bytes, sizeof bytes);
        for (size_t n = 0; n <= length; n++) {
            step("cut");
            token("%d at %zu:", kind, n);
            read_all_ways(bytes, n, kind == 1 ? 500 : 5);
        }
        step("another tag");
        read_all_ways(bytes, length, 6);
        evbuffer_free(buffer);
    }
}

CASE(tag_random) /* bytes that are nearly values */ {
    for (unsigned seed = 0; seed < 300; seed++) {
        unsigned char bytes[24];
        fill(bytes, sizeof bytes, seed);
        bytes[0] &= 0x83;
        bytes[1] &= seed % 3 ? 0x7f : 0xff;
        if (seed % 2)
            bytes[1] = (unsigned char)(seed % 64 / 8 << 4 | (bytes[1] & 15));
        if (seed % 5 == 0) {
            bytes[1] = 0x0c;
            bytes[2] &= 0xbf;
        }
        step("random");
        token("%u:", seed);
        read_all_ways(bytes, seed % sizeof bytes, bytes[0]);
    }
}

CASE(tag_numbers_beyond_the_payload) /* which ends before they do */ {
    static const unsigned char number[] = {5, 1, 0x7f, 0xff, 0xff, 0xff, 0xf0},
                               time[] = {5, 2, 0x01, 0x7f, 0xff, 0xff, 0xff, 0xf0};
    step("number");
    read_all_ways(number, sizeof number, 5);
    step("time");
    read_all_ways(time, sizeof time, 5);
}

CASE(tag_cve_2026_63384) /* lengths that an int does not hold */ {
    static const unsigned char lengths[][8] = {
        {5, 0x70, 0xff, 0xff, 0xff, 0xf0, 1, 1},
        {5, 0x70, 0x00, 0x00, 0x00, 0x80, 1, 1},
        {5, 0x7f, 0xff, 0xff, 0xff, 0x70, 1, 1},
        {5, 0x80, 0x00, 0x00, 0x00, 0x01, 1, 1},
    };
    for (size_t i = 0; i < COUNT(lengths); i++) {
        step("length");
        read_all_ways(lengths[i], sizeof lengths[i], 5);
    }
}

CASE_DIFFERS(tag_length_of_the_whole, "K", "-1 for a length that 32 bits do not hold") {
    struct evbuffer *buffer = new_buffer("\5\x7f\xff\xff\xff\xf0", 6);
    ev_uint32_t length = 0;
    int result = evtag_peek_length(buffer, &length);
    say("whole: %d, %u", result, length);
    result = evtag_payload_length(buffer, &length);
    say("payload: %d, %u", result, length);
    evbuffer_free(buffer);
}
