/* Socket bufferevents as they come from the constructor; enabling and disabling directions. */
#include "bufferevent.h"

#include <event2/bufferevent_compat.h>
#include <event2/event_compat.h>

CASE(write_is_enabled_at_creation) /* 1 */
{
    struct scene s;
    open_scene(&s, 0);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    say("lengths %zu %zu", in_length(s.a.bev), out_length(s.a.bev));
    say("base kept %d", bufferevent_get_base(s.a.bev) == s.base);
    say("underlying %d", bufferevent_get_underlying(s.a.bev) != NULL);
    close_scene(&s);
}

CASE(a_new_bufferevent_calls_nothing) /* 2 */
{
    struct scene s;
    open_scene(&s, 0);
    settle(s.base);
    run_for(s.base, 20);
    say("callbacks %u", s.a.reads + s.a.writes + s.a.events);
    close_scene(&s);
}

CASE(enabling_write_with_an_empty_output_kicks_once) /* 3 */
{
    struct scene s;
    open_scene(&s, 0);
    for (int i = 0; i < 3; i++) {
        step("enable");
        CHECK(bufferevent_enable(s.a.bev, EV_WRITE) == 0);
        CHECK(s.a.writes == (unsigned)i); /* never inside the call */
        settle(s.base);
    }
    close_scene(&s);
}

/* Unix sockets report room whenever their peer has read something. */
CASE(enabling_write_kicks_after_the_peer_has_read) /* 3 */
{
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    bufferevent_enable(s.a.bev, EV_READ | EV_WRITE);
    step("kick");
    settle(s.base);
    for (int passes = 0; passes < 4; passes++) {
        write_letters(s.a.bev, 3);
        settle(s.base);
        say("peer has %zu", recv_now(s.peer, got, sizeof got, NULL));
        for (int i = 0; i < passes; i++)
            pass(s.base);
        bufferevent_enable(s.a.bev, EV_WRITE);
        step("kick");
        settle(s.base);
    }
    close_scene(&s);
}

CASE(setfd_kicks_the_write_callback) /* 4 */
{
    struct scene s;
    open_scene(&s, 0);
    int fd = bufferevent_getfd(s.a.bev);
    CHECK(fd >= 0);
    CHECK(bufferevent_setfd(s.a.bev, -1) == 0);
    say("fd %d", bufferevent_getfd(s.a.bev));
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    step("without");
    settle(s.base);
    CHECK(bufferevent_setfd(s.a.bev, fd) == 0);
    CHECK(bufferevent_getfd(s.a.bev) == fd);
    step("with");
    settle(s.base);
    close_scene(&s);
}

CASE(setfd_moves_reading_to_the_new_descriptor) /* 4 */
{
    struct scene s;
    int other[2];
    open_scene(&s, 0);
    unix_pair(other);
    int old = bufferevent_getfd(s.a.bev);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    settle(s.base);
    CHECK(bufferevent_setfd(s.a.bev, other[0]) == 0);
    say("old one is left open: %d", fd_is_open(old));
    send_letters(s.peer, 5);
    send_letters(other[1], 7);
    step("new");
    settle(s.base);
    close(old);
    close(other[1]);
    close_scene(&s);
}

CASE(writing_without_a_descriptor_waits_for_one)
{
    struct scene s;
    char got[64];
    int fd[2];
    s.base = new_base();
    unix_pair(fd);
    s.peer = fd[1];
    watch_new(&s.a, "", s.base, -1, BEV_OPT_CLOSE_ON_FREE);
    say("write %d", bufferevent_write(s.a.bev, "hello", 5));
    settle(s.base);
    say("held %zu", out_length(s.a.bev));
    CHECK(bufferevent_setfd(s.a.bev, fd[0]) == 0);
    step("sent");
    settle(s.base);
    say("peer has %zu", recv_now(s.peer, got, sizeof got, NULL));
    close_scene(&s);
}

CASE(bytes_before_enable_wait_in_the_kernel) /* 5 */
{
    struct scene s;
    open_scene(&s, 0);
    send_letters(s.peer, 9);
    settle(s.base);
    say("before %zu", in_length(s.a.bev));
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    say("inside enable %zu %u", in_length(s.a.bev), s.a.reads);
    step("after");
    settle(s.base);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

CASE(reading_needs_no_read_callback) /* 6 */
{
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setcb(s.a.bev, NULL, NULL, NULL, NULL);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 12);
    write_letters(s.a.bev, 8);
    settle(s.base);
    say("input %zu output %zu", in_length(s.a.bev), out_length(s.a.bev));
    close_peer(&s);
    settle(s.base);
    say("enabled after the end %d", bufferevent_get_enabled(s.a.bev));
    close_scene(&s);
}

static void disable_read(struct end *end) {
    CHECK(bufferevent_disable(end->bev, EV_READ) == 0);
}

CASE(disabling_read_inside_the_callback_stops_at_once) /* 7 */
{
    struct scene s;
    char rest[16384];
    open_scene(&s, 0);
    int fd = bufferevent_getfd(s.a.bev);
    send_letters(s.peer, 9000);
    s.a.quiet = true;
    s.a.on_read = disable_read;
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    settle(s.base);
    send_letters(s.peer, 1000);
    settle(s.base);
    say("callbacks %u, enabled %d", s.a.reads, bufferevent_get_enabled(s.a.bev));
    say("in the input or in the kernel %zu",
        in_length(s.a.bev) + recv_now(fd, rest, sizeof rest, NULL));
    close_scene(&s);
}

CASE(disabled_write_holds_the_data) /* 8 */
{
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    CHECK(bufferevent_disable(s.a.bev, EV_WRITE) == 0);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    write_letters(s.a.bev, 20);
    step("disabled");
    settle(s.base);
    say("peer has %zu, held %zu", recv_now(s.peer, got, sizeof got, NULL), out_length(s.a.bev));
    CHECK(bufferevent_enable(s.a.bev, EV_WRITE) == 0);
    step("enabled");
    settle(s.base);
    say("peer has %zu", recv_now(s.peer, got, sizeof got, NULL));
    close_scene(&s);
}

CASE(disable_and_enable_within_one_call_chain_sends_once) /* 8 */
{
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    CHECK(bufferevent_disable(s.a.bev, EV_WRITE) == 0);
    write_letters(s.a.bev, 20);
    CHECK(bufferevent_enable(s.a.bev, EV_WRITE) == 0);
    say("inside %zu", recv_now(s.peer, got, sizeof got, NULL));
    step("after");
    settle(s.base);
    say("peer has %zu", recv_now(s.peer, got, sizeof got, NULL));
    close_scene(&s);
}

CASE(enabling_read_again_does_not_announce_old_bytes) /* 9 */
{
    struct scene s;
    open_scene(&s, 0);
    send_letters(s.peer, 10);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("first");
    settle(s.base);
    CHECK(bufferevent_disable(s.a.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("again");
    settle(s.base);
    send_letters(s.peer, 1);
    step("more");
    settle(s.base);
    close_scene(&s);
}

CASE(enable_while_suspended_is_only_a_wish) /* 10 */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 20);
    step("read");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 10);
    CHECK(bufferevent_disable(s.a.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 5);
    step("suspended");
    settle(s.base);
    say("enabled %d, input %zu", bufferevent_get_enabled(s.a.bev), in_length(s.a.bev));
    CHECK(evbuffer_drain(bufferevent_get_input(s.a.bev), 18) == 0);
    step("drained");
    settle(s.base);
    close_scene(&s);
}

CASE(disable_while_suspended_outlasts_the_suspension) /* 10 */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 20);
    step("read");
    settle(s.base);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 10);
    CHECK(bufferevent_disable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 5);
    CHECK(evbuffer_drain(bufferevent_get_input(s.a.bev), 18) == 0);
    step("drained");
    settle(s.base);
    say("enabled %d, input %zu", bufferevent_get_enabled(s.a.bev), in_length(s.a.bev));
    close_scene(&s);
}

CASE(enable_and_disable_take_both_directions)
{
    struct scene s;
    open_scene(&s, 0);
    struct bufferevent *bev = s.a.bev;
    int result = bufferevent_enable(bev, 0);
    say("nothing: %d, enabled %d", result, bufferevent_get_enabled(bev));
    result = bufferevent_enable(bev, EV_READ | EV_WRITE);
    say("both: %d, enabled %d", result, bufferevent_get_enabled(bev));
    result = bufferevent_disable(bev, EV_READ | EV_WRITE);
    say("both off: %d, enabled %d", result, bufferevent_get_enabled(bev));
    result = bufferevent_disable(bev, EV_READ);
    say("off again: %d, enabled %d", result, bufferevent_get_enabled(bev));
    result = bufferevent_disable(bev, 0);
    say("nothing off: %d, enabled %d", result, bufferevent_get_enabled(bev));
    close_scene(&s);
}

CASE(getcb_returns_what_setcb_stored)
{
    struct scene s;
    bufferevent_data_cb read, write;
    bufferevent_event_cb event;
    void *arg;
    open_scene(&s, 0);
    bufferevent_getcb(s.a.bev, &read, &write, &event, &arg);
    say("%d %d %d %d", read == on_read, write == on_write, event == on_event, arg == &s.a);
    bufferevent_setcb(s.a.bev, NULL, on_write, NULL, &s);
    bufferevent_getcb(s.a.bev, &read, &write, &event, &arg);
    say("%d %d %d %d", read == NULL, write == on_write, event == NULL, arg == &s);
    bufferevent_getcb(s.a.bev, NULL, NULL, NULL, NULL);
    close_scene(&s);
}

static unsigned warnings;

static void count_warning(int severity, const char *message) {
    (void)message;
    if (severity >= EVENT_LOG_WARN)
        warnings++;
}

CASE(unlock_callbacks_needs_defer_callbacks) /* 11, J11 keeps it */
{
    struct event_base *base = new_base();
    event_set_log_callback(count_warning);
    say("made %d", bufferevent_socket_new(base, -1, BEV_OPT_UNLOCK_CALLBACKS) != NULL);
    say("warned %d", warnings > 0);
    struct bufferevent *bev =
        bufferevent_socket_new(base, -1, BEV_OPT_UNLOCK_CALLBACKS | BEV_OPT_DEFER_CALLBACKS);
    say("with defer %d", bev != NULL);
    bufferevent_free(bev);
    event_base_free(base);
}

CASE(threadsafe_needs_thread_support) /* 11, J11 keeps it */
{
    struct event_base *base = new_base();
    event_set_log_callback(count_warning);
    say("made %d", bufferevent_socket_new(base, -1, BEV_OPT_THREADSAFE) != NULL);
    event_base_free(base);
}

CASE(every_option_together_with_thread_support) /* 11 */
{
    CHECK(evthread_use_pthreads() == 0);
    for (int options = 0; options < 16; options++) {
        struct event_base *base = new_base();
        int fd[2];
        unix_pair(fd);
        event_set_log_callback(count_warning);
        struct bufferevent *bev = bufferevent_socket_new(base, fd[0], options);
        say("options %x: made %d", (unsigned)options, bev != NULL);
        if (bev)
            bufferevent_free(bev);
        event_base_free(base);
        say("closed %d", !fd_is_open(fd[0]));
        if (fd_is_open(fd[0]))
            close(fd[0]);
        close(fd[1]);
    }
}

CASE(priority_is_the_middle_one_and_can_be_set) /* 64 */
{
    struct scene s;
    s.base = new_base();
    int fd[2];
    unix_pair(fd);
    s.peer = fd[1];
    CHECK(event_base_priority_init(s.base, 5) == 0);
    watch_new(&s.a, "", s.base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    say("at first %d", bufferevent_get_priority(s.a.bev));
    const int wanted[] = {0, 4, 5, -1, 100, 1};
    for (size_t i = 0; i < sizeof wanted / sizeof wanted[0]; i++) {
        int result = bufferevent_priority_set(s.a.bev, wanted[i]);
        say("set %d: %d, now %d", wanted[i], result, bufferevent_get_priority(s.a.bev));
    }
    close_scene(&s);
}

CASE(priority_decides_who_is_called_first) /* 64 */
{
    struct event_base *base = new_base();
    struct end end[3];
    int fd[3][2];
    const char *names[] = {"low", "middle", "high"};
    CHECK(event_base_priority_init(base, 3) == 0);
    for (int i = 0; i < 3; i++) {
        unix_pair(fd[i]);
        watch_new(&end[i], names[i], base, fd[i][0],
                  BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS);
        CHECK(bufferevent_priority_set(end[i].bev, 2 - i) == 0);
        CHECK(bufferevent_enable(end[i].bev, EV_READ) == 0);
        send_letters(fd[i][1], 3);
    }
    step("order");
    settle(base);
    for (int i = 0; i < 3; i++) {
        bufferevent_free(end[i].bev);
        close(fd[i][1]);
    }
    event_base_free(base);
}

CASE(base_set_moves_a_bufferevent_to_another_base)
{
    struct scene s;
    struct event_base *other = new_base();
    open_scene(&s, 0);
    say("set %d", bufferevent_base_set(other, s.a.bev));
    say("there %d", bufferevent_get_base(s.a.bev) == other);
    send_letters(s.peer, 4);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("old base");
    settle(s.base);
    step("new base");
    settle(other);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    event_base_free(other);
    close_scene(&s);
}

CASE(the_old_constructor_uses_the_base_that_is_set)
{
    struct end a;
    char got[64];
    int fd[2];
    unix_pair(fd);
    /* It takes the base that event_init made last, and crashes without one. */
    struct event_base *base = event_init();
    CHECK(base);
    struct bufferevent *bev = bufferevent_new(fd[0], on_read, on_write, on_event, &a);
    watch(&a, "", bev);
    say("enabled %d", bufferevent_get_enabled(bev));
    CHECK(bufferevent_enable(bev, EV_READ) == 0);
    send_letters(fd[1], 6);
    step("read");
    settle(base);
    write_letters(bev, 11);
    step("write");
    settle(base);
    say("peer has %zu", recv_now(fd[1], got, sizeof got, NULL));
    bufferevent_free(bev);
    event_base_free(base);
    say("descriptor is left open: %d", fd_is_open(fd[0]));
    close(fd[0]);
    close(fd[1]);
}
