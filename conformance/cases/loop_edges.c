/* Edge-triggered events that share a descriptor: when the same edge is told again. */
#include "loop.h"

static struct event *own;
static unsigned calls;

static void adds_itself(evutil_socket_t fd, short what, void *name) {
    traced(fd, what, name);
    if (++calls < 4)
        CHECK(event_add(own, NULL) == 0);
}

static void deletes_and_adds_itself(evutil_socket_t fd, short what, void *name) {
    traced(fd, what, name);
    if (++calls < 4)
        CHECK(event_del(own) == 0 && event_add(own, NULL) == 0);
}

/* What a writer that is not persistent is told each time it is added does not depend on a reader being there too. */
CASE(edge_writer_added_again_beside_a_reader) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST | EV_ET, traced_drain, "r");
    own = new_event(base, fd[0], EV_WRITE | EV_ET, adds_itself, "w");
    CHECK(event_add(reader, NULL) == 0 && event_add(own, NULL) == 0);
    step("writable");
    settle(base);
    CHECK(event_add(own, NULL) == 0);
    step("added again");
    settle(base);
    event_free(reader);
    event_free(own);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Deleting and adding asks for the edge again, which others on the descriptor are told of as well. */
CASE(edge_reader_deleted_and_added_beside_a_writer) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *writer = new_event(base, fd[0], EV_WRITE | EV_PERSIST | EV_ET, traced, "w");
    own = new_event(base, fd[0], EV_READ | EV_PERSIST | EV_ET, deletes_and_adds_itself, "r");
    CHECK(event_add(writer, NULL) == 0 && event_add(own, NULL) == 0);
    send_all(fd[1], "x", 1);
    /* With methods that know no edges it would go on for ever. */
    calls = event_base_get_features(base) & EV_FEATURE_ET ? 0 : 3;
    step("in the callback");
    if (calls == 0)
        settle(base);
    else
        pass(base);
    CHECK(event_del(own) == 0 && event_add(own, NULL) == 0);
    step("outside");
    pass(base);
    event_free(writer);
    event_free(own);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* A second reader asks for nothing that is not asked for already. */
CASE(edge_second_reader_is_told_of_the_next_edge) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    if (!(event_base_get_features(base) & EV_FEATURE_ET)) {
        say("no edges");
    } else {
        struct event *first = new_event(base, fd[0], EV_READ | EV_PERSIST | EV_ET, traced, "first");
        struct event *second = new_event(base, fd[0], EV_READ | EV_PERSIST | EV_ET, traced, "second");
        CHECK(event_add(first, NULL) == 0);
        send_all(fd[1], "x", 1);
        step("first");
        settle(base);
        CHECK(event_add(second, NULL) == 0);
        step("second added");
        settle(base);
        CHECK(event_del(first) == 0);
        step("first deleted");
        settle(base);
        send_all(fd[1], "x", 1);
        step("next byte");
        settle(base);
        event_free(first);
        event_free(second);
    }
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* A timeout takes a persistent event out and adds it again: bytes that nobody has read are told again. */
CASE(edge_told_again_after_a_timeout) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST | EV_ET, traced, "r");
    struct event *closed = new_event(base, fd[0], EV_WRITE | EV_PERSIST | EV_ET, traced, "w");
    if (!(event_base_get_features(base) & EV_FEATURE_ET)) {
        say("no edges");
    } else {
        CHECK(add_ms(reader, 50) == 0);
        CHECK(event_add(closed, NULL) == 0);
        send_all(fd[1], "x", 1);
        step("told");
        settle(base);
        step("timeout");
        event_base_loop(base, EVLOOP_ONCE);
        CHECK(event_remove_timer(reader) == 0);
        step("told again");
        settle(base);
    }
    event_free(reader);
    event_free(closed);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}
