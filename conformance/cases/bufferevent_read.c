/* Reading: watermarks, the input buffer, the functions that take data out of it. */
#include "bufferevent.h"

CASE(read_callback_waits_for_the_low_mark) /* 14 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 10, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 5);
    step("5");
    settle(s.base);
    send_letters(s.peer, 5);
    step("5 more");
    settle(s.base);
    close_scene(&s);
}

CASE(bytes_left_are_not_announced_again) /* 15 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 10, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 10);
    step("10");
    settle(s.base);
    step("idle");
    settle(s.base);
    send_letters(s.peer, 1);
    step("one more");
    settle(s.base);
    close_scene(&s);
}

CASE(lowering_the_low_mark_calls_nothing) /* 16 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 10, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 5);
    step("below");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 2, 0);
    step("lowered");
    settle(s.base);
    send_letters(s.peer, 1);
    step("one more");
    settle(s.base);
    close_scene(&s);
}

/* Inside the callback, as libevent announces a full input without end otherwise (18). */
static void disable_read(struct end *end) {
    CHECK(bufferevent_disable(end->bev, EV_READ) == 0);
}

CASE(reading_stops_exactly_at_the_high_mark) /* 17 */
{
    struct scene s;
    char rest[64];
    open_scene(&s, 0);
    int fd = bufferevent_getfd(s.a.bev);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 10);
    s.a.on_read = disable_read;
    send_letters(s.peer, 25);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("read");
    settle(s.base);
    say("still in the kernel %zu", recv_now(fd, rest, sizeof rest, NULL));
    close_scene(&s);
}

CASE_DIFFERS(a_full_input_is_announced_once, "J18",
             "a full input that nobody drained is not announced again, and the loop returns") {
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 10);
    send_letters(s.peer, 25);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("full");
    settle(s.base);
    say("EVLOOP_ONCE returns");
    close_scene(&s);
}

static void stop_at_three(struct end *end) {
    if (end->reads == 3)
        CHECK(bufferevent_disable(end->bev, EV_READ) == 0);
    CHECK(evbuffer_drain(bufferevent_get_input(end->bev), 1) == 0);
}

CASE(a_callback_that_drains_a_little_is_called_again) /* 18, J18 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 10);
    s.a.on_read = stop_at_three;
    send_letters(s.peer, 25);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("one byte at a time");
    settle(s.base);
    close_scene(&s);
}

static void drain_three(struct end *end) {
    CHECK(evbuffer_drain(bufferevent_get_input(end->bev), 3) == 0);
}

CASE(draining_inside_the_callback_resumes) /* 19 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 10);
    s.a.on_read = drain_three;
    send_letters(s.peer, 25);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("drain 3");
    settle(s.base);
    say("left %zu", in_length(s.a.bev));
    close_scene(&s);
}

CASE(draining_later_resumes) /* 19, 20 */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 10);
    step("read");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 8);
    send_letters(s.peer, 30);
    step("suspended");
    settle(s.base);
    CHECK(evbuffer_drain(bufferevent_get_input(s.a.bev), 2) == 0);
    step("still at the mark");
    settle(s.base);
    s.a.on_read = disable_read;
    CHECK(evbuffer_drain(bufferevent_get_input(s.a.bev), 3) == 0);
    step("below");
    settle(s.base);
    close_scene(&s);
}

CASE(a_high_mark_below_the_length_suspends_silently) /* 20 */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 50);
    step("read");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 20);
    say("input %zu", in_length(s.a.bev));
    send_letters(s.peer, 7);
    step("suspended");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 0);
    step("without a mark");
    settle(s.base);
    close_scene(&s);
}

CASE(raising_the_high_mark_resumes) /* 20 */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 50);
    step("read");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 20);
    send_letters(s.peer, 7);
    step("suspended");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 100);
    step("raised");
    settle(s.base);
    close_scene(&s);
}

CASE(a_low_mark_above_the_high_one_is_never_reached)
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 20, 10);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 30);
    step("read");
    settle(s.base);
    say("input %zu", in_length(s.a.bev));
    close_scene(&s);
}

CASE(watermark_getter_takes_one_direction) /* 22 */
{
    struct scene s;
    size_t low = 99, high = 99;
    open_scene(&s, 0);
    int result = bufferevent_getwatermark(s.a.bev, EV_READ, &low, &high);
    say("read: %d %zu %zu", result, low, high);
    result = bufferevent_getwatermark(s.a.bev, EV_WRITE, &low, &high);
    say("write: %d %zu %zu", result, low, high);
    bufferevent_setwatermark(s.a.bev, EV_READ, 3, 4);
    bufferevent_setwatermark(s.a.bev, EV_WRITE, 5, SIZE_MAX);
    result = bufferevent_getwatermark(s.a.bev, EV_READ, &low, &high);
    say("read: %d %zu %zu", result, low, high);
    result = bufferevent_getwatermark(s.a.bev, EV_WRITE, &low, &high);
    say("write: %d %zu %d", result, low, high == SIZE_MAX);
    bufferevent_setwatermark(s.a.bev, EV_READ | EV_WRITE, 1, 2);
    result = bufferevent_getwatermark(s.a.bev, EV_READ, &low, NULL);
    say("both set, low alone: %d %zu", result, low);
    result = bufferevent_getwatermark(s.a.bev, EV_WRITE, NULL, &high);
    say("both set, high alone: %d %zu", result, high);
    say("neither: %d", bufferevent_getwatermark(s.a.bev, EV_READ, NULL, NULL));
    low = high = 99;
    result = bufferevent_getwatermark(s.a.bev, EV_READ | EV_WRITE, &low, &high);
    say("both asked: %d %zu %zu", result, low, high);
    result = bufferevent_getwatermark(s.a.bev, 0, &low, &high);
    say("none asked: %d %zu %zu", result, low, high);
    close_scene(&s);
}

CASE(no_read_timeout_while_suspended_by_the_mark) /* 23 */
{
    struct scene s;
    struct timeval timeout = milliseconds(20);
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 10);
    step("read");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 5);
    CHECK(bufferevent_set_timeouts(s.a.bev, &timeout, NULL) == 0);
    step("suspended");
    run_for(s.base, 80);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 0);
    step("resumed");
    run_until_count(s.base, &s.a.events, 1);
    close_scene(&s);
}

CASE(read_takes_from_the_input) {
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    say("empty %zu", bufferevent_read(s.a.bev, got, sizeof got));
    send_letters(s.peer, 20);
    step("read");
    settle(s.base);
    say("none %zu", bufferevent_read(s.a.bev, got, 0));
    size_t n = bufferevent_read(s.a.bev, got, 5);
    say("%zu %.*s, left %zu", n, (int)n, got, in_length(s.a.bev));
    n = bufferevent_read(s.a.bev, got, sizeof got);
    say("%zu %.*s, left %zu", n, (int)n, got, in_length(s.a.bev));
    close_scene(&s);
}

CASE(read_buffer_moves_the_whole_input) {
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    struct evbuffer *taken = evbuffer_new();
    CHECK(evbuffer_add(taken, "before:", 7) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    say("empty %d", bufferevent_read_buffer(s.a.bev, taken));
    send_letters(s.peer, 6);
    step("read");
    settle(s.base);
    int result = bufferevent_read_buffer(s.a.bev, taken);
    say("moved %d, left %zu", result, in_length(s.a.bev));
    int n = evbuffer_remove(taken, got, sizeof got);
    say("%.*s", n, got);
    send_letters(s.peer, 3);
    step("reads on");
    settle(s.base);
    evbuffer_free(taken);
    close_scene(&s);
}

CASE(limits_of_one_read_and_one_write) /* 22, 32 */
{
    struct scene s;
    open_scene(&s, 0);
    struct bufferevent *bev = s.a.bev;
    say("at first %zd %zd", bufferevent_get_max_single_read(bev),
        bufferevent_get_max_single_write(bev));
    say("allowance %zd %zd", bufferevent_get_max_to_read(bev), bufferevent_get_max_to_write(bev));
    const size_t sizes[] = {1, 100, 65536, 0, SIZE_MAX};
    for (size_t i = 0; i < sizeof sizes / sizeof sizes[0]; i++) {
        int read = bufferevent_set_max_single_read(bev, sizes[i]);
        int write = bufferevent_set_max_single_write(bev, sizes[i]);
        say("set %zu: %d %d, now %zd %zd, allowance %zd %zd", sizes[i], read, write,
            bufferevent_get_max_single_read(bev), bufferevent_get_max_single_write(bev),
            bufferevent_get_max_to_read(bev), bufferevent_get_max_to_write(bev));
    }
    close_scene(&s);
}

CASE(one_read_takes_at_most_its_limit) /* 13 */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_set_max_single_read(s.a.bev, 100) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 350);
    step("read");
    settle(s.base);
    close_scene(&s);
}

CASE(the_high_mark_holds_with_every_length_of_arrival) /* 17, 19 */
{
    struct scene s;
    open_scene(&s, 0);
    size_t most = 0, total = 0;
    s.a.quiet = true;
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 50);
    bufferevent_setcb(s.a.bev, NULL, NULL, on_event, &s.a);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    for (size_t length = 1; length < 120; length++) {
        send_letters(s.peer, length);
        for (size_t taken = 0; taken < length;) {
            settle(s.base);
            size_t now = in_length(s.a.bev);
            CHECK(now > 0);
            if (now > most)
                most = now;
            CHECK(evbuffer_drain(bufferevent_get_input(s.a.bev), now) == 0);
            taken += now;
            total += now;
        }
    }
    say("never more than %zu, together %zu", most, total);
    close_scene(&s);
}
