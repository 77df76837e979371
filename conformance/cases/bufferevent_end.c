/* The end of the stream, and errors. */
#include "bufferevent.h"

static void show_state(struct end *end) {
    token("enabled=%d", bufferevent_get_enabled(end->bev));
    token("in=%zu", in_length(end->bev));
    token("out=%zu", out_length(end->bev));
}

static void show_error(struct end *end) {
    int error = EVUTIL_SOCKET_ERROR();
    show_state(end);
    token("%s", error == ECONNRESET ? "ECONNRESET" : error == EPIPE ? "EPIPE" : "another error");
}

CASE(bytes_and_then_the_end) /* 33 */
{
    struct scene s;
    open_scene(&s, 0);
    s.a.on_event = show_state;
    send_letters(s.peer, 10);
    CHECK(shutdown(s.peer, SHUT_WR) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(the_end_is_reported_once) /* 33 */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("idle");
    settle(s.base);
    close_peer(&s);
    step("closed");
    settle(s.base);
    run_for(s.base, 20);
    close_scene(&s);
}

CASE(writing_works_after_the_end_of_reading) /* 33 */
{
    struct scene s;
    char got[64];
    open_scene(&s, 0);
    CHECK(shutdown(s.peer, SHUT_WR) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("end");
    settle(s.base);
    write_letters(s.a.bev, 40);
    step("write");
    settle(s.base);
    say("peer has %zu", recv_now(s.peer, got, sizeof got, NULL));
    close_scene(&s);
}

CASE(the_end_below_the_low_mark) /* 34 */
{
    struct scene s;
    open_scene(&s, 0);
    s.a.on_event = show_state;
    bufferevent_setwatermark(s.a.bev, EV_READ, 100, 0);
    send_letters(s.peer, 10);
    CHECK(shutdown(s.peer, SHUT_WR) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(enabling_again_reports_the_end_again) /* 35 */
{
    struct scene s;
    open_scene(&s, 0);
    close_peer(&s);
    for (int i = 0; i < 3; i++) {
        CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
        step("enabled");
        settle(s.base);
        say("enabled %d", bufferevent_get_enabled(s.a.bev));
    }
    close_scene(&s);
}

static void enable_again(struct end *end) {
    if (end->events < 3)
        CHECK(bufferevent_enable(end->bev, EV_READ) == 0);
}

CASE(enabling_inside_the_event_callback_reports_the_end_again) /* 35 */
{
    struct scene s;
    open_scene(&s, 0);
    s.a.on_event = enable_again;
    close_peer(&s);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    settle(s.base);
    close_scene(&s);
}

CASE(reset_by_the_peer) /* 36 */
{
    struct event_base *base = new_base();
    struct end a;
    int fd[2];
    tcp_pair(fd);
    watch_new(&a, "", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    a.on_event = show_error;
    CHECK(bufferevent_enable(a.bev, EV_READ) == 0);
    settle(base);
    close_with_reset(fd[1]);
    step("reset");
    run_until_count(base, &a.events, 1);
    settle(base);
    bufferevent_free(a.bev);
    event_base_free(base);
}

CASE(writing_to_a_closed_peer) /* 37 */
{
    struct scene s;
    open_scene(&s, 0);
    s.a.on_event = show_error;
    close_peer(&s);
    write_letters(s.a.bev, 10);
    step("loop");
    settle(s.base);
    say("enabled %d, held %zu", bufferevent_get_enabled(s.a.bev), out_length(s.a.bev));
    close_scene(&s);
}

CASE(writing_again_after_a_write_error) /* 37 */
{
    struct scene s;
    open_scene(&s, 0);
    close_peer(&s);
    write_letters(s.a.bev, 10);
    step("first");
    settle(s.base);
    write_letters(s.a.bev, 10);
    step("off");
    settle(s.base);
    CHECK(bufferevent_enable(s.a.bev, EV_WRITE) == 0);
    step("enabled again");
    settle(s.base);
    say("held %zu", out_length(s.a.bev));
    close_scene(&s);
}

CASE(sigpipe_is_left_to_the_program) /* 37 */
{
    struct scene s;
    struct sigaction action;
    open_scene(&s, 0);
    write_letters(s.a.bev, 1);
    settle(s.base);
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0);
    say("still ignored %d", action.sa_handler == SIG_IGN);
    signal(SIGPIPE, SIG_DFL);
    write_letters(s.a.bev, 1);
    settle(s.base);
    CHECK(sigaction(SIGPIPE, NULL, &action) == 0);
    say("still default %d", action.sa_handler == SIG_DFL);
    sigset_t blocked;
    CHECK(sigprocmask(SIG_BLOCK, NULL, &blocked) == 0);
    say("blocked %d", sigismember(&blocked, SIGPIPE));
    close_scene(&s);
}

CASE(no_event_callback_at_the_end) {
    struct scene s;
    open_scene(&s, 0);
    bufferevent_setcb(s.a.bev, on_read, on_write, NULL, &s.a);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    send_letters(s.peer, 3);
    close_peer(&s);
    step("loop");
    settle(s.base);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    write_letters(s.a.bev, 3);
    settle(s.base);
    say("enabled %d, held %zu", bufferevent_get_enabled(s.a.bev), out_length(s.a.bev));
    close_scene(&s);
}

static void free_it(struct end *end) {
    bufferevent_free(end->bev);
    end->bev = NULL;
}

CASE(input_can_be_taken_in_the_event_callback) /* 34 */
{
    struct scene s;
    open_scene(&s, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    bufferevent_setwatermark(s.a.bev, EV_READ, 64, 0);
    send_letters(s.peer, 26);
    close_peer(&s);
    settle(s.base);
    char got[64];
    size_t n = bufferevent_read(s.a.bev, got, sizeof got);
    say("%.*s", (int)n, got);
    free_it(&s.a);
    close_scene(&s);
}

CASE(unread_bytes_make_the_close_a_reset) {
    struct scene s;
    open_scene(&s, 0);
    s.a.on_event = show_error;
    write_letters(s.a.bev, 10);
    step("sent");
    settle(s.base);
    close_peer(&s); /* with the ten bytes unread */
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("closed");
    settle(s.base);
    close_scene(&s);
}

CASE(a_descriptor_that_is_no_socket_reports_the_error) {
    struct event_base *base = new_base();
    struct end a;
    int fd[2];
    CHECK(pipe(fd) == 0);
    set_nonblocking(fd[0]);
    /* The read end of a pipe cannot be written to. */
    watch_new(&a, "", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    CHECK(bufferevent_enable(a.bev, EV_READ) == 0);
    CHECK(write(fd[1], "hello", 5) == 5);
    step("read");
    settle(base);
    close(fd[1]);
    step("end");
    settle(base);
    say("enabled %d", bufferevent_get_enabled(a.bev));
    bufferevent_free(a.bev);
    event_base_free(base);
}

CASE(writing_to_a_bufferevent_that_was_freed_before) /* 37 */
{
    int fd[2];
    struct end one, two;
    struct event_base *base = new_base();
    unix_pair(fd);
    watch_new(&one, "a.", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    watch_new(&two, "b.", base, fd[1], BEV_OPT_CLOSE_ON_FREE);
    bufferevent_free(two.bev);
    write_letters(one.bev, 10);
    step("loop");
    settle(base);
    say("enabled %d, held %zu", bufferevent_get_enabled(one.bev), out_length(one.bev));
    bufferevent_free(one.bev);
    event_base_free(base);
}
