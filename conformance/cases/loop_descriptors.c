/* Events on descriptors: kinds, several on one, edges, closing and reuse, what cannot be added. */
#include "loop.h"

CASE(fd_read_and_write_in_one_call) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ | EV_WRITE, traced_drain, "a");
    CHECK(event_add(event, NULL) == 0);
    send_all(fd[1], "x", 1);
    step("loop");
    event_base_dispatch(base);
    say("pending %#x", pending(event));
    event_free(event);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Level-triggered: called each pass while there are bytes. */
CASE(fd_persistent_is_called_while_readable) {
    struct event_base *base = new_base();
    int fd[2];
    char c;
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ | EV_PERSIST, traced, "a");
    CHECK(event_add(event, NULL) == 0);
    send_all(fd[1], "xy", 2);
    for (int i = 0; i < 3; i++) {
        step("pass");
        pass(base);
        CHECK(recv_now(fd[0], &c, 1, NULL) == (i < 2));
    }
    event_free(event);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

CASE(fd_end_of_file_is_readable) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ | EV_PERSIST, traced, "a");
    CHECK(event_add(event, NULL) == 0);
    close(fd[1]);
    for (int i = 0; i < 2; i++) {
        step("pass");
        pass(base);
    }
    event_free(event);
    event_base_free(base);
    close(fd[0]);
}

CASE(fd_reset_is_readable) {
    struct event_base *base = new_base();
    int fd[2];
    tcp_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ, traced, "reader");
    CHECK(event_add(reader, NULL) == 0);
    close_with_reset(fd[1]);
    await_readable(fd[0]);
    step("loop");
    event_base_dispatch(base);
    event_free(reader);
    event_base_free(base);
    close(fd[0]);
}

/* Several events on one descriptor: those added last run first. */
CASE(fd_several_events_last_added_first) {
    static char *names[] = {"a", "b", "c"};
    struct event_base *base = new_base();
    struct event *events[3];
    int fd[2];
    unix_pair(fd);
    for (int i = 0; i < 3; i++) {
        events[i] = new_event(base, fd[0], EV_READ | EV_PERSIST, traced, names[i]);
        CHECK(event_add(events[i], NULL) == 0);
    }
    send_all(fd[1], "x", 1);
    step("three");
    pass(base);
    event_del(events[1]);
    step("two");
    pass(base);
    CHECK(event_add(events[1], NULL) == 0);
    CHECK(event_add(events[0], NULL) == 0); /* still added: keeps its place */
    step("three");
    pass(base);
    for (int i = 0; i < 3; i++)
        event_free(events[i]);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Reader and writer of one descriptor: each hears only of its own kind. */
CASE(fd_reader_and_writer_apart) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    struct event *writer = new_event(base, fd[0], EV_WRITE | EV_PERSIST, traced, "writer");
    CHECK(event_add(reader, NULL) == 0 && event_add(writer, NULL) == 0);
    step("writable");
    pass(base);
    send_all(fd[1], "x", 1);
    step("both");
    pass(base);
    event_del(writer);
    send_all(fd[1], "x", 1);
    step("readable");
    pass(base);
    step("neither");
    pass(base);
    event_free(reader);
    event_free(writer);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Edge-triggered: called once per arrival, not while bytes are there. */
CASE(fd_edge_triggered) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ | EV_PERSIST | EV_ET, traced, "a");
    CHECK(event_add(event, NULL) == 0);
    send_all(fd[1], "x", 1);
    step("arrival");
    pass(base);
    step("no news");
    pass(base);
    send_all(fd[1], "y", 1);
    step("arrival");
    pass(base);
    event_free(event);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* By hand it is no edge. */
CASE(fd_edge_triggered_activated_by_hand) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ | EV_PERSIST | EV_ET, traced, "a");
    CHECK(event_add(event, NULL) == 0);
    step("by number");
    event_base_active_by_fd(base, fd[0], EV_READ);
    pass(base);
    step("by number, as an edge");
    event_base_active_by_fd(base, fd[0], EV_READ | EV_ET);
    pass(base);
    step("event_active");
    event_active(event, EV_READ, 1);
    pass(base);
    event_free(event);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

static void edge_and_level(void) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *edge = new_event(base, fd[0], EV_READ | EV_ET | EV_PERSIST, traced, "edge");
    struct event *level = new_event(base, fd[0], EV_WRITE | EV_PERSIST, traced, "level");
    say("edge %d", event_add(edge, NULL));
    say("level %d", event_add(level, NULL));
    say("level pending %#x", pending(level));
    event_del(edge);
    say("level alone %d", event_add(level, NULL));
    event_free(edge);
    event_free(level);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* The header forbids to mix them on a descriptor; libevent only looks in its debug mode. */
CASE(fd_edge_and_level_mixed) {
    edge_and_level();
}

CASE(fd_edge_and_level_mixed_in_debug_mode) {
    event_set_log_callback(no_log);
    event_enable_debug_mode();
    edge_and_level();
}

/* EV_CLOSED tells of the peer's end without a read, even with bytes unread. */
CASE(fd_closed) {
    struct event_base *base = new_base();
    int fd[2];
    tcp_pair(fd);
    struct event *closed = new_event(base, fd[0], EV_CLOSED | EV_PERSIST, traced, "closed");
    struct event *both = new_event(base, fd[0], EV_READ | EV_CLOSED | EV_PERSIST, traced, "both");
    CHECK(event_add(closed, NULL) == 0);
    say("pending %#x", pending(closed));
    send_all(fd[1], "x", 1);
    await_readable(fd[0]);
    step("bytes");
    pass(base);
    CHECK(event_add(both, NULL) == 0);
    step("bytes for both");
    pass(base);
    CHECK(shutdown(fd[1], SHUT_WR) == 0);
    /* select cannot tell. */
    int wait = event_base_get_features(base) & EV_FEATURE_EARLY_CLOSE ? 0 : EVLOOP_NONBLOCK;
    step("end");
    event_del(both);
    event_base_loop(base, EVLOOP_ONCE | wait);
    event_del(closed);
    CHECK(event_add(both, NULL) == 0);
    step("end for both");
    event_base_loop(base, EVLOOP_ONCE | wait);
    event_free(closed);
    event_free(both);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Moving resets the priority to the middle one of the new base. */
CASE(fd_event_moves_between_bases) {
    struct event_base *first = new_base(), *second = new_base();
    CHECK(event_base_priority_init(second, 5) == 0);
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(first, fd[0], EV_READ, traced_drain, "a");
    say("set %d", event_base_set(second, event));
    say("base %d priority %d", event_get_base(event) == second, event_get_priority(event));
    CHECK(event_add(event, NULL) == 0);
    send_all(fd[1], "x", 1);
    step("first");
    pass(first);
    step("second");
    pass(second);
    say("set back %d", event_base_set(first, event));
    event_free(event);
    event_base_free(first);
    event_base_free(second);
    close(fd[0]);
    close(fd[1]);
}

/* del and add in a row, with another kind, before the next pass: the last wish counts. */
CASE(fd_kinds_changed_between_passes) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    struct event *writer = new_event(base, fd[0], EV_WRITE | EV_PERSIST, traced, "writer");
    for (int i = 0; i < 3; i++) {
        CHECK(event_add(reader, NULL) == 0 && event_add(writer, NULL) == 0);
        CHECK(event_del(reader) == 0 && event_del(writer) == 0);
    }
    step("nothing");
    pass(base);
    CHECK(event_add(writer, NULL) == 0 && event_add(reader, NULL) == 0);
    CHECK(event_del(writer) == 0);
    send_all(fd[1], "x", 1);
    step("reading");
    pass(base);
    event_free(reader);
    event_free(writer);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

static struct event *first_event, *second_event;

static void swaps(evutil_socket_t fd, short what, void *name) {
    (void)fd;
    token("one:%x", (unsigned short)what);
    struct event *mine = strcmp(name, "first") == 0 ? first_event : second_event;
    event_del(mine == first_event ? second_event : first_event);
}

/* Two descriptors ready in one pass: whichever runs first deletes the other. */
CASE(fd_ready_event_deleted_by_another_descriptor) {
    struct event_base *base = new_base();
    int one[2], two[2];
    unix_pair(one);
    unix_pair(two);
    first_event = new_event(base, one[0], EV_READ, swaps, "first");
    second_event = new_event(base, two[0], EV_READ, swaps, "second");
    CHECK(event_add(first_event, NULL) == 0 && event_add(second_event, NULL) == 0);
    send_all(one[1], "x", 1);
    send_all(two[1], "x", 1);
    step("loop");
    say("result %d", event_base_dispatch(base));
    event_free(first_event);
    event_free(second_event);
    event_base_free(base);
    for (int i = 0; i < 2; i++) {
        close(one[i]);
        close(two[i]);
    }
}

static unsigned calls;

static void counts(evutil_socket_t fd, short what, void *arg) {
    char c;
    (void)arg;
    CHECK(what == EV_READ && recv_now(fd, &c, 1, NULL) == 1);
    calls++;
}

/* Many descriptors are ready at once: all are seen, whatever fits into one look at the kernel. */
CASE(fd_many_ready_at_once) {
    enum { PAIRS = 150 };
    struct event_base *base = new_base();
    struct event *events[PAIRS];
    int fd[PAIRS][2];
    for (int i = 0; i < PAIRS; i++) {
        unix_pair(fd[i]);
        events[i] = new_event(base, fd[i][0], EV_READ, counts, NULL);
        CHECK(event_add(events[i], NULL) == 0);
        send_all(fd[i][1], "x", 1);
    }
    say("result %d", event_base_dispatch(base));
    say("calls %u", calls);
    for (int i = 0; i < PAIRS; i++) {
        event_free(events[i]);
        close(fd[i][0]);
        close(fd[i][1]);
    }
    event_base_free(base);
}
