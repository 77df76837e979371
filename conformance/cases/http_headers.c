/* event2/http.h: lists of headers. */
#include "http.h"

CASE(http_headers_are_a_list) {
    static const char *const names[] = {
        "a", "B", "a", "A", "!#$%&'*+-.^_`|~09azAZ", "b", "Content-Length",
    };
    struct evkeyvalq list;
    TAILQ_INIT(&list);
    char value[] = "0";
    for (size_t i = 0; i < COUNT(names); i++, value[0]++)
        CHECK(evhttp_add_header(&list, names[i], value) == 0);
    step("all");
    token_list(&list);
    step("found");
    token_text(evhttp_find_header(&list, "A"));
    token_text(evhttp_find_header(&list, "b"));
    token_text(evhttp_find_header(&list, "CONTENT-length"));
    token_text(evhttp_find_header(&list, "Content-Lengt"));
    token_text(evhttp_find_header(&list, "Content-Length:"));
    token_text(evhttp_find_header(&list, ""));
    static const char *const removed[] = {
        "A", "content-length", "nobody", "B", "a", "", "A", "a", "B", "b",
    };
    for (size_t i = 0; i < COUNT(removed); i++) {
        step("without");
        token("%s %d", removed[i], evhttp_remove_header(&list, removed[i]));
        token_list(&list);
    }
    /* The last one was taken away: the next one goes to the end nevertheless. */
    CHECK(evhttp_add_header(&list, "x", "1") == 0);
    CHECK(evhttp_remove_header(&list, "x") == 0);
    CHECK(evhttp_add_header(&list, "y", "2") == 0);
    step("all");
    token_list(&list);
    evhttp_clear_headers(&list);
    CHECK(TAILQ_EMPTY(&list));
    step("none");
    token_text(evhttp_find_header(&list, "y"));
    token("%d", evhttp_remove_header(&list, "y"));
    evhttp_clear_headers(&list);
    CHECK(evhttp_add_header(&list, "z", "3") == 0);
    token_list(&list);
    evhttp_clear_headers(&list);
    say("that is all");
}

/* The program walks the list backwards, and puts a value of its own in. */
CASE(http_headers_belong_to_the_program) {
    struct evkeyvalq list;
    TAILQ_INIT(&list);
    CHECK(evhttp_add_header(&list, "a", "1") == 0 && evhttp_add_header(&list, "b", "2") == 0);
    CHECK(evhttp_add_header(&list, "c", "3") == 0);
    struct evkeyval *last = TAILQ_LAST(&list, evkeyvalq);
    step("backwards");
    for (struct evkeyval *entry = last; entry;
         entry = TAILQ_PREV(entry, evkeyvalq, next))
        token("%s=%s", entry->key, entry->value);
    free(last->value);
    last->value = strdup("four");
    struct evkeyval *middle = TAILQ_PREV(last, evkeyvalq, next);
    TAILQ_REMOVE(&list, middle, next);
    TAILQ_INSERT_TAIL(&list, middle, next);
    step("changed");
    token_list(&list);
    token_text(evhttp_find_header(&list, "C"));
    CHECK(evhttp_remove_header(&list, "b") == 0 && evhttp_add_header(&list, "d", "") == 0);
    token_list(&list);
    evhttp_clear_headers(&list);
    say("that is all");
}

static void try_values(const char *const *values, size_t count) {
    struct evkeyvalq list;
    TAILQ_INIT(&list);
    for (size_t i = 0; i < count; i++) {
        step("");
        token_text(values[i]);
        token("%d", evhttp_add_header(&list, "v", values[i]));
    }
    step("all");
    token_list(&list);
    say("that is all");
    evhttp_clear_headers(&list);
}

CASE(http_header_values) {
    static const char *const values[] = {
        "", "v", " v ", "a:b", "\x01\x7f\xff", "\t", "a\r", "a\n", "a\r\n", "a\r\nb", "a\rb",
        "a\nb", "a\r\n b\r\nc", "a\r\n\v", "\r", "\n", "a\r\nb: c",
    };
    try_values(values, COUNT(values));
}

/* What libevent says depends on its version: Debian has mended it. */
CASE_DIFFERS(http_header_values_that_go_on_in_the_next_line, "CVE-2026-63385",
    "no line end in a value at all") {
    static const char *const values[] = {
        "a\r\n b", "a\r\n\tb", "a\n b", "a\n\tb", "a\n\r b", "\r\n x", "\r\n\r\n x",
        "a\r\n b\r\n c", "a\n ", "a\r ", "a\r\n ",
    };
    try_values(values, COUNT(values));
}

static void try_names(const char *const *names, size_t count) {
    struct evkeyvalq list;
    TAILQ_INIT(&list);
    for (size_t i = 0; i < count; i++) {
        step("");
        token_text(names[i]);
        token("%d", evhttp_add_header(&list, names[i], "v"));
    }
    step("all");
    token_list(&list);
    say("that is all");
    evhttp_clear_headers(&list);
}

CASE(http_header_names_with_line_ends) {
    static const char *const names[] = {"a\r", "a\n", "a\r\nb", "a\r\n b", "\r", "\n b", "a\n b"};
    try_names(names, COUNT(names));
}

CASE_DIFFERS(http_header_names_that_are_none, "K", "a name is a token, as RFC 9110 says") {
    static const char *const names[] = {
        "", "a:b", "a b", "a\tb", " a", "a ", "\xff", "\x01", "a\x7f", "(", ")", "a=b", "a/b", "@",
        "[", "]", "{", "}", "\"", ",", ";", "?", "\\", "<", ">", ":",
    };
    try_names(names, COUNT(names));
}

CASE(http_headers_without_a_name) {
    struct evkeyvalq list;
    TAILQ_INIT(&list);
    say("%d", evhttp_find_header(&list, NULL) != NULL);
    say("%d", evhttp_remove_header(&list, NULL));
}

CASE_DIFFERS(http_headers_that_are_not_there, "memory safety", "a failure, instead of a crash") {
    struct evkeyvalq list;
    TAILQ_INIT(&list);
    say("%d", evhttp_add_header(&list, NULL, "v"));
    say("%d", evhttp_add_header(&list, "v", NULL));
    say("%d", evhttp_add_header(NULL, "v", "v"));
    say("%d", evhttp_add_header(&list, "v", "v"));
    say("%d", evhttp_find_header(&list, NULL) != NULL);
    say("%d", evhttp_find_header(NULL, "v") != NULL);
    say("%d", evhttp_remove_header(&list, NULL));
    say("%d", evhttp_remove_header(NULL, "v"));
    evhttp_clear_headers(NULL);
    evhttp_clear_headers(&list);
}
