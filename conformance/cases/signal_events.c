/* Events on signals: delivery, several per signal, and what happens to the disposition. */
#include "loop.h"

#include <event2/event_struct.h>
#include <pthread.h>

static unsigned handled;

static void old_handler(int number) {
    (void)number;
    handled++;
}

static bool handler_is(int number, void (*handler)(int)) {
    struct sigaction action;
    CHECK(sigaction(number, NULL, &action) == 0);
    return action.sa_handler == handler;
}

CASE(signal_once_and_persistent) {
    struct event_base *base = new_base();
    struct event *once = new_event(base, SIGUSR1, EV_SIGNAL, traced, "once");
    struct event *persistent = new_event(base, SIGUSR2, EV_SIGNAL | EV_PERSIST, traced, "usr2");
    CHECK(event_add(once, NULL) == 0 && event_add(persistent, NULL) == 0);
    say("pending %#x %#x", pending(once), pending(persistent));
    raise(SIGUSR1);
    raise(SIGUSR2);
    step("first");
    settle(base);
    say("pending %#x %#x", pending(once), pending(persistent));
    raise(SIGUSR2);
    step("second");
    settle(base);
    event_free(once);
    event_free(persistent);
    event_base_free(base);
}

static void shows_number(evutil_socket_t fd, short what, void *arg) {
    token("usr1=%d what=%x", fd == SIGUSR1, (unsigned short)what);
    (void)arg;
}

/* The descriptor argument of the callback is the signal. */
CASE(signal_number_is_the_descriptor_argument) {
    struct event_base *base = new_base();
    struct event *event = evsignal_new(base, SIGUSR1, shows_number, NULL);
    CHECK(event);
    CHECK(evsignal_add(event, NULL) == 0);
    raise(SIGUSR1);
    step("loop");
    event_base_loop(base, EVLOOP_ONCE);
    event_free(event);
    event_base_free(base);
}

/* A signal that came several times before the loop looked is one event with so many calls. */
CASE(signal_raised_several_times) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "a");
    CHECK(event_add(event, NULL) == 0);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR1);
    step("loop");
    settle(base);
    event_free(event);
    event_base_free(base);
}

static void deletes_itself(evutil_socket_t fd, short what, void *event) {
    traced(fd, what, "deletes");
    event_del(event);
}

/* Deleting in the first of several calls ends the rest. */
CASE(signal_deleted_between_its_calls) {
    struct event_base *base = new_base();
    struct event event;
    CHECK(event_assign(&event, base, SIGUSR1, EV_SIGNAL | EV_PERSIST, deletes_itself, &event) == 0);
    CHECK(event_add(&event, NULL) == 0);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR1);
    step("loop");
    settle(base);
    event_base_free(base);
}

/* And then deleted again, or freed: libevent writes to where the stack was. */
CASE_DIFFERS(signal_deleted_between_its_calls_and_freed, "memory safety",
             "libevent writes two bytes to a dead stack frame; ferrevent does not") {
    struct event_base *base = new_base();
    struct event *event = event_new(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, deletes_itself,
                                    event_self_cbarg());
    CHECK(event && event_add(event, NULL) == 0);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR1);
    step("loop");
    settle(base);
    say("del %d", event_del(event));
    event_free(event);
    event_base_free(base);
}

static void frees_itself(evutil_socket_t fd, short what, void *event) {
    traced(fd, what, "frees");
    event_free(*(struct event **)event);
}

CASE(issue_1287_signal_freed_between_its_calls) {
    struct event_base *base = new_base();
    struct event *event;
    event = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, frees_itself, &event);
    CHECK(event_add(event, NULL) == 0);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR1);
    step("loop");
    settle(base);
    event_base_free(base);
}

static void breaks(evutil_socket_t fd, short what, void *base) {
    traced(fd, what, "breaks");
    event_base_loopbreak(base);
}

/* loopbreak too ends the calls that were left, for good. */
CASE(signal_loopbreak_between_its_calls) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, breaks, base);
    CHECK(event_add(event, NULL) == 0);
    for (int i = 0; i < 3; i++)
        raise(SIGUSR1);
    step("loop");
    event_base_loop(base, EVLOOP_NONBLOCK);
    step("next");
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_free(event);
    event_base_free(base);
}

/* Several events of one signal all run, the one added last first. */
CASE(signal_with_several_events) {
    struct event_base *base = new_base();
    struct event *a = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "a");
    struct event *b = new_event(base, SIGUSR1, EV_SIGNAL, traced, "b");
    struct event *c = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "c");
    CHECK(event_add(a, NULL) == 0 && event_add(b, NULL) == 0 && event_add(c, NULL) == 0);
    raise(SIGUSR1);
    step("three");
    settle(base);
    event_del(c);
    raise(SIGUSR1);
    step("one");
    settle(base);
    event_free(a);
    event_free(b);
    event_free(c);
    event_base_free(base);
}

/* The handler of before comes back with the last event of the signal, not sooner. */
CASE(signal_restores_the_handler) {
    struct event_base *base = new_base();
    signal(SIGUSR1, old_handler);
    signal(SIGUSR2, SIG_IGN);
    struct event *a = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "a");
    struct event *b = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "b");
    struct event *c = new_event(base, SIGUSR2, EV_SIGNAL, traced, "c");
    say("new: kept %d", handler_is(SIGUSR1, old_handler));
    CHECK(event_add(a, NULL) == 0 && event_add(b, NULL) == 0 && event_add(c, NULL) == 0);
    say("added: kept %d %d", handler_is(SIGUSR1, old_handler), handler_is(SIGUSR2, SIG_IGN));
    event_del(a);
    say("one deleted: kept %d", handler_is(SIGUSR1, old_handler));
    event_del(b);
    say("both deleted: restored %d", handler_is(SIGUSR1, old_handler));
    raise(SIGUSR1);
    say("handled %u", handled);
    raise(SIGUSR2);
    step("the third runs and is over");
    settle(base);
    say("ignored again %d", handler_is(SIGUSR2, SIG_IGN));
    event_free(a);
    event_free(b);
    event_free(c);
    event_base_free(base);
}

/* event_base_free restores what is still replaced. */
CASE(signal_restored_when_the_base_goes) {
    struct event_base *base = new_base();
    signal(SIGUSR1, old_handler);
    struct event event;
    CHECK(event_assign(&event, base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "a") == 0);
    CHECK(event_add(&event, NULL) == 0);
    event_base_free(base);
    say("restored %d", handler_is(SIGUSR1, old_handler));
}

/* A signal interrupts a loop that waits without end. */
static void *raise_later(void *arg) {
    usleep(20000);
    kill(getpid(), SIGUSR1);
    return arg;
}

static void exits(evutil_socket_t fd, short what, void *base) {
    traced(fd, what, "exits");
    event_base_loopexit(base, NULL);
}

CASE(signal_wakes_a_waiting_loop) {
    struct event_base *base = new_base();
    pthread_t thread;
    struct event *event = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, exits, base);
    CHECK(event_add(event, NULL) == 0);
    CHECK(pthread_create(&thread, NULL, raise_later, NULL) == 0);
    step("loop");
    say("result %d", event_base_dispatch(base));
    CHECK(pthread_join(thread, NULL) == 0);
    event_free(event);
    event_base_free(base);
}

CASE(signal_numbers_that_do_not_exist) {
    struct event_base *base = new_base();
    event_set_log_callback(no_log);
    struct event *negative = event_new(base, -1, EV_SIGNAL, traced, "a");
    struct event *big = event_new(base, 65, EV_SIGNAL, traced, "a");
    struct event *kill_event = event_new(base, SIGKILL, EV_SIGNAL, traced, "a");
    say("new %d %d %d", negative != NULL, big != NULL, kill_event != NULL);
    say("add negative %d", event_add(negative, NULL));
    say("add 65 %d", event_add(big, NULL));
    say("add SIGKILL %d", event_add(kill_event, NULL));
    event_free(negative);
    event_free(big);
    event_free(kill_event);
    event_base_free(base);
}

/* A signal event counts as an event: dispatch waits for it. Its internal ones do not. */
CASE(signal_counts_as_one_event) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, SIGUSR1, EV_SIGNAL, traced, "a");
    CHECK(event_add(event, NULL) == 0);
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    raise(SIGUSR1);
    step("loop");
    say("result %d", event_base_dispatch(base));
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_free(event);
    event_base_free(base);
}

/* A signal event with a timeout: whichever comes. */
CASE(signal_with_a_timeout) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, SIGUSR1, EV_SIGNAL, traced, "a");
    CHECK(add_ms(event, 1) == 0);
    step("timeout");
    event_base_dispatch(base);
    say("pending %#x", pending(event));
    CHECK(add_ms(event, 100000) == 0);
    raise(SIGUSR1);
    step("signal");
    event_base_dispatch(base);
    say("pending %#x", pending(event));
    event_free(event);
    event_base_free(base);
}

CASE(signal_priority) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    CHECK(event_base_priority_init(base, 2) == 0);
    struct event *signals = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "signal");
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    CHECK(event_priority_set(signals, 1) == 0 && event_priority_set(reader, 0) == 0);
    CHECK(event_add(signals, NULL) == 0 && event_add(reader, NULL) == 0);
    raise(SIGUSR1);
    send_all(fd[1], "x", 1);
    step("reader first");
    settle(base);
    event_del(signals);
    event_del(reader);
    CHECK(event_priority_set(signals, 0) == 0 && event_priority_set(reader, 1) == 0);
    CHECK(event_add(signals, NULL) == 0 && event_add(reader, NULL) == 0);
    raise(SIGUSR1);
    send_all(fd[1], "x", 1);
    step("signal first");
    settle(base);
    event_free(signals);
    event_free(reader);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Deleted and added again on the same signal, and on another base, one after the other. */
CASE(signal_moves_to_another_base) {
    struct event_base *first = new_base(), *second = new_base();
    struct event *a = new_event(first, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "first");
    struct event *b = new_event(second, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "second");
    signal(SIGUSR1, old_handler);
    CHECK(event_add(a, NULL) == 0);
    raise(SIGUSR1);
    step("first");
    settle(first);
    event_del(a);
    CHECK(event_add(b, NULL) == 0);
    raise(SIGUSR1);
    step("second");
    settle(second);
    settle(first);
    event_del(b);
    say("restored %d", handler_is(SIGUSR1, old_handler));
    event_free(a);
    event_free(b);
    event_base_free(first);
    event_base_free(second);
}

/* What has arrived is not lost when the last event of the signal goes for a moment; without one it goes nowhere. */
CASE(signal_that_came_before_its_last_event_went) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "signal");
    struct event *other = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "other");
    CHECK(event_add(event, NULL) == 0);
    raise(SIGUSR1);
    raise(SIGUSR1);
    CHECK(event_del(event) == 0 && event_add(event, NULL) == 0);
    step("added again");
    settle(base);
    raise(SIGUSR1);
    CHECK(event_del(event) == 0 && event_add(other, NULL) == 0);
    step("another");
    settle(base);
    raise(SIGUSR1);
    CHECK(event_del(other) == 0);
    struct event *timer = new_event(base, -1, 0, traced, "timer");
    CHECK(add_ms(timer, 0) == 0);
    step("none");
    settle(base);
    CHECK(event_add(event, NULL) == 0);
    step("too late");
    settle(base);
    event_free(event);
    event_free(other);
    event_free(timer);
    event_base_free(base);
}
