/* event_base_once, and the functions of event_compat.h that work on the last base made. */
#include "loop.h"

#include <event2/event_compat.h>
#include <event2/event_struct.h>

CASE(once_calls_once) {
    struct event_base *base = new_base();
    struct timeval wait = ms(100), none = ms(0);
    int fd[2];
    unix_pair(fd);
    say("timer %d", event_base_once(base, -1, EV_TIMEOUT, traced, "timer", &wait));
    say("at once %d", event_base_once(base, -1, EV_TIMEOUT, traced, "at once", &none));
    say("no time %d", event_base_once(base, -1, EV_TIMEOUT, traced, "no time", NULL));
    step("timers");
    say("result %d", event_base_dispatch(base));
    say("write %d", event_base_once(base, fd[0], EV_WRITE, traced, "write", NULL));
    step("writable");
    say("result %d", event_base_dispatch(base));
    say("read %d", event_base_once(base, fd[0], EV_READ, traced, "read", &wait));
    step("timed out");
    say("result %d", event_base_dispatch(base));
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

CASE(once_rejects) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    event_set_log_callback(no_log);
    say("signal %d", event_base_once(base, SIGUSR1, EV_SIGNAL, traced, "a", NULL));
    say("persistent %d", event_base_once(base, fd[0], EV_READ | EV_PERSIST, traced, "a", NULL));
    say("nothing %d", event_base_once(base, -1, 0, traced, "a", NULL));
    say("loop %d", event_base_dispatch(base));
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

CASE_DIFFERS_OFF_EPOLL(once_rejects_a_closed_descriptor, "closed descriptor",
                       "libevent's poll and select take any number, and notice at the next wait") {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    event_set_log_callback(no_log);
    close(fd[0]);
    say("add %d", event_base_once(base, fd[0], EV_READ, traced, "a", NULL));
    say("loop %d", event_base_dispatch(base));
    event_base_free(base);
    close(fd[1]);
}

/* event_base_free takes what once still waits for; the callback never runs. */
CASE(once_pending_when_the_base_goes) {
    struct event_base *base = new_base();
    struct timeval wait = ms(100000);
    CHECK(event_base_once(base, -1, EV_TIMEOUT, traced, "never", &wait) == 0);
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_base_free(base);
}

CASE(global_base) {
    struct event_base *base = event_init();
    CHECK(base);
    struct event timer, reader;
    struct timeval wait = ms(1);
    int fd[2];
    unix_pair(fd);
    memset(&timer, 0, sizeof timer);
    memset(&reader, 0, sizeof reader);
    event_set(&timer, -1, 0, traced, "timer");
    event_set(&reader, fd[0], EV_READ, traced_drain, "reader");
    say("base of an event that was set %d", event_get_base(&timer) == base);
    say("method %s", event_get_method());
    say("add %d", event_add(&reader, NULL));
    send_all(fd[1], "x", 1);
    step("loop once");
    say("result %d", event_loop(EVLOOP_ONCE));
    say("add %d", event_add(&timer, &wait));
    step("dispatch");
    say("result %d", event_dispatch());
    say("exit %d", event_loopexit(NULL));
    step("dispatch");
    say("result %d", event_dispatch());
    say("once %d", event_once(-1, EV_TIMEOUT, traced, "once", &wait));
    say("break %d", event_loopbreak());
    step("dispatch");
    say("result %d", event_dispatch());
    say("priorities %d", event_priority_init(4));
    event_set(&timer, -1, 0, traced, "timer");
    say("middle %d", event_get_priority(&timer));
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* event_set works before there is a base; event_base_set puts it right. */
CASE(global_event_set_without_a_base) {
    struct event event;
    memset(&event, 0, sizeof event);
    event_set(&event, -1, EV_PERSIST, traced, "a");
    say("initialized %d base %d", event_initialized(&event) != 0, event_get_base(&event) != NULL);
    struct event_base *base = new_base();
    say("set %d", event_base_set(base, &event));
    say("base %d", event_get_base(&event) == base);
    CHECK(add_ms(&event, 1) == 0);
    step("loop");
    event_base_loop(base, EVLOOP_ONCE);
    event_del(&event);
    event_base_free(base);
}

/* The macros of the timers and signals are the same functions. */
CASE(global_macros) {
    struct event_base *base = event_init();
    struct event timer, signals;
    struct timeval wait = ms(100), deadline;
    memset(&timer, 0, sizeof timer);
    memset(&signals, 0, sizeof signals);
    evtimer_set(&timer, traced, "timer");
    signal_set(&signals, SIGUSR1, traced, "signal");
    say("events %#x %#x", event_get_events(&timer), event_get_events(&signals));
    say("add %d", evtimer_add(&timer, &wait));
    say("add %d", signal_add(&signals, NULL));
    say("pending %#x %#x", evtimer_pending(&timer, &deadline), signal_pending(&signals, NULL));
    raise(SIGUSR1);
    step("both");
    while (evtimer_pending(&timer, NULL))
        event_loop(EVLOOP_ONCE);
    pass(base);
    say("del %d", signal_del(&signals));
    say("del %d", evtimer_del(&timer));
    event_base_free(base);
}

/* A base without a global one leaves event_init's alone; the last event_init counts. */
CASE(global_base_is_the_last_of_event_init) {
    struct event_base *first = event_init(), *other = event_base_new(), *second = event_init();
    struct event event;
    memset(&event, 0, sizeof event);
    event_set(&event, -1, 0, traced, "a");
    say("first %d other %d second %d", event_get_base(&event) == first,
        event_get_base(&event) == other, event_get_base(&event) == second);
    event_base_free(first);
    event_base_free(other);
    event_base_free(second);
}
