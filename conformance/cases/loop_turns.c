/* Whose turn it is in a pass: descriptors, timers, signals and what is activated by hand, when several are due. */
#include "loop.h"

#include <event2/event_struct.h>

/* All three are due in one pass: the descriptor first, the signal last. What a child has written is read before its
 * end is told. */
CASE(turn_of_a_signal_is_behind_descriptors_and_timers) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *signals = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "signal");
    struct event *timer = new_event(base, -1, 0, traced, "timer");
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    CHECK(event_add(signals, NULL) == 0 && event_add(reader, NULL) == 0);
    for (int i = 0; i < 2; i++) {
        raise(SIGUSR1);
        CHECK(add_ms(timer, 1) == 0);
        usleep(20000);
        send_all(fd[1], "x", 1);
        step("pass");
        settle(base);
    }
    event_free(signals);
    event_free(timer);
    event_free(reader);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Its events are activated only then: one that was about to run by hand runs twice. */
CASE(turn_of_a_signal_whose_event_is_active_already) {
    struct event_base *base = new_base();
    struct event *signals = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "signal");
    struct event *plain = new_event(base, -1, 0, traced, "plain");
    CHECK(event_add(signals, NULL) == 0);
    event_active(signals, EV_SIGNAL, 2);
    event_active(plain, EV_READ, 1);
    raise(SIGUSR1);
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    step("loop");
    settle(base);
    event_base_active_by_signal(base, SIGUSR1); /* this does so at once */
    say("active %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE));
    step("loop");
    settle(base);
    event_free(signals);
    event_free(plain);
    event_base_free(base);
}

static struct event *other;
static int other_fd;

static void looks_at_other(evutil_socket_t fd, short what, void *name) {
    traced(fd, what, name);
    token("other=%x", pending(other));
}

static void sends_to_other(evutil_socket_t fd, short what, void *name) {
    looks_at_other(fd, what, name);
    send_all(other_fd, "x", 1);
}

/* Events on one descriptor run last-added first. One that times out is as if added anew. */
CASE(turn_of_an_event_that_has_timed_out) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *first = new_event(base, fd[0], EV_READ | EV_PERSIST, traced, "first");
    struct event *second = new_event(base, fd[0], EV_READ, traced, "second");
    CHECK(add_ms(first, 1) == 0 && event_add(second, NULL) == 0);
    step("timeout");
    event_base_loop(base, EVLOOP_ONCE);
    CHECK(add_ms(first, 100000) == 0);
    send_all(fd[1], "x", 1);
    step("readable");
    pass(base);
    event_free(first);
    event_free(second);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Between its timeout and its turn an event waits for nothing: what happens on its descriptor meanwhile is not told with
 * the timeout, but in the next pass. */
static void timed_out_behind(short persist) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    CHECK(event_base_priority_init(base, 2) == 0);
    struct event *high = new_event(base, -1, 0, sends_to_other, "high");
    struct event *again = new_event(base, -1, 0, looks_at_other, "again");
    other = new_event(base, fd[0], EV_READ | persist, traced_drain, "low");
    other_fd = fd[1];
    CHECK(event_priority_set(high, 0) == 0 && event_priority_set(again, 0) == 0);
    CHECK(event_priority_set(other, 1) == 0);
    /* Long, so that a persistent one does not time out a second time. */
    CHECK(add_ms(other, 100) == 0);
    usleep(120000);
    event_active(high, EV_WRITE, 1);
    step(persist ? "persistent" : "once");
    event_base_loop(base, EVLOOP_NONBLOCK);
    say("pending %x", pending(other) & ~EV_TIMEOUT);
    event_free(high);
    event_free(again);
    event_free(other);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

CASE(turn_of_a_timeout_that_waits_for_a_higher_priority) {
    timed_out_behind(0);
    timed_out_behind(EV_PERSIST);
}

static void removes_timer_of_other(evutil_socket_t fd, short what, void *name) {
    looks_at_other(fd, what, name);
    token("removed=%d", event_remove_timer(other));
}

/* A timeout that has passed cannot be taken back, and a persistent event stays one. */
CASE(turn_of_a_timeout_that_is_removed_too_late) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *first = new_event(base, -1, 0, removes_timer_of_other, "first");
    other = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    CHECK(add_ms(first, 1) == 0);
    usleep(1000);
    CHECK(add_ms(other, 20) == 0);
    usleep(50000);
    step("loop");
    pass(base);
    say("pending %x", pending(other));
    event_free(first);
    event_free(other);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Who says by hand that a persistent timer has timed out keeps its rhythm: the next time is one wait behind the one that
 * was to come. */
CASE(turn_of_a_timer_that_is_activated_as_timed_out) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, EV_PERSIST, traced, "tick");
    struct timeval before, after, moved;
    CHECK(add_ms(event, 100000) == 0);
    CHECK(event_pending(event, EV_TIMEOUT, &before));
    event_active(event, EV_TIMEOUT, 1);
    step("pass");
    pass(base);
    CHECK(event_pending(event, EV_TIMEOUT, &after));
    evutil_timersub(&after, &before, &moved);
    say("moved by a whole wait %d", moved.tv_sec >= 99);
    event_free(event);
    event_base_free(base);
}

/* What is late is told as it was due. */
CASE(turn_of_a_late_timer_is_told_as_it_was) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, "late");
    struct timeval now, deadline;
    CHECK(add_ms(event, 1) == 0);
    usleep(50000);
    CHECK(event_pending(event, EV_TIMEOUT, &deadline) == EV_TIMEOUT);
    CHECK(gettimeofday(&now, NULL) == 0);
    evutil_timersub(&now, &deadline, &now);
    say("it is past %d", now.tv_sec == 0 && now.tv_usec > 20000);
    event_free(event);
    event_base_free(base);
}

/* What a program computes when its deadline has just passed: a second less than nothing, and almost a million
 * microseconds. */
CASE(turn_of_a_timer_whose_deadline_has_just_passed) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, "timer");
    struct timeval wait = {-1, 999999};
    CHECK(event_add(event, &wait) == 0);
    step("loop");
    say("result %d", event_base_loop(base, EVLOOP_NONBLOCK));
    event_free(event);
    event_base_free(base);
}

/* Activated by the descriptor's number, its events run in the order in which a report would call them. */
CASE(turn_of_events_activated_by_descriptor) {
    static char *names[] = {"a", "b", "c"};
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *events[3];
    for (int i = 0; i < 3; i++) {
        events[i] = new_event(base, fd[0], EV_READ, traced, names[i]);
        CHECK(event_add(events[i], NULL) == 0);
    }
    event_base_active_by_fd(base, fd[0], EV_READ);
    step("loop");
    pass(base);
    for (int i = 0; i < 3; i++)
        event_free(events[i]);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

static void say_loop(struct event_base *base) {
    int result = event_base_dispatch(base);
    say("result %d exit %d break %d", result, event_base_got_exit(base),
        event_base_got_break(base));
}

/* Each loopexit ends a loop. */
CASE(turn_of_two_loopexits) {
    struct event_base *base = new_base();
    struct timeval soon = ms(5), later = ms(30);
    struct event *never = new_event(base, -1, 0, traced, "never");
    CHECK(add_ms(never, 100000) == 0);
    CHECK(event_base_loopexit(base, &later) == 0 && event_base_loopexit(base, &soon) == 0);
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    say_loop(base);
    say_loop(base);
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_free(never);
    event_base_free(base);
}

static void breaks(evutil_socket_t fd, short what, void *base) {
    traced(fd, what, "breaks");
    event_base_loopbreak(base);
}

/* A break that comes before the turn of a loopexit leaves it for the next loop. */
CASE(turn_of_a_loopexit_behind_a_break) {
    struct event_base *base = new_base();
    struct timeval wait = ms(1);
    struct event *event = new_event(base, -1, 0, breaks, base);
    event_active(event, EV_READ, 1);
    CHECK(event_base_loopexit(base, &wait) == 0);
    usleep(20000);
    step("loop");
    say_loop(base);
    say_loop(base);
    event_free(event);
    event_base_free(base);
}

static void exits(evutil_socket_t fd, short what, void *base) {
    traced(fd, what, "exits");
    event_base_loopexit(base, NULL);
}

/* A loopexit has the middle priority: what is below has no turn any more. */
CASE(turn_of_a_loopexit_among_priorities) {
    struct event_base *base = new_base();
    CHECK(event_base_priority_init(base, 3) == 0);
    struct event *events[4] = {
        new_event(base, -1, 0, exits, base),
        new_event(base, -1, 0, traced, "low"),
        new_event(base, -1, 0, traced, "middle"),
        new_event(base, -1, 0, traced, "high"),
    };
    static const int priorities[] = {2, 2, 1, 0};
    for (int i = 0; i < 2; i++) {
        CHECK(event_priority_set(events[i], priorities[i]) == 0);
        event_active(events[i], EV_READ, 1);
    }
    step("loop");
    say_loop(base);
    for (int i = 0; i < 4; i++) {
        CHECK(event_del(events[i]) == 0);
        CHECK(event_priority_set(events[i], priorities[i]) == 0);
        event_active(events[i], EV_READ, 1);
    }
    step("loop");
    say_loop(base);
    for (int i = 0; i < 4; i++)
        event_free(events[i]);
    event_base_free(base);
}

/* In libevent a persistent event that was deleted gets its old timeout back when it fires, although it was added without
 * one, and is added again when it is activated by hand. */
CASE_DIFFERS(turn_of_an_event_that_had_a_timeout_once, "K",
             "libevent brings the timeout of a deleted event back; in ferrevent it is gone") {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    struct event *timer = new_event(base, -1, EV_PERSIST, traced, "timer");
    CHECK(add_ms(reader, 100000) == 0 && add_ms(timer, 100000) == 0);
    CHECK(event_del(reader) == 0 && event_del(timer) == 0);
    CHECK(event_add(reader, NULL) == 0);
    send_all(fd[1], "x", 1);
    event_active(timer, EV_WRITE, 1);
    step("loop");
    pass(base);
    say("reader %x timer %x", pending(reader), pending(timer));
    event_free(reader);
    event_free(timer);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* In libevent event_add of an event that is about to run but not added gives 0 and does nothing. */
CASE_DIFFERS(turn_of_an_active_event_that_is_added, "K",
             "libevent does not add an event that is active; ferrevent does") {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    event_active(reader, EV_WRITE, 1);
    say("add %d", event_add(reader, NULL));
    step("loop");
    pass(base);
    say("pending %x", pending(reader));
    send_all(fd[1], "x", 1);
    step("readable");
    pass(base);
    event_free(reader);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}
