/* Descriptors that are closed, numbers that come back, and duplicates. */
#include "loop.h"

/* A number that is no open descriptor cannot be watched: -1 at once, not pending. */
CASE_DIFFERS_OFF_EPOLL(fd_that_cannot_be_added, "closed descriptor",
                       "libevent's poll and select take any number, and notice at the next wait") {
    struct event_base *base = new_base();
    FILE *file = tmpfile();
    int fd[2];
    CHECK(file);
    event_set_log_callback(no_log);
    unix_pair(fd);
    close(fd[0]);
    struct event *bad = new_event(base, fd[0], EV_READ, traced, "bad");
    say("closed descriptor %d", event_add(bad, NULL));
    say("with a timer %d", add_ms(bad, 100000));
    say("pending %#x", pending(bad));
    event_free(bad);
    bad = new_event(base, fileno(file), EV_READ, traced, "file");
    say("file %d", event_add(bad, NULL));
    say("pending %#x", pending(bad));
    event_free(bad);
    bad = new_event(base, -1, EV_READ, traced, "minus one");
    say("minus one %d", event_add(bad, NULL));
    say("pending %#x", pending(bad));
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_free(bad);
    event_base_free(base);
    fclose(file);
    close(fd[1]);
}

static void counts(evutil_socket_t fd, short what, void *count) {
    (void)fd;
    (void)what;
    ++*(unsigned *)count;
}

/* Closed while it is waited for, and not deleted. */
CASE_DIFFERS_OFF_EPOLL(fd_closed_while_it_is_waited_for, "closed descriptor",
                       "libevent's poll reports it in each pass, its select fails with the whole loop") {
    struct event_base *base = new_base();
    int fd[2], other[2];
    unsigned calls = 0;
    unix_pair(fd);
    unix_pair(other);
    event_set_log_callback(no_log);
    struct event *closed = new_event(base, fd[0], EV_READ | EV_PERSIST, counts, &calls);
    struct event *open = new_event(base, other[0], EV_READ | EV_PERSIST, traced_drain, "open");
    CHECK(event_add(closed, NULL) == 0 && event_add(open, NULL) == 0);
    pass(base);
    close(fd[0]);
    close(fd[1]);
    for (int i = 0; i < 3; i++) {
        send_all(other[1], "x", 1);
        step("pass");
        token("%d", event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
    }
    say("calls %u", calls);
    say("pending %#x", pending(closed));
    say("del %d", event_del(closed));
    send_all(other[1], "x", 1);
    step("after it was deleted");
    token("%d", event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
    say("calls %u", calls);
    event_free(closed);
    event_free(open);
    event_base_free(base);
    close(other[0]);
    close(other[1]);
}

/* The number of a descriptor that was closed while it was waited for comes back as another one. */
CASE(fd_closed_while_it_is_waited_for_and_reused) {
    struct event_base *base = new_base();
    int fd[2], next[2];
    unsigned calls = 0;
    unix_pair(fd);
    event_set_log_callback(no_log);
    struct event *old = new_event(base, fd[0], EV_READ | EV_PERSIST, counts, &calls);
    CHECK(event_add(old, NULL) == 0);
    pass(base);
    close(fd[0]);
    unix_pair(next);
    CHECK(next[0] == fd[0]);
    send_all(next[1], "x", 1);
    step("reused");
    token("%d", event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
    step("added for the new one too");
    struct event *new = new_event(base, next[0], EV_READ | EV_PERSIST, traced_drain, "new");
    token("%d", event_add(new, NULL));
    token("%d", event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
    event_del(old);
    send_all(next[1], "x", 1);
    step("the old one deleted");
    token("%d", event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK));
    say("calls of the old one %u", calls);
    event_free(old);
    event_free(new);
    event_base_free(base);
    close(fd[1]);
    close(next[0]);
    close(next[1]);
}

/* del, close and the same number again, between two passes: the new descriptor is watched. */
CASE(fd_deleted_closed_and_reused) {
    struct event_base *base = new_base();
    int old[2], new[2];
    unix_pair(old);
    struct event *event = new_event(base, old[0], EV_READ | EV_PERSIST, traced_drain, "old");
    struct event *fresh = new_event(base, old[0], EV_READ | EV_PERSIST, traced_drain, "new");
    CHECK(event_add(event, NULL) == 0);
    pass(base);
    CHECK(event_del(event) == 0);
    close(old[0]);
    unix_pair(new);
    if (new[0] != old[0]) {
        CHECK(dup2(new[0], old[0]) == old[0]);
        close(new[0]);
    }
    CHECK(event_add(fresh, NULL) == 0);
    step("quiet");
    pass(base);
    send_all(new[1], "x", 1);
    step("bytes");
    pass(base);
    event_free(event);
    event_free(fresh);
    event_base_free(base);
    close(old[0]);
    close(old[1]);
    close(new[1]);
}

/* Closed without event_del, number reused, event deleted then: no harm to the new one. */
CASE(fd_closed_before_del) {
    struct event_base *base = new_base();
    int old[2], new[2];
    event_set_log_callback(no_log);
    unix_pair(old);
    struct event *event = new_event(base, old[0], EV_READ | EV_PERSIST, traced_drain, "old");
    CHECK(event_add(event, NULL) == 0);
    pass(base);
    close(old[0]);
    say("del after close %d", event_del(event));
    unix_pair(new);
    CHECK(dup2(new[0], old[0]) == old[0]);
    say("add %d", event_add(event, NULL));
    send_all(new[1], "x", 1);
    step("bytes");
    pass(base);
    event_free(event);
    event_base_free(base);
    if (new[0] != old[0])
        close(new[0]);
    close(old[0]);
    close(old[1]);
    close(new[1]);
}

/* A duplicate keeps the socket open: after del and close of the number nothing is reported. */
CASE(fd_deleted_and_closed_with_a_duplicate_open) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "a");
    CHECK(event_add(event, NULL) == 0);
    pass(base);
    int duplicate = dup(fd[0]);
    CHECK(duplicate >= 0);
    CHECK(event_del(event) == 0);
    close(fd[0]);
    send_all(fd[1], "x", 1);
    step("nothing");
    pass(base);
    struct event *other = new_event(base, duplicate, EV_READ, traced_drain, "duplicate");
    CHECK(event_add(other, NULL) == 0);
    step("bytes");
    pass(base);
    event_free(event);
    event_free(other);
    event_base_free(base);
    close(duplicate);
    close(fd[1]);
}
