/* The inputs of known vulnerabilities that concern evbuffers, each under its name. */
#include "buffer.h"

#include <limits.h>

/* CVE-2026-63381: an empty chain of the target went, and stayed linked. */
static void add_reference_to_spare_room(struct evbuffer *out) {
    struct evbuffer *in = buffer_of("hello");
    say("add %d", evbuffer_add_buffer_reference(out, in));
    CHECK(evbuffer_add(out, "!!", 2) == 0);
    say_buffer("out", out);
    evbuffer_free(in);
    say_buffer("out", out);
    evbuffer_free(out);
}

CASE_DIFFERS(buffer_cve_2026_63381_after_expand, "memory safety",
             "an empty chain that goes is not linked any more") {
    struct evbuffer *out = evbuffer_new();
    CHECK(evbuffer_expand(out, 100) == 0);
    add_reference_to_spare_room(out);
}

CASE_DIFFERS(buffer_cve_2026_63381_after_reserve_space, "memory safety",
             "an empty chain that goes is not linked any more") {
    struct evbuffer *out = evbuffer_new();
    struct evbuffer_iovec piece;
    CHECK(evbuffer_reserve_space(out, 100, &piece, 1) == 1);
    add_reference_to_spare_room(out);
}

CASE(buffer_cve_2026_63381_after_drain) {
    struct evbuffer *out = buffer_of("gone");
    CHECK(evbuffer_drain(out, 4) == 0);
    add_reference_to_spare_room(out);
}

CASE(buffer_cve_2026_63381_itself_and_nothing) {
    struct evbuffer *out = buffer_of("abc"), *empty = evbuffer_new();
    say("itself %d", evbuffer_add_buffer_reference(out, out));
    say("an empty one %d", evbuffer_add_buffer_reference(out, empty));
    say_buffer("out", out);
    evbuffer_free(empty);
    evbuffer_free(out);
}

/* CVE-2014-6272 and CVE-2015-6525: lengths whose sums wrap around. */
static void refused(struct evbuffer *buffer, const char *name, size_t length) {
    struct evbuffer_iovec pieces[2];
    say("%s: add %d, prepend %d, expand %d", name, evbuffer_add(buffer, "x", length),
        evbuffer_prepend(buffer, "x", length), evbuffer_expand(buffer, length));
    if (length > SSIZE_MAX) /* as a negative number */
        say("reserve %d", evbuffer_reserve_space(buffer, (ev_ssize_t)length, pieces, 2));
    say_buffer("unchanged", buffer);
}

CASE(buffer_cve_2014_6272) {
    struct evbuffer *buffer = buffer_of("abc");
    refused(buffer, "SIZE_MAX", SIZE_MAX);
    refused(buffer, "SIZE_MAX - 2", SIZE_MAX - 2);
    evbuffer_free(buffer);
}

CASE(buffer_cve_2015_6525) {
    struct evbuffer *buffer = buffer_of("abc");
    struct evbuffer_ptr pointer;
    refused(buffer, "SSIZE_MAX", SSIZE_MAX);
    CHECK(evbuffer_ptr_set(buffer, &pointer, 1, EVBUFFER_PTR_SET) == 0);
    say("position %d", evbuffer_ptr_set(buffer, &pointer, SIZE_MAX, EVBUFFER_PTR_ADD));
    CHECK(evbuffer_ptr_set(buffer, &pointer, 1, EVBUFFER_PTR_SET) == 0);
    say("position %d", evbuffer_ptr_set(buffer, &pointer, SSIZE_MAX, EVBUFFER_PTR_ADD));
    say_buffer("unchanged", buffer);
    evbuffer_free(buffer);
}

/* Issue 1842: the lock of a bufferevent's buffer goes with the bufferevent, while another buffer
 * still refers to what it held. */
CASE_DIFFERS(buffer_issue_1842, "memory safety",
             "what is shared does not need the lock of a buffer that is gone") {
    CHECK(evthread_use_pthreads() == 0);
    struct event_base *base = new_base();
    struct evbuffer *out = evbuffer_new();
    int fd[2];
    unix_pair(fd);
    struct bufferevent *bev =
        bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);
    CHECK(bev);
    bufferevent_enable(bev, EV_READ);
    send_all(fd[1], "hello", 5);
    settle(base);
    struct evbuffer *in = bufferevent_get_input(bev);
    say("input %zu", evbuffer_get_length(in));
    say("add %d", evbuffer_add_buffer_reference(out, in));
    bufferevent_free(bev);
    settle(base);
    say_buffer("out", out);
    evbuffer_free(out);
    close(fd[1]);
    event_base_free(base);
}
