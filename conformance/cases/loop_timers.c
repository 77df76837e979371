/* Timers: order, moving, persistence, common timeouts, and timeouts of events on descriptors. */
#include "loop.h"

#include <event2/event_struct.h>

static unsigned calls;

static void counted(evutil_socket_t fd, short what, void *name) {
    calls++;
    traced(fd, what, name);
}

static void starts_mixed(evutil_socket_t fd, short what, void *arg) {
    static const int waits[] = {8, 2, 6, 3, 4, 1, 0, 5};
    struct event **events = arg;
    traced(fd, what, "start");
    for (int i = 0; i < 8; i++)
        CHECK(add_ms(events[i], waits[i]) == 0);
    usleep(30000);
}

/* Earlier deadline first. In a callback the clock stands still, so that only the waits count. */
CASE(timer_order) {
    static char *names[] = {"8", "2", "6", "3", "4", "1", "0", "5"};
    struct event_base *base = new_base();
    struct event *events[8];
    for (int i = 0; i < 8; i++)
        events[i] = new_event(base, -1, 0, traced, names[i]);
    struct event *start = new_event(base, -1, 0, starts_mixed, events);
    event_active(start, EV_READ, 1);
    step("loop");
    event_base_dispatch(base);
    for (int i = 0; i < 8; i++)
        event_free(events[i]);
    event_free(start);
    event_base_free(base);
}

/* Outside the loop each event_add looks at the clock: the same wait means the order of adding. But
 * without EVENT_BASE_FLAG_PRECISE_TIMER libevent asks the coarse clock, which moves every few
 * milliseconds, and mixes up (a h g f e d c b here) what was added between two of its ticks. */
CASE(timer_order_of_the_same_wait) {
    static char *names[] = {"a", "b", "c", "d", "e", "f", "g", "h"};
    struct event_config *config = event_config_new();
    CHECK(config && event_config_set_flag(config, EVENT_BASE_FLAG_PRECISE_TIMER) == 0);
    struct event_base *base = event_base_new_with_config(config);
    CHECK(base);
    event_config_free(config);
    struct event *events[8];
    for (int i = 0; i < 8; i++) {
        events[i] = new_event(base, -1, 0, traced, names[i]);
        CHECK(add_ms(events[i], 2) == 0);
        usleep(50);
    }
    usleep(5000);
    step("loop");
    event_base_dispatch(base);
    for (int i = 0; i < 8; i++)
        event_free(events[i]);
    event_base_free(base);
}

/* A zero or past wait fires in the next pass, never inside event_add. */
CASE(timer_of_zero_and_less) {
    struct event_base *base = new_base();
    struct event *zero = new_event(base, -1, 0, counted, "zero");
    struct timeval past = {-5, 0};
    step("zero");
    CHECK(add_ms(zero, 0) == 0);
    CHECK(calls == 0);
    event_base_loop(base, EVLOOP_NONBLOCK);
    step("negative");
    CHECK(event_add(zero, &past) == 0);
    event_base_loop(base, EVLOOP_NONBLOCK);
    event_free(zero);
    event_base_free(base);
}

/* A second event_add moves the timer; one with NULL leaves it as it is. */

static void less_than_nothing(struct event_base *base, int fd, short what, long seconds, long micros) {
    struct event *event = new_event(base, fd, what, traced, "late");
    struct timeval wait = {seconds, micros};
    CHECK(event_add(event, &wait) == 0);
    step("passes");
    for (int i = 0; i < 3; i++) {
        token("<%x>", (unsigned)pending(event));
        pass(base);
    }
    token("<%x>", (unsigned)pending(event));
    event_free(event);
}

/* What is over before it begins begins again, if it is persistent; but not what is nothing. */
CASE(timer_of_less_than_nothing_that_persists) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    for (int persists = 0; persists < 2; persists++) {
        short what = persists ? EV_PERSIST : 0;
        less_than_nothing(base, -1, what, 0, 0);
        less_than_nothing(base, -1, what, -1, 0);
        less_than_nothing(base, -1, what, -1, 999999);
        less_than_nothing(base, fd[0], what | EV_READ, 0, 0);
        less_than_nothing(base, fd[0], what | EV_READ, -4294967296, 0);
    }
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

CASE(timer_added_again_moves) {
    struct event_base *base = new_base();
    struct event *a = new_event(base, -1, 0, traced, "a");
    struct event *b = new_event(base, -1, 0, traced, "b");
    CHECK(add_ms(a, 1) == 0 && add_ms(b, 10) == 0);
    CHECK(add_ms(a, 30) == 0);
    step("moved back");
    event_base_dispatch(base);
    CHECK(add_ms(a, 100000) == 0 && add_ms(b, 300) == 0);
    CHECK(add_ms(a, 1) == 0);
    step("moved forward");
    event_base_dispatch(base);
    CHECK(add_ms(a, 1) == 0);
    CHECK(event_add(a, NULL) == 0);
    step("kept");
    event_base_dispatch(base);
    event_free(a);
    event_free(b);
    event_base_free(base);
}

/* Adding again with a new wait inside the pass in which the timer came due takes the call back. */
static struct event *moved;

static void moves(evutil_socket_t fd, short what, void *name) {
    traced(fd, what, name);
    CHECK(add_ms(moved, 1) == 0);
    token("pending=%x", pending(moved));
}

CASE(timer_moved_while_it_is_due) {
    struct event_base *base = new_base();
    struct event *first = new_event(base, -1, 0, moves, "first");
    moved = new_event(base, -1, 0, traced, "moved");
    CHECK(add_ms(first, 0) == 0);
    usleep(100);
    CHECK(add_ms(moved, 0) == 0);
    usleep(1000);
    step("first pass");
    event_base_loop(base, EVLOOP_ONCE);
    say("pending %#x", pending(moved));
    step("second pass");
    event_base_loop(base, EVLOOP_ONCE);
    event_free(first);
    event_free(moved);
    event_base_free(base);
}

CASE(timer_remove_keeps_the_event) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ, traced, "a");
    say("remove from an idle one %d", event_remove_timer(event));
    CHECK(add_ms(event, 100000) == 0);
    say("before %#x", pending(event));
    say("remove %d", event_remove_timer(event));
    say("after %#x", pending(event));
    event_free(event);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

CASE(timer_persistent_repeats_until_deleted) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, EV_PERSIST, counted, "tick");
    CHECK(add_ms(event, 2) == 0);
    step("ticks");
    while (calls < 3)
        CHECK(event_base_loop(base, EVLOOP_ONCE) == 0);
    say("pending %#x", pending(event));
    event_del(event);
    say("loop %d", event_base_dispatch(base));
    event_free(event);
    event_base_free(base);
}

/* A persistent timer that is late is scheduled from now, not called for each interval missed. */
CASE(timer_persistent_does_not_catch_up) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, EV_PERSIST, counted, "tick");
    struct timeval before, deadline;
    CHECK(add_ms(event, 5) == 0);
    usleep(30000);
    CHECK(gettimeofday(&before, NULL) == 0);
    step("late");
    event_base_loop(base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
    CHECK(event_pending(event, EV_TIMEOUT, &deadline) == EV_TIMEOUT);
    say("the next one lies ahead %d", evutil_timercmp(&deadline, &before, >));
    event_free(event);
    event_base_free(base);
}

/* The wait of a persistent timer is the last one that was given. */
CASE(timer_persistent_takes_the_new_wait) {
    struct event_base *base = new_base();
    struct event *event = new_event(base, -1, EV_PERSIST, counted, "tick");
    CHECK(add_ms(event, 100000) == 0);
    CHECK(add_ms(event, 1) == 0);
    step("ticks");
    while (calls < 2)
        CHECK(event_base_loop(base, EVLOOP_ONCE) == 0);
    event_free(event);
    event_base_free(base);
}

/* A plain event on a descriptor that times out is no longer pending for reading either. */
CASE(timer_on_a_descriptor_takes_the_event_out) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ, traced, "a");
    CHECK(add_ms(event, 1) == 0);
    step("loop");
    event_base_dispatch(base);
    say("pending %#x", pending(event));
    CHECK(add_ms(event, 100000) == 0);
    send_all(fd[1], "x", 1);
    step("readable");
    say("result %d", event_base_dispatch(base)); /* its timer is gone as well */
    event_free(event);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* A persistent event on a descriptor times out again and again, and stays readable. */
CASE(timer_on_a_persistent_descriptor) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ | EV_PERSIST, counted, "a");
    CHECK(add_ms(event, 2) == 0);
    step("timeouts");
    while (calls < 2)
        event_base_loop(base, EVLOOP_ONCE);
    say("pending %#x", pending(event));
    CHECK(add_ms(event, 100000) == 0);
    send_all(fd[1], "x", 1);
    step("readable");
    event_base_loop(base, EVLOOP_ONCE);
    say("pending %#x", pending(event));
    event_free(event);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Being readable restarts the timeout of a persistent event: the bytes come every 20 ms, the
 * timeout is 400 ms, and the whole takes longer than that. */
static void sends(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    if (++calls <= 25)
        send_all(*(int *)arg, "x", 1);
}

static void reads_or_ends(evutil_socket_t fd, short what, void *arg) {
    char data[16];
    if (what & EV_READ)
        recv_now(fd, data, sizeof data, NULL);
    if (!(what & EV_TIMEOUT))
        return;
    token("timeout after all was sent: %d", calls >= 25);
    event_base_loopbreak(arg);
}

CASE(timer_of_a_persistent_descriptor_restarts_on_data) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, reads_or_ends, base);
    struct event *ticks = new_event(base, -1, EV_PERSIST, sends, &fd[1]);
    CHECK(add_ms(reader, 400) == 0 && add_ms(ticks, 20) == 0);
    step("loop");
    event_base_dispatch(base);
    event_free(reader);
    event_free(ticks);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* Readable and timed out in the same pass: one call that says timeout only. The bytes are still
 * there; a program must look at the descriptor before it gives up on the peer. */
CASE(timer_hides_readable_in_the_same_pass) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *event = new_event(base, fd[0], EV_READ, traced, "a");
    CHECK(add_ms(event, 1) == 0);
    send_all(fd[1], "x", 1);
    usleep(20000);
    step("loop");
    event_base_dispatch(base);
    event_free(event);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* The same struct timeval back for the same wait; it works in event_add as any other. */
CASE(timer_common_timeout) {
    static char *names[] = {"a", "b", "c", "d"};
    struct event_base *base = new_base();
    struct timeval two = ms(2), hundred_seconds = ms(100000);
    const struct timeval *common = event_base_init_common_timeout(base, &two);
    const struct timeval *again = event_base_init_common_timeout(base, &two);
    const struct timeval *longer = event_base_init_common_timeout(base, &hundred_seconds);
    struct event *events[4];
    CHECK(common && longer);
    say("same %d other %d", again == common, longer != common);
    say("of itself %d", event_base_init_common_timeout(base, common) == common);
    for (int i = 0; i < 4; i++) {
        events[i] = new_event(base, -1, i == 3 ? EV_PERSIST : 0, counted, names[i]);
        CHECK(event_add(events[i], i == 0 ? longer : common) == 0);
        usleep(50);
    }
    event_del(events[2]);
    step("loop");
    while (calls < 4)
        event_base_loop(base, EVLOOP_ONCE);
    say("pending %#x %#x %#x %#x", pending(events[0]), pending(events[1]), pending(events[2]),
        pending(events[3]));
    for (int i = 0; i < 4; i++)
        event_free(events[i]);
    event_base_free(base);
}

static void compares_clocks(evutil_socket_t fd, short what, void *base) {
    struct timeval first, second, third, difference;
    (void)fd;
    (void)what;
    event_base_gettimeofday_cached(base, &first);
    usleep(20000); /* several ticks of the coarse clock */
    event_base_gettimeofday_cached(base, &second);
    token("frozen=%d", evutil_timercmp(&first, &second, ==));
    token("update=%d", event_base_update_cache_time(base));
    event_base_gettimeofday_cached(base, &third);
    evutil_timersub(&third, &second, &difference);
    token("moved=%d", difference.tv_sec > 0 || difference.tv_usec >= 10000);
}

/* Inside callbacks time stands still until event_base_update_cache_time. */
CASE(timer_cached_time) {
    struct event_base *base = new_base();
    struct timeval first, second;
    struct event *event = new_event(base, -1, 0, compares_clocks, base);
    event_base_gettimeofday_cached(base, &first);
    usleep(2000);
    event_base_gettimeofday_cached(base, &second);
    say("outside the loop it runs %d", evutil_timercmp(&first, &second, <));
    say("update outside %d", event_base_update_cache_time(base));
    event_base_gettimeofday_cached(base, &first);
    usleep(2000);
    event_base_gettimeofday_cached(base, &second);
    say("still runs %d", evutil_timercmp(&first, &second, <));
    event_active(event, EV_READ, 1);
    step("inside");
    event_base_dispatch(base);
    say("monotonic %d", event_gettime_monotonic(base, &first));
    event_free(event);
    event_base_free(base);
}

static const struct timeval *common_wait;

static void starts_equals(evutil_socket_t fd, short what, void *arg) {
    struct event **events = arg;
    struct timeval two = ms(2);
    traced(fd, what, "start");
    for (int i = 0; i < 6; i++)
        CHECK(event_add(events[i], common_wait ? common_wait : &two) == 0);
}

/* Timers that are started in one callback have equal deadlines and fire in the same pass. libevent
 * keeps them in a heap without regard to the order of adding (a f e d c b here), so that order is
 * not part of the trace. */
CASE(timer_equal_deadlines_fire_in_one_pass) {
    struct event_base *base = new_base();
    struct event *events[6];
    for (int i = 0; i < 6; i++)
        events[i] = new_event(base, -1, 0, counted, "x");
    struct event *start = new_event(base, -1, 0, starts_equals, events);
    event_active(start, EV_READ, 1);
    step("started");
    pass(base);
    step("fired");
    event_base_loop(base, EVLOOP_ONCE);
    say("all %u", calls);
    for (int i = 0; i < 6; i++)
        event_free(events[i]);
    event_free(start);
    event_base_free(base);
}

/* With a common timeout, equal ones do run in the order of adding. */
CASE(timer_equal_deadlines_of_a_common_timeout_are_in_order) {
    static char *names[] = {"a", "b", "c", "d", "e", "f"};
    struct event_base *base = new_base();
    struct timeval two = ms(2);
    struct event *events[6];
    common_wait = event_base_init_common_timeout(base, &two);
    for (int i = 0; i < 6; i++)
        events[i] = new_event(base, -1, 0, counted, names[i]);
    struct event *start = new_event(base, -1, 0, starts_equals, events);
    event_active(start, EV_READ, 1);
    step("loop");
    event_base_dispatch(base);
    for (int i = 0; i < 6; i++)
        event_free(events[i]);
    event_free(start);
    event_base_free(base);
}

/* In libevent what shares a timeout has its turn behind all else that is due, and a descriptor's event that is ready in
 * the same pass is told of that. Here a timer is a timer. */
CASE_DIFFERS(timer_with_a_common_timeout_among_others, "K",
             "libevent runs common timeouts behind all that is due; in ferrevent the deadlines decide") {
    struct event_base *base = new_base();
    struct timeval two = ms(2);
    int fd[2];
    unix_pair(fd);
    const struct timeval *common = event_base_init_common_timeout(base, &two);
    struct event *first = new_event(base, -1, 0, traced, "common");
    struct event *second = new_event(base, -1, 0, traced, "other");
    struct event *reader = new_event(base, fd[0], EV_READ, traced_drain, "reader");
    CHECK(event_add(first, common) == 0 && event_add(reader, common) == 0);
    usleep(20000);
    CHECK(add_ms(second, 1) == 0);
    usleep(20000);
    send_all(fd[1], "x", 1);
    step("pass");
    pass(base);
    event_free(first);
    event_free(second);
    event_free(reader);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}
