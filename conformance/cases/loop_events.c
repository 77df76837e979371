/* Events themselves: making, asking, activating, freeing, and what a callback may do to them. */
#include "loop.h"

#include <event2/event_struct.h>

CASE(event_starts_idle_and_del_of_an_idle_event_succeeds) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, "a");
    struct event zero;
    memset(&zero, 0, sizeof zero);
    say("zeroed memory initialized %d", event_initialized(&zero) != 0);
    say("initialized %d pending %#x", event_initialized(event) != 0, pending(event));
    say("del %d", event_del(event));
    say("add %d", add_ms(event, 100000));
    say("pending %#x", pending(event));
    say("del %d", event_del(event));
    say("pending %#x", pending(event));
    say("del again %d", event_del(event));
    say("add %d", add_ms(event, 100000));
    event_free(event); /* takes it out of the base */
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    say("loop %d", event_base_dispatch(base));
    event_base_free(base);
}

/* A timer that asked for EV_READ on descriptor -1 is pending for both; nothing is watched. */
CASE(event_pending_reports_kinds_and_deadline) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, EV_READ, traced, "a");
    struct timeval deadline, now;
    CHECK(add_ms(event, 100000) == 0);
    CHECK(gettimeofday(&now, NULL) == 0);
    say("all %#x", pending(event));
    memset(&deadline, 0, sizeof deadline);
    say("timeout %#x", event_pending(event, EV_TIMEOUT, &deadline));
    say("deadline is wall clock time %d",
        deadline.tv_sec >= now.tv_sec + 90 && deadline.tv_sec <= now.tv_sec + 110);
    say("read %#x", event_pending(event, EV_READ, NULL));
    say("write %#x", event_pending(event, EV_WRITE, NULL));
    memset(&deadline, 0, sizeof deadline);
    event_pending(event, EV_READ, &deadline);
    say("deadline untouched when not asked for EV_TIMEOUT %d", deadline.tv_sec == 0);
    event_free(event);
    event_base_free(base);
}

CASE(event_assign_rejects_signals_mixed_with_descriptors) {
    struct event_base *base = new_base();
    struct event event;
    event_set_log_callback(no_log);
    say("signal|read %d", event_assign(&event, base, SIGUSR1, EV_SIGNAL | EV_READ, traced, "a"));
    say("signal|write new %d", event_new(base, SIGUSR1, EV_SIGNAL | EV_WRITE, traced, "a") != NULL);
    say("signal|closed new %d",
        event_new(base, SIGUSR1, EV_SIGNAL | EV_CLOSED, traced, "a") != NULL);
    say("signal|persist %d",
        event_assign(&event, base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "a"));
    event_base_free(base);
}

CASE(event_getters) {
    struct event_base *base = new_base(), *base_out;
    char cookie[] = "cookie";
    struct event *event = new_event(base, 7, EV_READ | EV_PERSIST | EV_ET, traced, cookie);
    evutil_socket_t fd;
    short events;
    event_callback_fn callback;
    void *arg;
    say("fd %d events %#x priority %d", (int)event_get_fd(event), event_get_events(event),
        event_get_priority(event));
    say("callback %d arg %d base %d", event_get_callback(event) == traced,
        event_get_callback_arg(event) == cookie, event_get_base(event) == base);
    event_get_assignment(event, &base_out, &fd, &events, &callback, &arg);
    say("assignment %d %d %#x %d %d", base_out == base, (int)fd, events, callback == traced,
        arg == cookie);
    event_get_assignment(event, NULL, NULL, NULL, NULL, NULL);
    event_free(event);
    event = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, NULL);
    say("signal %d events %#x", event_get_signal(event) == SIGUSR1, event_get_events(event));
    event_free(event);
    say("size %zu", event_get_struct_event_size());
    say("sizeof %zu", sizeof(struct event));
    event_base_free(base);
}

/* event_self_cbarg() stands for the event that is being made. */
CASE(event_self_cbarg_is_the_event) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, event_self_cbarg());
    say("self %d", event_get_callback_arg(event) == event);
    event_free(event);
    event_base_free(base);
}

/* Activations before the callback runs merge: one call, with the kinds or-ed together. */
CASE(event_active_merges) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, EV_READ | EV_WRITE, traced, "a");
    event_active(event, EV_READ, 1);
    say("pending %#x", pending(event));
    event_active(event, EV_WRITE, 1);
    say("pending %#x", pending(event));
    say("active %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE));
    step("loop");
    event_base_dispatch(base);
    say("pending %#x", pending(event));
    event_active(event, EV_TIMEOUT, 0);
    step("loop");
    event_base_dispatch(base);
    event_active(event, EV_READ, 1);
    say("del %d", event_del(event));
    step("nothing");
    event_base_dispatch(base);
    event_free(event);
    event_base_free(base);
}

/* Running takes an event that is not persistent out of the base, timer included, even when it was
 * only activated by hand. */
CASE(event_active_ends_a_pending_one_unless_persistent) {
    struct event_base *base = new_base();
    struct event *once = new_event(base, -1, 0, traced, "once");
    struct event *persistent = new_event(base, -1, EV_PERSIST, traced, "persistent");
    CHECK(add_ms(once, 100000) == 0 && add_ms(persistent, 100000) == 0);
    event_active(once, EV_WRITE, 1);
    event_active(persistent, EV_WRITE, 1);
    step("loop");
    event_base_loop(base, EVLOOP_NONBLOCK);
    say("once %#x", pending(once));
    say("persistent %#x", pending(persistent));
    event_free(once);
    event_free(persistent);
    event_base_free(base);
}

struct again {
    struct event *event;
    int left;
};

static void activate_again(evutil_socket_t fd, short what, void *arg) {
    struct again *again = arg;
    (void)fd;
    token("%x", (unsigned short)what);
    if (again->left-- > 0)
        event_active(again->event, EV_READ, 1);
}

/* Even ONCE and NONBLOCK together go on while anything is active. */
CASE(event_active_inside_its_own_callback_runs_again_in_the_same_loop) {
    struct event_base *base = new_base();
    struct again again = {NULL, 3};
    again.event = new_event(base, -1, 0, activate_again, &again);
    event_active(again.event, EV_WRITE, 1);
    step("calls");
    say("loop %d", event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_ONCE));
    say("left %d", again.left);
    event_free(again.event);
    event_base_free(base);
}

CASE(event_active_by_fd_and_by_signal) {
    struct event_base *base = new_base();
    int fd[2], other[2];
    unix_pair(fd);
    unix_pair(other);
    struct event *reading = new_event(base, fd[0], EV_READ, traced, "reading");
    struct event *writing = new_event(base, fd[0], EV_WRITE, traced, "writing");
    struct event *elsewhere = new_event(base, other[0], EV_READ, traced, "elsewhere");
    struct event *signals = new_event(base, SIGUSR1, EV_SIGNAL, traced, "signal");
    CHECK(event_add(reading, NULL) == 0 && event_add(elsewhere, NULL) == 0);
    CHECK(event_add(signals, NULL) == 0);
    event_base_active_by_fd(base, fd[0], EV_READ);
    event_base_active_by_fd(base, fd[0], EV_WRITE); /* nobody waits for it */
    event_base_active_by_signal(base, SIGUSR1);
    event_base_active_by_signal(base, SIGUSR2); /* nor for this */
    say("active %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE));
    step("loop");
    pass(base);
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_free(reading);
    event_free(writing);
    event_free(elsewhere);
    event_free(signals);
    event_base_free(base);
    for (int i = 0; i < 2; i++) {
        close(fd[i]);
        close(other[i]);
    }
}

static struct event *victim;

static void deletes_victim(evutil_socket_t fd, short what, void *name) {
    traced(fd, what, name);
    token("del=%d", event_del(victim));
}

/* Two events are active; the first to run deletes the other, which then does not run. */
CASE(event_deleted_by_another_callback_does_not_run) {
    struct event_base *base = new_base();
    struct event *first = new_event(base, -1, 0, deletes_victim, "first");
    victim = new_event(base, -1, 0, traced, "victim");
    event_active(first, EV_READ, 1);
    event_active(victim, EV_READ, 1);
    step("loop");
    event_base_dispatch(base);
    say("victim %#x", pending(victim));
    event_free(first);
    event_free(victim);
    event_base_free(base);
}

static void frees_both(evutil_socket_t fd, short what, void *arg) {
    struct event **both = arg;
    traced(fd, what, "frees");
    event_free(both[0]);
    event_free(both[1]);
}

CASE(event_freed_in_its_own_callback_with_another_active_one) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *both[2];
    both[0] = new_event(base, fd[0], EV_READ | EV_PERSIST, frees_both, both);
    both[1] = new_event(base, -1, EV_PERSIST, traced, "other");
    CHECK(add_ms(both[0], 100000) == 0 && add_ms(both[1], 100000) == 0);
    send_all(fd[1], "x", 1);
    event_active(both[0], EV_READ, 1);
    event_active(both[1], EV_READ, 1);
    step("loop");
    say("result %d", event_base_dispatch(base));
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

static void readds(evutil_socket_t fd, short what, void *arg) {
    struct again *again = arg;
    traced(fd, what, "again");
    token("pending=%x", pending(again->event));
    if (again->left-- > 0)
        CHECK(add_ms(again->event, 1) == 0);
}

/* Inside the callback a plain event is no longer pending. */
CASE(event_adds_itself_in_its_callback) {
    struct event_base *base = new_base();
    struct again again = {NULL, 2};
    again.event = new_event(base, -1, 0, readds, &again);
    CHECK(add_ms(again.event, 1) == 0);
    step("loop");
    event_base_dispatch(base);
    event_free(again.event);
    event_base_free(base);
}

static void running(evutil_socket_t fd, short what, void *arg) {
    struct again *again = arg;
    traced(fd, what, "running");
    token("self=%d", event_base_get_running_event(event_get_base(again->event)) == again->event);
}

CASE(event_base_get_running_event_inside_the_loop) {
    struct event_base *base = new_base();
    struct again again = {NULL, 0};
    again.event = new_event(base, -1, 0, running, &again);
    event_active(again.event, EV_READ, 1);
    step("loop");
    event_base_dispatch(base);
    event_free(again.event);
    event_base_free(base);
}

CASE_DIFFERS(event_base_get_running_event_outside_the_loop, "K",
             "libevent crashes; ferrevent answers NULL") {
    struct event_base *base = new_base();
    say("running %d", event_base_get_running_event(base) != NULL);
    event_base_free(base);
}

/* The memory of an assigned event is the caller's: free to be reused once the callback runs. */
CASE(event_memory_reused_inside_the_callback) {
    struct event_base *base = new_base();
    struct event *event = malloc(sizeof *event);
    CHECK(event);
    CHECK(event_assign(event, base, -1, 0, traced, "first") == 0);
    CHECK(add_ms(event, 0) == 0);
    step("loop");
    event_base_dispatch(base);
    memset(event, 0xa5, sizeof *event);
    CHECK(event_assign(event, base, -1, 0, traced, "second") == 0);
    CHECK(add_ms(event, 0) == 0);
    event_base_dispatch(base);
    free(event);
    event_base_free(base);
}

static void finalized(struct event *event, void *name) {
    (void)event;
    token("finalized.%s", (const char *)name);
}

/* event_finalize deletes at once; the finalizer runs from the loop. */
CASE(event_finalize_runs_from_the_loop) {
    struct event_base *base = new_base();
    struct event *kept = new_event(base, -1, 0, traced, "kept");
    struct event *freed = new_event(base, -1, 0, traced, "freed");
    event_active(kept, EV_READ, 1);
    CHECK(add_ms(freed, 100000) == 0);
    step("calls");
    say("finalize %d", event_finalize(0, kept, finalized));
    say("free_finalize %d", event_free_finalize(0, freed, finalized));
    step("loop");
    pass(base);
    event_free(kept);
    event_base_free(base);
}

/* What is still added then is taken out; its memory stays the caller's, and asking libevent about
 * it is no longer allowed. */
CASE(event_base_free_runs_finalizers_and_drops_events) {
    struct event_base *base = new_base();
    struct event waiting;
    CHECK(event_assign(&waiting, base, -1, EV_PERSIST, traced, "waiting") == 0);
    struct event *freed = new_event(base, -1, 0, traced, "freed");
    CHECK(add_ms(&waiting, 100000) == 0);
    CHECK(event_free_finalize(0, freed, finalized) == 0);
    step("free");
    event_base_free(base);
}

/* Many programs free the base first. libevent then reads, and sometimes writes, the freed base. */
CASE_DIFFERS(event_freed_after_its_base, "memory safety",
             "libevent uses freed memory; in ferrevent event_del and event_free do no harm") {
    struct event_base *base = new_base();
    struct event *idle = new_event(base, -1, 0, traced, "idle");
    struct event *waiting = new_event(base, -1, EV_PERSIST, traced, "waiting");
    struct event *signals = new_event(base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "signal");
    CHECK(add_ms(waiting, 100000) == 0 && event_add(signals, NULL) == 0);
    event_base_free(base);
    say("waiting %#x signal %#x", pending(waiting), pending(signals));
    event_del(waiting);
    event_free(idle);
    event_free(waiting);
    event_free(signals);
    say("freed");
}
