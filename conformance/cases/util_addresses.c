/* event2/util.h: addresses as text and as numbers. */
#include "case.h"

#include <net/if.h>
#include <sys/mman.h>

/* What was parsed, as text again. */
static void show_address(const struct sockaddr_storage *address, int length) {
    char text[64];
    if (address->ss_family == AF_INET) {
        const struct sockaddr_in *v4 = (const void *)address;
        CHECK(evutil_inet_ntop(AF_INET, &v4->sin_addr, text, sizeof text) == text);
        say("  v4 %s port %d length %d", text, ntohs(v4->sin_port), length);
    } else {
        const struct sockaddr_in6 *v6 = (const void *)address;
        CHECK(evutil_inet_ntop(AF_INET6, &v6->sin6_addr, text, sizeof text) == text);
        say("  v6 %s port %d scope %s length %d", text, ntohs(v6->sin6_port),
            v6->sin6_scope_id == if_nametoindex("lo") ? "lo" : v6->sin6_scope_id ? "other" : "none",
            length);
    }
}

static void parse(const char *text) {
    struct sockaddr_storage address;
    int length = sizeof address;
    memset(&address, 0x5a, sizeof address);
    int result = evutil_parse_sockaddr_port(text, (struct sockaddr *)&address, &length);
    say("\"%s\" %d", text, result);
    if (result == 0)
        show_address(&address, length);
}

CASE(util_parse_sockaddr_port_takes) {
    static const char *const texts[] = {
        "[::1]:80", "::1", "[::1]", "1.2.3.4:80", "1.2.3.4", "1.2.3.4:80x", "[::1]x", "[::1]80",
        "[fe80::1%lo]:80", "fe80::1%lo", "[fe80::1%1]:80", "0.0.0.0", "255.255.255.255:65535",
        "[::ffff:1.2.3.4]:1", "::", "[::]:1", "1.2.3.4:+80", "1.2.3.4: 80", "1.2.3.4:080",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        parse(texts[i]);
}

CASE(util_parse_sockaddr_port_of_scopes) {
    static const char *const texts[] = {
        "fe80::1%77777", "[fe80::1%77777]:80", "fe80::1%+1", "fe80::1%01", "fe80::1%0", "fe80::1%4294967295",
        "fe80::1%", "fe80::1%1x", "fe80::1%0x1", "fe80::1%1 ", "fe80::1%lo%lo", "fe80::1%lo%1", "fe80::1%a:b",
        "fe80::1%1:2", "%1", "[%1]", "[fe80::1%lo", "[fe80::1]%lo", "[fe80::1]%lo:80", "1.2.3.4%lo",
        "1.2.3.4%lo:80", "::ffff:1.2.3.4%lo", "fe80::1%averyveryveryverylonginterfacename",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        parse(texts[i]);
}

CASE_DIFFERS(util_parse_sockaddr_port_of_scopes_that_are_none, "K",
             "libevent takes the number of a scope modulo 2^32, with blanks before it") {
    static const char *const texts[] = {
        "fe80::1%-1", "fe80::1%-0", "fe80::1% 1", "fe80::1%\t1", "fe80::1%4294967296",
        "fe80::1%99999999999999999999",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        parse(texts[i]);
}

CASE(util_parse_sockaddr_port_refuses) {
    static const char *const texts[] = {
        "", ":", "[", "]", "[]", "[]:80", "[::1", "[::1]:", "[::1]:0", "[::1]:65536", "[::1]:x",
        "1.2.3.4:", "1.2.3.4:0", "1.2.3.4:65536", "1.2.3.4:-1", "1.2.3.4:x", "1.2.3", "1.2.3.4.5",
        "1.2.3.256", "1.2.3.-4", "1.2.3.x", "a.b.c.d", "localhost", "localhost:80", ":80", "::1:80x",
        ":::", "1::2::3", "[1.2.3.4]:80", "[1.2.3.4]", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9",
        "12345::", "::g", "[fe80::1%nosuchinterface0]:80", "fe80::1%nosuchinterface0",
        "1.2.3.4:99999999999999999999", "::1%", "[::1]:-1", " 1.2.3.4", "1.2.3.4 ", "1.2.3.4 :80",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++)
        parse(texts[i]);
}

/* A bracketed part of more than 127 bytes is none. */
CASE(util_parse_sockaddr_port_of_long_texts) {
    static const size_t lengths[] = {1, 39, 40, 126, 127, 128, 129, 255, 256, 4096, 1 << 20};
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t length = lengths[i];
        char *text = malloc(length + 8);
        struct sockaddr_storage address;
        int results[4];
        CHECK(text);
        for (int form = 0; form < 4; form++) {
            int room = sizeof address;
            char *end = text;
            if (form < 2)
                *end++ = '[';
            memset(end, form % 2 ? '1' : ':', length);
            end += length;
            if (form < 2)
                *end++ = ']';
            strcpy(end, ":80");
            results[form] = evutil_parse_sockaddr_port(text, (struct sockaddr *)&address, &room);
        }
        say("%zu: %d %d %d %d", length, results[0], results[1], results[2], results[3]);
        free(text);
    }
}

/* A text of `length` colons in brackets; its pages are the same few again and again. */
static void parse_huge(size_t length) {
    enum { PIECE = 16 << 20 };
    size_t pieces = length / PIECE + 2;
    int file = memfd_create("text", MFD_CLOEXEC);
    char *filled = malloc(PIECE);
    CHECK(file >= 0 && filled);
    memset(filled, ':', PIECE);
    CHECK(write(file, filled, PIECE) == PIECE);
    free(filled);
    char *text = mmap(NULL, pieces * PIECE, PROT_READ, MAP_PRIVATE | MAP_ANONYMOUS, -1, 0);
    CHECK(text != MAP_FAILED);
    for (size_t i = 0; i < pieces; i++)
        CHECK(mmap(text + i * PIECE, PIECE, PROT_READ | PROT_WRITE, MAP_PRIVATE | MAP_FIXED, file,
                   0) == text + i * PIECE);
    struct sockaddr_storage address;
    int room = sizeof address;
    text[0] = '[';
    text[length + 1] = ']';
    text[length + 2] = '\0';
    say("%d", evutil_parse_sockaddr_port(text, (struct sockaddr *)&address, &room));
    munmap(text, pieces * PIECE);
    close(file);
}

/* CVE-2016-10196: more characters than an int can count. Fewer under valgrind, which reads slowly. */
CASE(util_parse_sockaddr_port_beyond_two_gigabytes) {
    parse_huge(under_valgrind() ? 1 << 20 : ((size_t)1 << 31) + 1);
}

CASE(util_parse_sockaddr_port_needs_room) {
    static const char *const texts[] = {"1.2.3.4:80", "[::1]:80", "1.2.3.4", "::1"};
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        int first = -1;
        for (int room = -1; room <= 32; room++) {
            struct sockaddr_storage address;
            int length = room;
            memset(&address, 0x5a, sizeof address);
            int result =
                evutil_parse_sockaddr_port(texts[i], (struct sockaddr *)&address, &length);
            if (result == 0 && first < 0)
                first = room;
            /* Nothing is written where it does not fit. */
            const unsigned char *bytes = (const unsigned char *)&address;
            for (int at = result == 0 ? room : 0; at < (int)sizeof address; at++)
                CHECK(bytes[at] == 0x5a);
        }
        say("%s: from %d", texts[i], first);
    }
}

static struct sockaddr_in v4(const char *text, int port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons((uint16_t)port)};
    CHECK(evutil_inet_pton(AF_INET, text, &address.sin_addr) == 1);
    return address;
}

static struct sockaddr_in6 v6(const char *text, int port) {
    struct sockaddr_in6 address = {.sin6_family = AF_INET6, .sin6_port = htons((uint16_t)port)};
    CHECK(evutil_inet_pton(AF_INET6, text, &address.sin6_addr) == 1);
    return address;
}

static int sign(int number) {
    return (number > 0) - (number < 0);
}

static void compare(const char *name, const void *one, const void *other) {
    int plain = sign(evutil_sockaddr_cmp(one, other, 0));
    int ports = sign(evutil_sockaddr_cmp(one, other, 1));
    /* Which of two comes first is arbitrary, but the other way round it is the other one. */
    CHECK(sign(evutil_sockaddr_cmp(other, one, 0)) == -plain);
    CHECK(sign(evutil_sockaddr_cmp(other, one, 1)) == -ports);
    say("%s: %s, with ports %s", name, plain ? "different" : "same", ports ? "different" : "same");
}

CASE(util_sockaddr_cmp) {
    struct sockaddr_in a = v4("1.2.3.4", 80), b = v4("1.2.3.4", 81), c = v4("1.2.3.5", 80);
    struct sockaddr_in6 d = v6("::1", 80), e = v6("::1", 81), f = v6("::2", 80);
    struct sockaddr_in6 scoped = d, flow = d;
    scoped.sin6_scope_id = 1;
    flow.sin6_flowinfo = 1;
    compare("equal", &a, &a);
    compare("other port", &a, &b);
    compare("other address", &a, &c);
    compare("v4 and v6", &a, &d);
    compare("equal v6", &d, &d);
    compare("v6 other port", &d, &e);
    compare("v6 other address", &d, &f);
    compare("v6 other scope", &d, &scoped);
    compare("v6 other flow", &d, &flow);
    /* Of one family, the port decides last. */
    say("%d %d", sign(evutil_sockaddr_cmp((void *)&a, (void *)&b, 1)),
        sign(evutil_sockaddr_cmp((void *)&d, (void *)&e, 1)));
}

static void show_pton(int family, const char *text) {
    unsigned char out[16];
    char back[64];
    memset(out, 0x5a, sizeof out);
    int result = evutil_inet_pton(family, text, out);
    if (result == 1)
        CHECK(evutil_inet_ntop(family, out, back, sizeof back));
    say("%s \"%s\" %d %s", family == AF_INET ? "v4" : "v6", text, result, result == 1 ? back : "-");
}

CASE(util_inet_pton) {
    static const char *const four[] = {
        "1.2.3.4", "0.0.0.0", "255.255.255.255", "256.0.0.0", "1.2.3", "1.2.3.4.5", "", "1.2.3.4x",
        "01.02.03.04", "1..2.3", "a.b.c.d", "1.2.3.4 ", " 1.2.3.4", "+1.2.3.4", "-1.2.3.4", "1.2.3.",
        ".1.2.3", "0x1.2.3.4",
    };
    static const char *const six[] = {
        "::", "::1", "1::", "1:2:3:4:5:6:7:8", "1:2:3:4:5:6:7", "1:2:3:4:5:6:7:8:9", "::1.2.3.4",
        "::ffff:1.2.3.4", "1:2:3:4:5:6:1.2.3.4", "1:2:3:4:5:6:7:1.2.3.4", "::1.2.3", "::1.2.3.256",
        "", ":", ":::", "1::2::3", "::g", "12345::", "FFFF::ABcd", "ffff:ffff:ffff:ffff:ffff:ffff:ffff:ffff",
        "1:2:3:4:5:6:7::", "::2:3:4:5:6:7:8", "fe80::1%lo", "::1 ", " ::1", "0001::", "00001::", "1:",
        ":1", "1.2.3.4", "::1.2.3.4:5", "64:ff9b::1.2.3.4", "::01.2.3.4",
        "::0121.2.3.4", "::00000121.2.3.4", ":: 1.2.3.4", "::+1.2.3.4", "::-1.2.3.4", "::\n1.2.3.4", "::1.+2.3.4",
        "::1. 2.3.4", "::.2.3.4", "::x1.2.3.4", "::0x1.2.3.4", "::0xfffff", "::+1", ":: 1", "::-1", "1::2:3.4.5.6:",
    };
    for (size_t i = 0; i < sizeof four / sizeof *four; i++)
        show_pton(AF_INET, four[i]);
    for (size_t i = 0; i < sizeof six / sizeof *six; i++)
        show_pton(AF_INET6, six[i]);
    unsigned char out[16];
    say("another family %d", evutil_inet_pton(AF_UNIX, "1.2.3.4", out));
}

CASE(util_inet_pton_scope) {
    static const char *const texts[] = {
        "fe80::1%lo", "fe80::1%1", "fe80::1", "fe80::1%", "fe80::1%nosuchinterface0", "%lo", "::g%lo",
        "fe80::1%lo%lo", "fe80::1%0", "fe80::1%77777",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        unsigned char out[16];
        char back[64] = "-";
        unsigned index = 4711;
        int result = evutil_inet_pton_scope(AF_INET6, texts[i], out, &index);
        if (result == 1)
            CHECK(evutil_inet_ntop(AF_INET6, out, back, sizeof back));
        say("%s: %d %s scope %s", texts[i], result, back,
            result != 1                        ? "-"
            : index == if_nametoindex("lo")    ? "lo"
            : index == 0                       ? "none"
                                               : "other");
    }
    unsigned char out[16];
    unsigned index = 4711;
    say("v4 %d", evutil_inet_pton_scope(AF_INET, "1.2.3.4", out, &index));
}

CASE(util_inet_ntop) {
    static const unsigned char addresses[][16] = {
        {0},
        {[15] = 1},
        {[0] = 0x20, [1] = 1, [15] = 1},
        {[0] = 0xfe, [1] = 0x80, [8] = 1, [15] = 1},
        {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16},
        {[10] = 0xff, [11] = 0xff, [12] = 1, [13] = 2, [14] = 3, [15] = 4},
        {[12] = 1, [13] = 2, [14] = 3, [15] = 4},
        {[14] = 3, [15] = 4},
        {[12] = 1},
        {[1] = 1, [5] = 1, [9] = 1, [13] = 1},
        {[0] = 1, [7] = 1},
        {[3] = 1, [15] = 1},
        {[0] = 1, [4] = 1, [8] = 1, [12] = 1},
        {[8] = 0xff, [9] = 0xff, [12] = 1, [13] = 2, [14] = 3, [15] = 4},
    };
    char text[64];
    for (size_t i = 0; i < sizeof addresses / sizeof *addresses; i++) {
        CHECK(evutil_inet_ntop(AF_INET6, addresses[i], text, sizeof text) == text);
        say("%s", text);
        CHECK(evutil_inet_ntop(AF_INET, addresses[i], text, sizeof text) == text);
        say("%s", text);
    }
    say("another family %d", evutil_inet_ntop(AF_UNIX, addresses[0], text, sizeof text) != NULL);
}

CASE_DIFFERS(util_inet_ntop_needs_room_for_the_zero_byte, "K",
             "libevent gives an address without its last digit where only the zero byte has no room") {
    static const unsigned char address[16] = {1, 2, 3, 4, 5, 6, 7, 8, 9, 10, 11, 12, 13, 14, 15, 16};
    static const int families[] = {AF_INET, AF_INET6};
    for (size_t i = 0; i < 2; i++) {
        char whole[64], text[64];
        size_t room = 0;
        CHECK(evutil_inet_ntop(families[i], address, whole, sizeof whole));
        while (room < sizeof text && !evutil_inet_ntop(families[i], address, text, room))
            room++;
        say("%s: the least room that is accepted gives %s", whole, text);
    }
}

CASE_DIFFERS(util_inet_pton_of_what_is_no_ipv6_address, "K",
             "libevent takes a colon at the end, and 0x before a group") {
    static const char *const texts[] = {
        "::1:", "1::2:", "1:2:3:4:5:6:7:8:", "::1:%lo", "0x1::", "::0x1", "::0XfF", "::0x123",
    };
    for (size_t i = 0; i < sizeof texts / sizeof *texts; i++) {
        unsigned char out[16];
        unsigned scope;
        say("%d of %s", evutil_inet_pton_scope(AF_INET6, texts[i], out, &scope), texts[i]);
    }
}

CASE_DIFFERS(util_inet_pton_of_a_number_that_wraps, "K",
             "libevent takes the number modulo 2^32 and accepts the address") {
    struct in_addr address;
    say("%d", evutil_inet_pton(AF_INET, "4294967297.1.1.1", &address));
}
