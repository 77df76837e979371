/* What callbacks do to the loop that runs them, on descriptors and timers: adding, replacing,
 * deleting, in the pass in which others are due. */
#include "loop.h"

struct replacement {
    struct event_base *base;
    struct event *victim, *fresh;
    int *victim_fd, *peer_fd;
    int calls;
};

static void replaces(evutil_socket_t fd, short what, void *arg) {
    struct replacement *replacement = arg;
    char c;
    int new[2], number = *replacement->victim_fd;
    (void)what;
    CHECK(recv_now(fd, &c, 1, NULL) == 1);
    token("replaces");
    if (replacement->calls++ > 0)
        return;
    event_del(replacement->victim);
    close(number);
    unix_pair(new);
    if (new[0] != number) {
        CHECK(dup2(new[0], number) == number);
        close(new[0]);
    }
    *replacement->peer_fd = new[1];
    CHECK(event_add(replacement->fresh, NULL) == 0);
}

/* Two descriptors are ready. The callback of one closes the other and opens a new one under its
 * number: what was ready belongs to the old one, and the new one hears nothing until it is. */
CASE(nested_descriptor_replaced_in_the_pass_in_which_it_is_ready) {
    struct event_base *base = new_base();
    int first[2], victim[2], peer = -1;
    unix_pair(first);
    unix_pair(victim);
    struct replacement replacement = {base, NULL, NULL, &victim[0], &peer, 0};
    CHECK(event_base_priority_init(base, 2) == 0);
    struct event *replacer = new_event(base, first[0], EV_READ, replaces, &replacement);
    replacement.victim = new_event(base, victim[0], EV_READ | EV_PERSIST, traced_drain, "old");
    replacement.fresh = new_event(base, victim[0], EV_READ | EV_PERSIST, traced_drain, "new");
    CHECK(event_priority_set(replacer, 0) == 0);
    CHECK(event_add(replacement.victim, NULL) == 0 && event_add(replacer, NULL) == 0);
    send_all(first[1], "x", 1);
    send_all(victim[1], "x", 1);
    step("pass");
    settle(base);
    send_all(peer, "y", 1);
    step("bytes");
    settle(base);
    event_free(replacer);
    event_free(replacement.victim);
    event_free(replacement.fresh);
    event_base_free(base);
    close(first[0]);
    close(first[1]);
    close(victim[0]);
    close(victim[1]);
    close(peer);
}

static void adds(evutil_socket_t fd, short what, void *event) {
    (void)fd;
    (void)what;
    token("adds=%d", event_add(event, NULL));
    token("pending=%x", pending(event));
}

/* An event that is added in a callback on a descriptor that is ready runs in a later pass. */
CASE(nested_add_of_a_ready_descriptor) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    send_all(fd[1], "x", 1);
    struct event *reader = new_event(base, fd[0], EV_READ, traced_drain, "reader");
    struct event *first = new_event(base, -1, 0, adds, reader);
    event_active(first, EV_READ, 1);
    step("first pass");
    pass(base);
    step("second pass");
    pass(base);
    event_free(reader);
    event_free(first);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

static void frees_its_reader(evutil_socket_t fd, short what, void *arg) {
    struct event **reader = arg;
    traced_drain(fd, what, "frees");
    event_free(*reader);
    *reader = NULL;
}

/* A persistent event with a timer is freed in its callback, with more bytes waiting. */
CASE(nested_free_of_a_persistent_event_with_a_timer) {
    struct event_base *base = new_base();
    struct event *reader;
    int fd[2];
    unix_pair(fd);
    reader = new_event(base, fd[0], EV_READ | EV_PERSIST, frees_its_reader, &reader);
    CHECK(add_ms(reader, 100000) == 0);
    send_all(fd[1], "xyz", 3);
    step("loop");
    int result = event_base_dispatch(base);
    say("result %d", result);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* event_active of a signal says how often to call. */
CASE(nested_event_active_counts_calls_of_signals_only) {
    struct event_base *base = new_base();
    struct event *signals = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "signal");
    struct event *plain = new_event(base, -1, 0, traced, "plain");
    event_active(signals, EV_SIGNAL, 3);
    event_active(plain, EV_READ, 3);
    step("loop");
    event_base_dispatch(base);
    event_free(signals);
    event_free(plain);
    event_base_free(base);
}

/* Activating a persistent timer by hand starts its wait anew. */
CASE(nested_activation_restarts_a_persistent_timer) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, EV_PERSIST, traced, "tick");
    struct timeval before, after, moved;
    CHECK(add_ms(event, 100000) == 0);
    CHECK(event_pending(event, EV_TIMEOUT, &before));
    usleep(100000);
    event_active(event, EV_READ, 1);
    step("pass");
    pass(base);
    CHECK(event_pending(event, EV_TIMEOUT, &after));
    evutil_timersub(&after, &before, &moved);
    say("moved %d", moved.tv_sec > 0 || moved.tv_usec > 50000);
    event_free(event);
    event_base_free(base);
}

enum { TIMERS = 600 };

struct many {
    struct event *events[TIMERS];
    int numbers[TIMERS];
    unsigned fired;
    uint64_t hash;
};

static struct many many;

static void one_of_many(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    CHECK(what == EV_TIMEOUT);
    many.fired++;
    many.hash = hash_bytes(many.hash, arg, sizeof(int));
}

static void starts_many(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
    /* 7 and 600 have no common factor: each wait is there once, in no order. */
    for (int i = 0; i < TIMERS; i++) {
        struct timeval wait = {0, i * 7 % TIMERS * 20};
        CHECK(event_add(many.events[i], &wait) == 0);
    }
    for (int i = 0; i < TIMERS; i += 3)
        CHECK(event_del(many.events[i]) == 0);
    for (int i = 0; i < TIMERS; i += 5) {
        struct timeval wait = {0, i * 11 % TIMERS * 20 + 10};
        CHECK(event_add(many.events[i], &wait) == 0);
    }
    usleep(15000);
}

/* Many timers, some deleted, some moved: the rest fires in the order of deadlines. */
CASE(nested_many_timers_fire_in_order) {
    struct event_base *base = new_base();
    many.hash = HASH_START;
    for (int i = 0; i < TIMERS; i++) {
        many.numbers[i] = i;
        many.events[i] = new_event(base, -1, 0, one_of_many, &many.numbers[i]);
    }
    struct event *start = new_event(base, -1, 0, starts_many, NULL);
    event_active(start, EV_READ, 1);
    event_base_dispatch(base);
    say("fired %u order %016llx", many.fired, (unsigned long long)many.hash);
    for (int i = 0; i < TIMERS; i++)
        event_free(many.events[i]);
    event_free(start);
    event_base_free(base);
}
