/* Timeouts of socket bufferevents. No trace depends on how long something took. */
#include "bufferevent.h"

#include <event2/bufferevent_compat.h>

static void set_timeouts(struct bufferevent *bev, int read_ms, int write_ms) {
    struct timeval read = milliseconds(read_ms), write = milliseconds(write_ms);
    CHECK(bufferevent_set_timeouts(bev, read_ms ? &read : NULL, write_ms ? &write : NULL) == 0);
}

/* Writes more than the socket takes, so that writing gets stuck. */
static void overfill(struct bufferevent *bev) {
    for (int i = 0; i < 64; i++)
        write_letters(bev, 65536);
}

CASE(read_timeout_comes_once) /* 65 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 25, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    run_until_count(s.base, &s.a.events, 1);
    run_for(s.base, 90);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

CASE(data_after_a_read_timeout_waits_for_enable) /* 65 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 25, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("timeout");
    run_until_count(s.base, &s.a.events, 1);
    send_letters(s.peer, 7);
    step("off");
    settle(s.base);
    set_timeouts(s.a.bev, 0, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("on");
    settle(s.base);
    close_scene(&s);
}

CASE(write_timeout_comes_once) /* 65 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 0, 25);
    overfill(s.a.bev);
    step("loop");
    run_until_count(s.base, &s.a.events, 1);
    run_for(s.base, 90);
    say("enabled %d, held %d", bufferevent_get_enabled(s.a.bev), out_length(s.a.bev) > 0);
    close_scene(&s);
}

CASE(both_timeouts_in_one_bufferevent) /* 65 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 20, 60);
    /* First, so that its timeout is the first to end however slow the writes are. */
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    overfill(s.a.bev);
    step("loop");
    run_until_count(s.base, &s.a.events, 2);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

CASE(no_write_timeout_with_nothing_to_write) /* 66 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 0, 20);
    step("idle");
    run_for(s.base, 70);
    /* Long enough that a machine under load cannot run into it while it sends. */
    set_timeouts(s.a.bev, 0, 2000);
    write_letters(s.a.bev, 5);
    step("written");
    settle(s.base);
    set_timeouts(s.a.bev, 0, 20);
    run_for(s.base, 70);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

CASE(no_read_timeout_while_disabled) /* 66 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 20, 0);
    step("never enabled");
    run_for(s.base, 70);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    CHECK(bufferevent_disable(s.a.bev, EV_READ) == 0);
    step("disabled");
    run_for(s.base, 70);
    close_scene(&s);
}

CASE(no_write_timeout_while_disabled) /* 66 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 0, 20);
    write_letters(s.a.bev, 5);
    CHECK(bufferevent_disable(s.a.bev, EV_WRITE) == 0);
    step("disabled");
    run_for(s.base, 70);
    set_timeouts(s.a.bev, 0, 2000);
    CHECK(bufferevent_enable(s.a.bev, EV_WRITE) == 0);
    step("enabled");
    settle(s.base);
    close_scene(&s);
}

CASE(timeouts_set_while_enabled_start) /* 66 */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    settle(s.base);
    set_timeouts(s.a.bev, 20, 0);
    step("set");
    run_until_count(s.base, &s.a.events, 1);
    close_scene(&s);
}

CASE(null_removes_the_timeouts) /* 66 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 20, 20);
    overfill(s.a.bev);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    set_timeouts(s.a.bev, 0, 0);
    step("removed");
    run_for(s.base, 70);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

CASE(zero_removes_the_timeouts) /* 66 */
{
    struct scene s;
    struct timeval zero = {0, 0};
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 20, 20);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    CHECK(bufferevent_set_timeouts(s.a.bev, &zero, &zero) == 0);
    step("removed");
    run_for(s.base, 70);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

static void send_more(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    struct scene *s = arg;
    send_letters(s->peer, 1);
}

CASE(reading_restarts_the_read_timeout) /* 66 */
{
    struct scene s;
    open_scene(&s, 0);
    s.a.quiet = true;
    struct timeval step_length = milliseconds(40);
    struct event *sender = event_new(s.base, -1, EV_PERSIST, send_more, &s);
    /* 30 bytes, 40 ms apart: more than one second together, no gap near to one. */
    set_timeouts(s.a.bev, 1000, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    CHECK(event_add(sender, &step_length) == 0);
    run_until_count(s.base, &s.a.reads, 30);
    say("events %u", s.a.events);
    event_free(sender);
    close_scene(&s);
}

CASE(enabling_again_restarts_the_read_timeout) /* 65 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 20, 0);
    for (unsigned i = 1; i <= 3; i++) {
        CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
        step("enabled");
        run_until_count(s.base, &s.a.events, i);
    }
    close_scene(&s);
}

static void free_it(struct end *end) {
    bufferevent_free(end->bev);
    end->bev = NULL;
}

CASE(freeing_in_the_timeout_callback) /* 56, 65 */
{
    struct scene s;
    open_scene(&s, 0);
    s.a.on_event = free_it;
    set_timeouts(s.a.bev, 20, 40);
    /* First, so that its timeout is the first to end however slow the writes are. */
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    overfill(s.a.bev);
    step("loop");
    run_until_count(s.base, &s.a.events, 1);
    run_for(s.base, 50);
    say("events %u", s.a.events);
    close_scene(&s);
}

CASE(the_deferred_timeout_callback) /* 52, 65 */
{
    struct scene s;
    open_scene(&s, BEV_OPT_DEFER_CALLBACKS);
    set_timeouts(s.a.bev, 20, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    run_until_count(s.base, &s.a.events, 1);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

CASE(the_old_function_takes_seconds) /* 66 */
{
    struct scene s;
    open_scene(&s, 0);
    set_timeouts(s.a.bev, 20, 20);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    bufferevent_settimeout(s.a.bev, 0, 0);
    step("none");
    run_for(s.base, 70);
    bufferevent_settimeout(s.a.bev, 1, 0);
    step("one second");
    run_until_count(s.base, &s.a.events, 1);
    close_scene(&s);
}
