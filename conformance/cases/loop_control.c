/* Priorities, and how a loop ends: flags, loopexit, loopbreak, loopcontinue, results. */
#include "loop.h"

static struct event *other;

/* Does to the base what `what` says, in a callback. */
struct action {
    struct event_base *base;
    const char *what;
};

static void act(evutil_socket_t fd, short why, void *arg) {
    struct action *action = arg;
    (void)fd;
    (void)why;
    token("%s", action->what);
    if (strcmp(action->what, "exit") == 0)
        token("=%d", event_base_loopexit(action->base, NULL));
    else if (strcmp(action->what, "break") == 0)
        token("=%d", event_base_loopbreak(action->base));
    else if (strcmp(action->what, "nested") == 0)
        token("=%d", event_base_loop(action->base, EVLOOP_NONBLOCK));
    else if (strcmp(action->what, "wake") == 0)
        event_active(other, EV_READ, 1);
}

static void say_flags(struct event_base *base) {
    say("got_exit %d got_break %d", event_base_got_exit(base), event_base_got_break(base));
}

CASE(priority_limits) {
    struct event_base *base = new_base();
    event_set_log_callback(no_log);
    say("default %d", event_base_get_npriorities(base));
    say("init 0: %d", event_base_priority_init(base, 0));
    say("init 256: %d", event_base_priority_init(base, 256));
    say("init 255: %d", event_base_priority_init(base, 255));
    say("init 3: %d", event_base_priority_init(base, 3));
    say("now %d", event_base_get_npriorities(base));
    struct event *event = new_event(base, -1, 0, traced, "a");
    say("an event gets %d", event_get_priority(event));
    say("set 3: %d", event_priority_set(event, 3));
    say("set -1: %d", event_priority_set(event, -1));
    say("set 2: %d", event_priority_set(event, 2));
    CHECK(add_ms(event, 100000) == 0);
    say("set while pending: %d", event_priority_set(event, 1));
    event_active(event, EV_READ, 1);
    say("set while active: %d", event_priority_set(event, 0));
    say("init while active: %d", event_base_priority_init(base, 5));
    say("kept %d", event_get_priority(event));
    event_free(event);
    event_base_free(base);
}

CASE(priority_orders_the_calls) {
    static char *names[] = {"low", "default", "high", "high again"};
    static const int priorities[] = {2, 1, 0, 0};
    struct event_base *base = new_base();
    struct event *events[4];
    CHECK(event_base_priority_init(base, 3) == 0);
    for (int i = 0; i < 4; i++) {
        events[i] = new_event(base, -1, 0, traced, names[i]);
        if (i != 1)
            CHECK(event_priority_set(events[i], priorities[i]) == 0);
        event_active(events[i], EV_READ, 1);
    }
    step("loop");
    event_base_dispatch(base);
    for (int i = 0; i < 4; i++)
        event_free(events[i]);
    event_base_free(base);
}

/* A callback wakes an event of higher priority: that runs before the rest of the lower list. */
CASE(priority_of_an_event_woken_in_a_callback) {
    struct event_base *base = new_base();
    struct action wake = {base, "wake"};
    CHECK(event_base_priority_init(base, 2) == 0);
    struct event *low[2] = {new_event(base, -1, 0, act, &wake), new_event(base, -1, 0, act, &wake)};
    other = new_event(base, -1, 0, traced, "high");
    CHECK(event_priority_set(other, 0) == 0);
    for (int i = 0; i < 2; i++) {
        CHECK(event_priority_set(low[i], 1) == 0);
        event_active(low[i], EV_READ, 1);
    }
    step("loop");
    event_base_dispatch(base);
    event_free(low[0]);
    event_free(low[1]);
    event_free(other);
    event_base_free(base);
}

static void reads_at_third_call(evutil_socket_t fd, short what, void *name) {
    static int calls;
    if (++calls == 3)
        traced_drain(fd, what, name);
    else
        traced(fd, what, name);
}

/* Only the highest priority that has something runs in a pass, and the kernel is asked between
 * passes: a descriptor of high priority that stays ready keeps the others waiting. */
CASE(priority_only_the_highest_runs_in_a_pass) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    CHECK(event_base_priority_init(base, 2) == 0);
    struct event *high = new_event(base, fd[0], EV_READ | EV_PERSIST, reads_at_third_call, "high");
    struct event *low = new_event(base, fd[1], EV_WRITE, traced, "low");
    CHECK(event_priority_set(high, 0) == 0 && event_priority_set(low, 1) == 0);
    CHECK(event_add(low, NULL) == 0 && event_add(high, NULL) == 0);
    send_all(fd[1], "x", 1);
    step("loop");
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_free(high);
    event_free(low);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

CASE(loop_of_an_empty_base) {
    struct event_base *base = new_base();
    say("dispatch %d", event_base_dispatch(base));
    say("once %d", event_base_loop(base, EVLOOP_ONCE));
    say("nonblock %d", event_base_loop(base, EVLOOP_NONBLOCK));
    say("nonblock, no exit %d",
        event_base_loop(base, EVLOOP_NONBLOCK | EVLOOP_NO_EXIT_ON_EMPTY));
    say_flags(base);
    event_base_free(base);
}

/* 0 after a pass that left something pending or after loopexit, 1 when nothing is left. */
CASE(loop_once_and_nonblock_results) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, EV_PERSIST, traced, "tick");
    CHECK(add_ms(event, 100000) == 0);
    say("nonblock %d", event_base_loop(base, EVLOOP_NONBLOCK));
    CHECK(add_ms(event, 1) == 0);
    step("once");
    say("result %d", event_base_loop(base, EVLOOP_ONCE));
    CHECK(event_del(event) == 0);
    event_free(event);
    event = new_event(base, -1, 0, traced, "last");
    CHECK(add_ms(event, 1) == 0);
    step("once");
    say("the last event: %d", event_base_loop(base, EVLOOP_ONCE));
    CHECK(add_ms(event, 1) == 0);
    step("dispatch");
    say("the last event: %d", event_base_dispatch(base));
    event_free(event);
    event_base_free(base);
}

/* ONCE waits past a wake-up that activates nothing only in so far as it does not return before a
 * callback ran: here the first deadline that comes belongs to a deleted timer. */
CASE(loop_once_waits_for_a_callback) {
    struct event_base *base = new_base();
    struct event *early = new_event(base, -1, 0, traced, "early");
    struct event *late = new_event(base, -1, 0, traced, "late");
    CHECK(add_ms(early, 1) == 0 && add_ms(late, 20) == 0);
    CHECK(event_del(early) == 0);
    step("once");
    say("result %d", event_base_loop(base, EVLOOP_ONCE));
    event_free(early);
    event_free(late);
    event_base_free(base);
}

CASE(loop_no_exit_on_empty_ends_by_loopexit) {
    struct event_base *base = new_base();
    struct timeval wait = ms(10);
    CHECK(event_base_loopexit(base, &wait) == 0);
    say("loop %d", event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY));
    say_flags(base);
    say("next loop %d", event_base_loop(base, 0)); /* clears both */
    say_flags(base);
    event_base_free(base);
}

/* loopexit lets the other active callbacks run, loopbreak does not; they run in the next loop. */
static void two_active(const char *what) {
    struct event_base *base = new_base();
    struct action action = {base, what};
    struct event *first = new_event(base, -1, 0, act, &action);
    struct event *second = new_event(base, -1, 0, traced, "second");
    event_active(first, EV_READ, 1);
    event_active(second, EV_READ, 1);
    step("loop");
    int result = event_base_dispatch(base);
    say("result %d", result);
    say_flags(base);
    step("next");
    result = event_base_dispatch(base);
    say("result %d", result);
    say_flags(base);
    event_free(first);
    event_free(second);
    event_base_free(base);
}

CASE(loop_exit_lets_active_callbacks_run) {
    two_active("exit");
}

CASE(loop_break_stops_after_the_callback) {
    two_active("break");
}

struct sender {
    struct event_base *base;
    int fd;
    bool rescan;
};

static void sends(evutil_socket_t fd, short what, void *arg) {
    struct sender *sender = arg;
    traced(fd, what, "sends");
    send_all(sender->fd, "x", 1);
    if (sender->rescan)
        token("continue=%d", event_base_loopcontinue(sender->base));
}

static void two_active_and_a_descriptor(bool rescan) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct sender sender = {base, fd[1], rescan};
    CHECK(event_base_priority_init(base, 3) == 0);
    struct event *high = new_event(base, fd[0], EV_READ, traced_drain, "high");
    struct event *first = new_event(base, -1, 0, sends, &sender);
    struct event *second = new_event(base, -1, 0, traced, "second");
    CHECK(event_priority_set(high, 0) == 0);
    CHECK(event_add(high, NULL) == 0);
    event_active(first, EV_WRITE, 1);
    event_active(second, EV_WRITE, 1);
    step(rescan ? "with loopcontinue" : "without");
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_free(high);
    event_free(first);
    event_free(second);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* loopcontinue looks at the kernel and the timers again before the rest of the active ones. */
CASE(loop_continue_rescans) {
    two_active_and_a_descriptor(false);
    two_active_and_a_descriptor(true);
}

/* A loopbreak before the loop is lost, a loopexit is not. */
CASE(loop_break_and_exit_before_the_loop) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, 0, traced, "timer");
    CHECK(add_ms(event, 0) == 0);
    say("break %d", event_base_loopbreak(base));
    say_flags(base);
    step("loop");
    int result = event_base_dispatch(base);
    say("result %d", result);
    say_flags(base);
    CHECK(add_ms(event, 0) == 0);
    say("exit %d", event_base_loopexit(base, NULL));
    say_flags(base);
    step("loop");
    result = event_base_dispatch(base);
    say("result %d", result);
    say_flags(base);
    step("next");
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_free(event);
    event_base_free(base);
}

/* loopexit with a time is a timer like others: the earlier one runs, the later one does not. */
CASE(loop_exit_after_a_time) {
    struct event_base *base = new_base();
    struct timeval wait = ms(20);
    struct event *before = new_event(base, -1, 0, traced, "before");
    struct event *after = new_event(base, -1, 0, traced, "after");
    CHECK(add_ms(before, 1) == 0 && add_ms(after, 100000) == 0);
    say("exit %d", event_base_loopexit(base, &wait));
    step("loop");
    int result = event_base_dispatch(base);
    say("result %d", result);
    say_flags(base);
    say("after %#x", pending(after));
    event_free(before);
    event_free(after);
    event_base_free(base);
}

/* A loop inside a callback of the same base is refused with -1 and a line in the log. */
CASE(loop_inside_a_callback_is_refused) {
    struct event_base *base = new_base();
    struct action action = {base, "nested"};
    event_set_log_callback(no_log);
    struct event *event = new_event(base, -1, 0, act, &action);
    event_active(event, EV_READ, 1);
    step("loop");
    int result = event_base_dispatch(base);
    say("result %d", result);
    event_free(event);
    event_base_free(base);
}

static void loops_another(evutil_socket_t fd, short what, void *base) {
    traced(fd, what, "outer");
    token("inner-result=%d", event_base_dispatch(base));
}

CASE(loop_of_another_base_inside_a_callback) {
    struct event_base *outer = new_base(), *inner = new_base();
    struct event *in = new_event(inner, -1, 0, traced, "inner");
    struct event *out = new_event(outer, -1, 0, loops_another, inner);
    CHECK(add_ms(in, 1) == 0 && add_ms(out, 1) == 0);
    step("loop");
    event_base_dispatch(outer);
    event_free(in);
    event_free(out);
    event_base_free(inner);
    event_base_free(outer);
}

static void say_counts(struct event_base *base, const char *when) {
    say("%s: added %d active %d virtual %d all %d", when,
        event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED),
        event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE),
        event_base_get_num_events(base, EVENT_BASE_COUNT_VIRTUAL),
        event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED | EVENT_BASE_COUNT_ACTIVE |
                                            EVENT_BASE_COUNT_VIRTUAL));
}

/* "Added" counts an event once for its descriptor, again for its timer and again while it is
 * active: two active events of which one is added with a timer make four. */
CASE(loop_event_counters) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *a = new_event(base, fd[0], EV_READ | EV_WRITE | EV_PERSIST, traced, "a");
    struct event *b = new_event(base, -1, 0, traced, "b");
    say_counts(base, "new");
    CHECK(add_ms(a, 100000) == 0);
    say_counts(base, "added with a timer");
    CHECK(add_ms(a, 100000) == 0);
    say_counts(base, "added again");
    event_active(a, EV_READ, 1);
    event_active(b, EV_READ, 1);
    say_counts(base, "activated");
    say("most added %d", event_base_get_max_events(base, EVENT_BASE_COUNT_ADDED, 0));
    say("most active %d", event_base_get_max_events(base, EVENT_BASE_COUNT_ACTIVE, 1));
    say("most active, after clearing %d",
        event_base_get_max_events(base, EVENT_BASE_COUNT_ACTIVE, 0));
    event_del(a);
    event_del(b);
    say_counts(base, "deleted");
    event_free(a);
    event_free(b);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

static int count_event(const struct event_base *base, const struct event *event, void *stop_at) {
    (void)base;
    const char *name = event_get_callback_arg(event);
    token("%s", name);
    return strcmp(name, stop_at) == 0 ? 7 : 0;
}

/* Each event once: those on descriptors, then mere timers, then those that are only active. */
CASE(loop_foreach_event) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *active = new_event(base, -1, 0, traced, "active");
    struct event *timer = new_event(base, -1, 0, traced, "timer");
    struct event *io = new_event(base, fd[0], EV_READ | EV_WRITE, traced, "io");
    step("none");
    say("result %d", event_base_foreach_event(base, count_event, ""));
    event_active(active, EV_READ, 1);
    CHECK(add_ms(timer, 100000) == 0 && add_ms(io, 1000) == 0);
    step("all");
    say("result %d", event_base_foreach_event(base, count_event, ""));
    step("stopped");
    say("result %d", event_base_foreach_event(base, count_event, "timer"));
    event_free(active);
    event_free(timer);
    event_free(io);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}
