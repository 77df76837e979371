/* event2/http.h: percent coding, HTML and queries. */
#include <limits.h>

#include "http.h"

CASE(http_encode) {
    char all[256];
    for (int i = 0; i < 255; i++) all[i] = (char)(i + 1);
    all[255] = 0;
    step("");
    token_freed(evhttp_encode_uri(all));
    token_freed(evhttp_encode_uri(""));
    token_freed(evhttp_uriencode(all, -1, 1));
    step("");
    token_freed(evhttp_uriencode("a b\0c+d", 7, 0));
    token_freed(evhttp_uriencode("a b\0c+d", 7, 1));
    token_freed(evhttp_uriencode("a b\0c+d", -1, 1));
    token_freed(evhttp_uriencode(" a  b ", -5, 2));
    token_freed(evhttp_uriencode("abc", 2, 0));
    token_freed(evhttp_uriencode("abc", 0, 0));
    token_freed(evhttp_uriencode("", -1, 0));
    token_freed(evhttp_uriencode("", 0, 1));
    token_freed(evhttp_uriencode(NULL, 0, 0));
    say("that is all");
}

CASE_DIFFERS(http_encode_more_than_there_can_be, "memory safety", "no text, instead of a crash") {
    say("%d", evhttp_uriencode("abc", SSIZE_MAX, 0) != NULL);
    say("%d", evhttp_uriencode("abc", SSIZE_MAX / 3, 0) != NULL);
}

CASE(http_decode) {
    static const char *const texts[] = {
        "", "abc", "a+b", "a%20b", "a%2", "a%", "a%zz", "%41%4a%4A%7e", "a+b?c+d?e+f", "%3f+%3f?+",
        "?+", "+?+%2b", "%%41", "%4%41", "a%2 ", "% 1", "%+1", "%-1", "%0x41", "\xff%ff", "%3F+a",
        "%1", "%g1", "%1g", " decode", " 0 %zu", " 1 %zu", "", "", "abc", "<>&\"'", "a<b", "&amp;",
        "\x80\x01", "", "== query", "", "a", "=", "a=", "=a", "a=b", "a=b&c=d", "a=b&a=c", "&",
        "a=b&", "&a=b", "a=b&&c=d", "a==b", "a=b=c", "a+b=c+d", "a%20b=c%20d", "a=%", "a=%zz",
        "a=%4", "a;b=c", "a=b;c=d", "a&b=c", "a=b&c", "%3d=%26", "?a=b", "a=b#c=d", "a=b?c=d",
        "A=b&a=c", "\xff=\xfe", "a\nb=c", "a=b\r\nc", "a:b=c", " =b", "a= ", "+=+", "a[]=1&a[]=2",
        "%=1", "a=1&=2", "a=1&b", "http://h/p?a=b", "a%0d%0ax=b", "a=b%0d%0ac", "a=b%0d%0a c",
        "a%=b", "a%4=b", "a=1&b=2&=3&d=4", " %d", "== parse_query", "", "?", "?a=b", "/p?a=b",
        "http://h/p?a=b#c", "http://h/p?a=b&c", "x y?a=b", "/p", "/p?", "/p#a=b", "/p?a=b?c=d",
        "a=b", "http://[?a=b", "/?q=test&s=some+thing", "/a?b=%zz", "/a?b=c d", "/a?b=<", " %d",
        " untouched", "== preset list", "x", "y", "a=b", "%d", "== headers", "", "a", "A", "a:b",
        "a b", "a\tb", "a\r", "a\n", "a\r\nb", "\xff", "\x01", "(", "a=b", "a/b", "@", "[", "{",
        "\"", ",", ";", "?", "\\", "<", ">", "!#$%&'*+-.^_`|~09azAZ", "a\x7f", "a\r\n b", " a",
        "a ", "%d\n", "v", "", "v", " v ", "a\r", "a\n", "a\r\n", "a\r\nb", "a\r\n b", "a\r\n\tb",
        "a\n b", "a\n\tb", "a\rb", "a\nb", "a\n\r b", "\r\n x", "\r\n\r\n x", "a\r\n b\r\nc",
        "a\r\n b\r\n c", "\x01\x7f\xff", "a\n", "a\n ", "a\r ", "a\r\n ", "a\r\n\x0b", "%d\n", "v",
        "V", "A", "nope", "", "\xdf", "rm %d %d %d %d\n", "A", "a", "a", "zz", "V",
        " %d empty %d\n", "v", "== set", " %d", " JOIN", "", "", "a", "1a", "a:", "a/", "A+-.9",
        "a%41", "a b", "\xff",
    };
    for (size_t i = 0; i < COUNT(texts); i++) {
        step("");
        token_text(texts[i]);
        token_freed(evhttp_decode_uri(texts[i]));
        for (int plus = -1; plus < 3; plus++) {
            size_t length = 77;
            char *decoded = evhttp_uridecode(texts[i], plus, &length);
            token("%zu", length);
            token_bytes(decoded, length);
            free(decoded);
            token_freed(evhttp_uridecode(texts[i], plus, NULL));
        }
    }
    say("that is all");
}

/* With the length the caller sees all of it. */
CASE(http_decode_zero_bytes) {
    static const char *const texts[] = {"%00", "a%00b", "a?b%00+c", "a=%00b", "a%00=b", "/a?%00=1", "%00%00", "%00+%00"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        step("");
        token_text(texts[i]);
        for (int plus = 0; plus < 2; plus++) {
            size_t length = 77;
            char *decoded = evhttp_uridecode(texts[i], plus, &length);
            token_bytes(decoded, length);
            CHECK(decoded[length] == 0);
            free(decoded);
        }
    }
    say("that is all");
}

CASE_DIFFERS(http_decode_zero_bytes_without_a_length, "K",
    "a text with %00 in it is refused, instead of cut") {
    static const char *const texts[] = {"%00", "a%00b", "a?b%00+c", "a=%00b", "a%00=b", "/a?%00=1", "/a%00b?x=1+2"};
    for (size_t i = 0; i < COUNT(texts); i++) {
        step("");
        token_text(texts[i]);
        token_freed(evhttp_decode_uri(texts[i]));
        token_freed(evhttp_uridecode(texts[i], 0, NULL));
        token_freed(evhttp_uridecode(texts[i], 1, NULL));
    }
    say("that is all");
}

CASE(http_htmlescape) {
    static const char *const texts[] = {
        "", "abc", "<>&\"'", "a<b", "&amp;", "\x80\x01", "<<>>", NULL,
    };
    step("");
    for (size_t i = 0; i < COUNT(texts); i++) token_freed(evhttp_htmlescape(texts[i]));
    say("that is all");
}

CASE_DIFFERS(http_texts_that_are_not_there, "memory safety", "NULL, instead of a crash") {
    say("%d", evhttp_encode_uri(NULL) != NULL);
    say("%d", evhttp_uriencode(NULL, -1, 0) != NULL);
    say("%d", evhttp_uriencode(NULL, 1, 0) != NULL);
    say("%d", evhttp_decode_uri(NULL) != NULL);
    say("%d", evhttp_uridecode(NULL, 0, NULL) != NULL);
}

/* The list needs not be initialised; after a failure it is empty. */
static void show_query(const char *text, int parse(const char *, struct evkeyvalq *)) {
    struct evkeyvalq list;
    memset(&list, 0x55, sizeof list);
    step("");
    token_text(text);
    token("%d", parse(text, &list));
    token_list(&list);
    evhttp_clear_headers(&list);
    CHECK(TAILQ_EMPTY(&list));
}

CASE(http_parse_query_str) {
    static const char *const texts[] = {
        "", "a", "=", "a=", "=a", "a=b", "a=b&c=d", "a=b&a=c", "&", "a=b&", "&a=b", "a=b&&c=d",
        "a==b", "a=b=c", "a+b=c+d", "a%20b=c%20d", "a%00=b", "a=%", "a=%zz", "a=%4", "a;b=c",
        "a=b;c=d", "a&b=c", "a=b&c", "%3d=%26", "?a=b", "a=b#c=d", "a=b?c=d", "A=b&a=c",
        "\xff=\xfe", "a\nb=c", "a=b\r\nc", "a:b=c", " =b", "a= ", "+=+", "a[]=1&a[]=2", "%=1",
        "a=1&=2", "a=1&b", "http://h/p?a=b", "a%0d%0ax=b", "a=b%0d%0ac", "a=b%0d%0a c", "a%=b",
        "a%4=b", "a=1&b=2&=3&d=4", " %d", "== parse_query", "", "?", "?a=b", "/p?a=b",
        "http://h/p?a=b#c", "http://h/p?a=b&c", "x y?a=b", "/p", "/p?", "/p#a=b", "/p?a=b?c=d",
        "a=b", "http://[?a=b", "/?q=test&s=some+thing", "/a?%00=1", "/a?b=%zz", "/a?b=c d",
        "/a?b=<", " %d", " untouched", "== preset list", "x", "y", "a=b", "%d", "== headers", "",
        "a", "A", "a:b", "a b", "a\tb", "a\r", "a\n", "a\r\nb", "\xff", "\x01", "(", "a=b", "a/b",
        "@", "[", "{", "\"", ",", ";", "?", "\\", "<", ">", "!#$%&'*+-.^_`|~09azAZ", "a\x7f",
        "a\r\n b", " a", "a ", "%d\n", "v", "", "v", " v ", "a\r", "a\n", "a\r\n", "a\r\nb",
        "a\r\n b", "a\r\n\tb", "a\n b", "a\n\tb", "a\rb", "a\nb", "a\n\r b", "\r\n x",
        "\r\n\r\n x", "a\r\n b\r\nc", "a\r\n b\r\n c", "\x01\x7f\xff", "a\n", "a\n ", "a\r ",
        "a\r\n ", "a\r\n\x0b", "%d\n", "v", "V", "A", "nope", "", "\xdf", "rm %d %d %d %d\n", "A",
        "a", "a", "zz", "V", " %d empty %d\n", "v", "== set", " %d", " JOIN", "", "", "a", "1a",
        "a:", "a/", "A+-.9", "a%41", "a b", "\xff", "a=b&&", "&&", "a=&b=", "a=b&=c",
        "a=1&a=1&a=1", "a=%2B+%2b",
    };
    for (size_t i = 0; i < COUNT(texts); i++) show_query(texts[i], evhttp_parse_query_str);
    show_query(NULL, evhttp_parse_query_str);
    say("that is all");
}

CASE(http_parse_query) {
    static const char *const texts[] = {
        "", "?", "?a=b", "/p?a=b", "http://h/p?a=b#c", "http://h/p?a=b&c", "x y?a=b", "/p", "/p?",
        "/p#a=b", "/p?a=b?c=d", "a=b", "http://[?a=b", "/?q=test&s=some+thing", "/a?%00=1",
        "/a?b=%zz", "/a?b=c d", "/a?b=<", " %d", " untouched", "== preset list", "x", "y", "a=b",
        "%d", "== headers", "", "a", "A", "a:b", "a b", "a\tb", "a\r", "a\n", "a\r\nb", "\xff",
        "\x01", "(", "a=b", "a/b", "@", "[", "{", "\"", ",", ";", "?", "\\", "<", ">",
        "!#$%&'*+-.^_`|~09azAZ", "a\x7f", "a\r\n b", " a", "a ", "%d\n", "v", "", "v", " v ",
        "a\r", "a\n", "a\r\n", "a\r\nb", "a\r\n b", "a\r\n\tb", "a\n b", "a\n\tb", "a\rb", "a\nb",
        "a\n\r b", "\r\n x", "\r\n\r\n x", "a\r\n b\r\nc", "a\r\n b\r\n c", "\x01\x7f\xff", "a\n",
        "a\n ", "a\r ", "a\r\n ", "a\r\n\x0b", "%d\n", "v", "V", "A", "nope", "", "\xdf",
        "rm %d %d %d %d\n", "A", "a", "a", "zz", "V", " %d empty %d\n", "v", "== set", " %d",
        " JOIN", "", "", "a", "1a", "a:", "a/", "A+-.9", "a%41", "a b", "\xff",
    };
    for (size_t i = 0; i < COUNT(texts); i++) show_query(texts[i], evhttp_parse_query);
    show_query(NULL, evhttp_parse_query);
    say("that is all");
}

CASE_DIFFERS(http_parse_query_with_zero_bytes, "K",
    "a value with %00 in it is refused, instead of cut") {
    static const char *const texts[] = {"a=%00b", "a=1&b=c%00", "a=%2500", "a%00=b"};
    for (size_t i = 0; i < COUNT(texts); i++) show_query(texts[i], evhttp_parse_query_str);
    show_query("/p?a=%00", evhttp_parse_query);
    say("that is all");
}

static int allocated;

static void *counting_malloc(size_t size) {
    allocated++;
    return malloc(size);
}

static void *counting_realloc(void *memory, size_t size) {
    if (!memory) allocated++;
    return realloc(memory, size);
}

static void counting_free(void *memory) {
    if (memory) allocated--;
    free(memory);
}

/* What the program frees comes from its own functions. */
CASE(http_memory_is_the_programs) {
    allocated = 0;
    event_set_mem_functions(counting_malloc, counting_realloc, counting_free);
    struct evkeyvalq list;
    CHECK(evhttp_parse_query_str("a=1&b=2", &list) == 0);
    say("%d", allocated >= 6);
    CHECK(evhttp_add_header(&list, "c", "3") == 0 && evhttp_remove_header(&list, "a") == 0);
    evhttp_clear_headers(&list);
    say("%d", allocated);
    CHECK(evhttp_parse_query_str("a=1&b", &list) == -1);
    say("%d", allocated);
    char *texts[] = {
        evhttp_encode_uri("a b"), evhttp_decode_uri("a%20b"), evhttp_uriencode("a", 1, 0),
        evhttp_uridecode("a", 0, NULL), evhttp_htmlescape("<"),
    };
    say("%d", allocated);
    for (size_t i = 0; i < COUNT(texts); i++) counting_free(texts[i]);
    say("%d", allocated);
}
