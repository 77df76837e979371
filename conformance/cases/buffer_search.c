/* Finding positions: ptr_set, search, search_range, search_eol, and the pointers they give. */
#include "buffer.h"

#include <event2/buffer_compat.h>

static int position_of(struct evbuffer *buffer, const char *text, const struct evbuffer_ptr *from) {
    return (int)evbuffer_search(buffer, text, strlen(text), from).pos;
}

static struct evbuffer_ptr at(struct evbuffer *buffer, size_t position) {
    struct evbuffer_ptr pointer;
    CHECK(evbuffer_ptr_set(buffer, &pointer, position, EVBUFFER_PTR_SET) == 0);
    return pointer;
}

CASE(buffer_ptr_set) {
    struct evbuffer *buffer = scattered("0123456789");
    struct evbuffer_ptr p;
    int result = evbuffer_ptr_set(buffer, &p, 4, EVBUFFER_PTR_SET);
    say("set 4: %d at %d", result, (int)p.pos);
    result = evbuffer_ptr_set(buffer, &p, 3, EVBUFFER_PTR_ADD);
    say("add 3: %d at %d", result, (int)p.pos);
    result = evbuffer_ptr_set(buffer, &p, 3, EVBUFFER_PTR_ADD);
    say("to the end: %d at %d", result, (int)p.pos);
    result = evbuffer_ptr_set(buffer, &p, 0, EVBUFFER_PTR_ADD);
    say("by 0: %d at %d", result, (int)p.pos);
    result = evbuffer_ptr_set(buffer, &p, 1, EVBUFFER_PTR_ADD);
    say("past it: %d at %d", result, (int)p.pos);
    result = evbuffer_ptr_set(buffer, &p, 10, EVBUFFER_PTR_SET);
    say("set to the end: %d at %d", result, (int)p.pos);
    result = evbuffer_ptr_set(buffer, &p, 11, EVBUFFER_PTR_SET);
    say("set past it: %d at %d", result, (int)p.pos);
    result = evbuffer_ptr_set(buffer, &p, 2, EVBUFFER_PTR_SET);
    CHECK(result == 0);
    result = evbuffer_ptr_set(buffer, &p, SIZE_MAX, EVBUFFER_PTR_ADD);
    say("overflow: %d", result);
    evbuffer_free(buffer);
    buffer = evbuffer_new();
    result = evbuffer_ptr_set(buffer, &p, 0, EVBUFFER_PTR_SET);
    say("0 in an empty one: %d at %d", result, (int)p.pos);
    result = evbuffer_ptr_set(buffer, &p, 1, EVBUFFER_PTR_SET);
    say("1 in an empty one: %d at %d", result, (int)p.pos);
    evbuffer_free(buffer);
}

CASE(buffer_search) {
    struct evbuffer *together = buffer_of("abcabcabd"), *apart = scattered("abcabcabd");
    struct evbuffer *both[] = {together, apart};
    for (int i = 0; i < 2; i++) {
        struct evbuffer_ptr from1 = at(both[i], 1), from9 = at(both[i], 9);
        step(i == 0 ? "together" : "apart");
        token("abd=%d", position_of(both[i], "abd", NULL));
        token("abc=%d", position_of(both[i], "abc", NULL));
        token("abc from 1=%d", position_of(both[i], "abc", &from1));
        token("abcabd=%d", position_of(both[i], "abcabd", NULL));
        token("all=%d", position_of(both[i], "abcabcabd", NULL));
        token("longer=%d", position_of(both[i], "abcabcabde", NULL));
        token("x=%d", position_of(both[i], "x", NULL));
        token("d=%d", position_of(both[i], "d", NULL));
        token("from the end=%d", position_of(both[i], "d", &from9));
    }
    evbuffer_free(together);
    evbuffer_free(apart);
}

CASE(buffer_search_for_nothing) {
    struct evbuffer *buffer = buffer_of("abc"), *empty = evbuffer_new();
    struct evbuffer_ptr from2 = at(buffer, 2);
    say("from the start %d", position_of(buffer, "", NULL));
    say("from 2: %d", position_of(buffer, "", &from2));
    say("in an empty one %d", position_of(empty, "", NULL));
    say("a letter in an empty one %d", position_of(empty, "a", NULL));
    evbuffer_free(buffer);
    evbuffer_free(empty);
}

/* The whole match must lie before the end of the range. */
CASE(buffer_search_range) {
    struct evbuffer *together = buffer_of("xxabcxxabc"), *apart = scattered("xxabcxxabc");
    struct evbuffer *both[] = {together, apart};
    for (int i = 0; i < 2; i++) {
        struct evbuffer_ptr start = at(both[i], 3), end;
        step(i == 0 ? "together" : "apart");
        for (size_t limit = 3; limit <= 6; limit++) {
            end = at(both[i], limit);
            token("%d", (int)evbuffer_search_range(both[i], "abc", 3, NULL, &end).pos);
        }
        end = at(both[i], 9);
        token("%d", (int)evbuffer_search_range(both[i], "abc", 3, &start, &end).pos);
        end = at(both[i], 10);
        token("%d", (int)evbuffer_search_range(both[i], "abc", 3, &start, &end).pos);
    }
    evbuffer_free(together);
    evbuffer_free(apart);
}

/* The results of a search serve as the start of the next. */
CASE(buffer_search_walks) {
    struct evbuffer *buffer = scattered("a,bb,,ccc,");
    struct evbuffer_ptr found = evbuffer_search(buffer, ",", 1, NULL);
    step("commas");
    while (found.pos >= 0) {
        token("%d", (int)found.pos);
        CHECK(evbuffer_ptr_set(buffer, &found, 1, EVBUFFER_PTR_ADD) == 0);
        found = evbuffer_search(buffer, ",", 1, &found);
    }
    evbuffer_free(buffer);
}

CASE(buffer_find_of_the_old_api) {
    struct evbuffer *buffer = buffer_of("find the needle");
    const unsigned char *found = evbuffer_find(buffer, (const unsigned char *)"needle", 6);
    say("found %.6s", found ? (const char *)found : "nothing");
    say("missing %d", evbuffer_find(buffer, (const unsigned char *)"hay", 3) != NULL);
    evbuffer_free(buffer);
}

static const enum evbuffer_eol_style styles[] = {EVBUFFER_EOL_ANY, EVBUFFER_EOL_CRLF,
                                                 EVBUFFER_EOL_CRLF_STRICT, EVBUFFER_EOL_LF,
                                                 EVBUFFER_EOL_NUL};
static const char *style_names[] = {"any", "crlf", "strict", "lf", "nul"};

static void search_all_styles(const char *name, const char *data, size_t length) {
    for (int apart = 0; apart < 2; apart++) {
        struct evbuffer *buffer = evbuffer_new();
        for (size_t i = 0; i < length; i++)
            CHECK((apart ? evbuffer_add_reference(buffer, data + i, 1, NULL, NULL)
                         : evbuffer_add(buffer, data + i, 1)) == 0);
        step(name);
        for (int i = 0; i < 5; i++) {
            size_t eol = 99;
            struct evbuffer_ptr found = evbuffer_search_eol(buffer, NULL, &eol, styles[i]);
            token("%s=%d+%zu", style_names[i], (int)found.pos, eol);
        }
        evbuffer_free(buffer);
    }
}

/* Position and length of the end of line, in all styles; the length is set to 0 when there is
 * none. Each text twice: in one piece and in pieces of one byte. */
CASE(buffer_search_eol_styles) {
    search_all_styles("lf", "ab\ncd", 5);
    search_all_styles("crlf", "ab\r\ncd", 6);
    search_all_styles("cr", "ab\rcd", 5);
    search_all_styles("lfcr", "ab\n\rcd", 6);
    search_all_styles("crcrlf", "ab\r\r\ncd", 7);
    search_all_styles("cr then crlf", "a\rb\r\nc", 6);
    search_all_styles("lf then crlf", "a\nb\r\nc", 6);
    search_all_styles("nul", "ab\0cd", 5);
    search_all_styles("none", "abcd", 4);
    search_all_styles("cr at the end", "ab\r", 3);
    search_all_styles("lf only", "\n", 1);
    search_all_styles("lflf", "a\n\nb", 4);
    search_all_styles("empty", "", 0);
}

CASE(buffer_search_eol_from_a_position) {
    struct evbuffer *buffer = buffer_of("one\r\ntwo\r\n");
    struct evbuffer_ptr start = at(buffer, 4);
    size_t eol;
    struct evbuffer_ptr found = evbuffer_search_eol(buffer, &start, &eol, EVBUFFER_EOL_CRLF);
    say("between cr and lf: %d+%zu", (int)found.pos, eol);
    start = at(buffer, 5);
    found = evbuffer_search_eol(buffer, &start, &eol, EVBUFFER_EOL_CRLF);
    say("from the second line: %d+%zu", (int)found.pos, eol);
    found = evbuffer_search_eol(buffer, &start, NULL, EVBUFFER_EOL_CRLF_STRICT);
    say("without a length: %d", (int)found.pos);
    start = at(buffer, 10);
    found = evbuffer_search_eol(buffer, &start, &eol, EVBUFFER_EOL_LF);
    say("from the end: %d", (int)found.pos);
    evbuffer_free(buffer);
}

static void token_line(const char *line, size_t length) {
    char shown[128];
    size_t used = 0;
    for (size_t i = 0; i < length; i++) {
        char c = line[i];
        CHECK(used + 3 < sizeof shown);
        if (c == '\r' || c == '\n' || c == '\0') {
            shown[used++] = '\\';
            shown[used++] = c == '\r' ? 'r' : c == '\n' ? 'n' : '0';
        } else {
            shown[used++] = c;
        }
    }
    shown[used] = '\0';
    token("<%s>%zu", shown, length);
}

static void read_all_lines(const char *name, const char *data, size_t length,
                           enum evbuffer_eol_style style) {
    struct evbuffer *buffer = evbuffer_new();
    char *line;
    size_t n = 99;
    CHECK(evbuffer_add(buffer, data, length) == 0);
    step(name);
    while ((line = evbuffer_readln(buffer, &n, style))) {
        CHECK(line[n] == '\0');
        token_line(line, n);
        free(line);
    }
    token("rest=%zu n=%zu", evbuffer_get_length(buffer), n);
    evbuffer_free(buffer);
}

CASE(buffer_readln_styles) {
    static const char text[] = "one\ntwo\r\n\rthree\n\n\nfour\0five\rsix";
    for (int i = 0; i < 5; i++)
        read_all_lines(style_names[i], text, sizeof text - 1, styles[i]);
    read_all_lines("any, ends first", "\r\n\n\rx\r", 6, EVBUFFER_EOL_ANY);
    read_all_lines("empty", "", 0, EVBUFFER_EOL_LF);
    struct evbuffer *buffer = buffer_of("no length wanted\n");
    char *line = evbuffer_readln(buffer, NULL, EVBUFFER_EOL_LF);
    say("%s", line);
    free(line);
    evbuffer_free(buffer);
}

/* evbuffer_readline is readln with EOL_ANY. */
CASE(buffer_readline_of_the_old_api) {
    struct evbuffer *buffer = buffer_of("one\r\n\r\ntwo\nrest");
    char *line;
    step("lines");
    while ((line = evbuffer_readline(buffer))) {
        token("<%s>", line);
        free(line);
    }
    say_buffer("rest", buffer);
    evbuffer_free(buffer);
}

/* A line over many pieces, longer than any of them. */
CASE(buffer_readln_long) {
    struct evbuffer *buffer = evbuffer_new();
    char data[1000];
    size_t n;
    memset(data, 'l', sizeof data);
    for (int i = 0; i < 50; i++)
        CHECK(evbuffer_add(buffer, data, sizeof data - (size_t)i) == 0);
    say("not yet %d", evbuffer_readln(buffer, &n, EVBUFFER_EOL_CRLF) != NULL);
    CHECK(evbuffer_add(buffer, "\r", 1) == 0);
    say("not yet %d", evbuffer_readln(buffer, &n, EVBUFFER_EOL_CRLF) != NULL);
    CHECK(evbuffer_add(buffer, "\nnext", 5) == 0);
    char *line = evbuffer_readln(buffer, &n, EVBUFFER_EOL_CRLF);
    CHECK(line);
    say("length %zu %zu", n, strlen(line));
    free(line);
    say_buffer("rest", buffer);
    evbuffer_free(buffer);
}
