/* TLS: the end of the stream, clean or not, and errors. */
#include "tls.h"

static void show_state(struct end *end) {
    token("enabled=%d", bufferevent_get_enabled(end->bev));
    token("in=%zu", in_length(end->bev));
}

static void show_errors(struct end *end) {
    unsigned long error;
    int count = 0;
    while (count++ < 5 && (error = bufferevent_get_openssl_error(end->bev)) != 0) {
        const char *reason = ERR_reason_error_string(error);
        token("[%s]", reason ? reason : "?");
    }
}

/* J67: after an end, reading is disabled, and it is told once. */
static void end_of_peer(bool server, bool clean, bool allow, bool data) {
    struct tls_scene s;
    open_tls_connected(&s, server, 0);
    bufferevent_openssl_set_allow_dirty_shutdown(s.a.bev, allow);
    s.a.on_event = show_state;
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    if (data)
        peer_send(&s, 10);
    peer_close(&s, clean);
    step("loop");
    settle(s.base);
    s.a.on_event = NULL;
    show_errors(&s.a);
    close_tls(&s);
}

CASE_DIFFERS(tls_clean_end, "J67", "the end disables reading, as on a plain socket") /* 78 */
{
    end_of_peer(false, true, false, false);
}

CASE_DIFFERS(tls_clean_end_after_data, "K78", "data first, and then the end, which disables reading")
{
    end_of_peer(true, true, false, true);
}

CASE_DIFFERS(tls_dirty_end, "J67", "an error disables reading, as on a plain socket") /* 78 */
{
    end_of_peer(false, false, false, false);
}

CASE_DIFFERS(tls_dirty_end_after_data, "J67", "an error disables reading, as on a plain socket") {
    end_of_peer(true, false, false, true);
}

CASE_DIFFERS(tls_dirty_end_that_is_allowed, "J79", "works with OpenSSL 3 too") /* 79 */
{
    end_of_peer(false, false, true, true);
}

CASE(tls_dirty_shutdown_can_be_asked) {
    struct tls_scene s;
    open_tls(&s, false, 0);
    say("%d", bufferevent_openssl_get_allow_dirty_shutdown(s.a.bev));
    bufferevent_openssl_set_allow_dirty_shutdown(s.a.bev, 5);
    say("%d", bufferevent_openssl_get_allow_dirty_shutdown(s.a.bev));
    bufferevent_openssl_set_allow_dirty_shutdown(s.a.bev, 0);
    say("%d", bufferevent_openssl_get_allow_dirty_shutdown(s.a.bev));
    close_tls(&s);
}

CASE(tls_clean_end_is_told_once) {
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    peer_close(&s, true);
    step("end");
    settle(s.base);
    step("idle");
    run_for(s.base, 20);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("enabled");
    settle(s.base);
    close_tls(&s);
}

CASE(tls_end_while_reading_is_disabled) {
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    peer_close(&s, true);
    step("disabled");
    settle(s.base);
    close_tls(&s);
}

CASE(tls_half_closed) /* after the peer's end, writing works */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    SSL_shutdown(s.peer);
    step("end");
    settle(s.base);
    write_letters(s.a.bev, 100);
    step("write");
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    close_tls(&s);
}

CASE(tls_bytes_that_are_not_tls) /* 79 */
{
    struct tls_scene s;
    open_tls(&s, true, 0);
    s.a.on_event = show_errors;
    send_all(s.peer_fd, "GET / HTTP/1.0\r\n\r\n", 18);
    step("loop");
    settle(s.base);
    run_for(s.base, 20);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_tls(&s);
}

CASE_DIFFERS(tls_garbage_after_the_handshake, "J67", "an error disables reading") /* 79 */
{
    struct tls_scene s;
    char garbage[64];
    open_tls_connected(&s, true, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    memset(garbage, 'x', sizeof garbage);
    send_all(s.peer_fd, garbage, sizeof garbage);
    step("loop");
    settle(s.base);
    show_errors(&s.a);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    close_tls(&s);
}

CASE(tls_peer_gone_in_the_handshake) /* 79 */
{
    struct tls_scene s;
    open_tls(&s, false, 0);
    s.a.on_event = show_errors;
    step("loop");
    settle(s.base);
    peer_close(&s, false);
    settle(s.base);
    run_for(s.base, 20);
    close_tls(&s);
}

CASE(tls_peer_gone_in_the_handshake_is_allowed) /* still no end */
{
    struct tls_scene s;
    open_tls(&s, true, 0);
    bufferevent_openssl_set_allow_dirty_shutdown(s.a.bev, 1);
    peer_close(&s, false);
    step("loop");
    settle(s.base);
    run_for(s.base, 20);
    close_tls(&s);
}

CASE(tls_reset_by_the_peer) /* 36 */
{
    struct tls_scene s;
    int fd[2];
    s.base = new_base();
    tcp_pair(fd);
    watch(&s.a, "",
          bufferevent_openssl_socket_new(s.base, fd[0], tls_session(true),
                                         BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE));
    s.peer = tls_session(false);
    s.peer_fd = fd[1];
    CHECK(SSL_set_fd(s.peer, fd[1]) == 1);
    SSL_set_connect_state(s.peer);
    for (int i = 0, done = 0; done != 1; i++) {
        CHECK(i < 100000);
        pass(s.base);
        done = SSL_do_handshake(s.peer);
    }
    run_until_count(s.base, &s.a.events, 1);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    close_with_reset(fd[1]);
    step("reset");
    run_until_count(s.base, &s.a.events, 2);
    settle(s.base);
    SSL_free(s.peer);
    s.peer = NULL;
    close_tls(&s);
}

CASE(tls_writing_to_a_closed_peer) /* 37 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    peer_close(&s, false);
    write_letters(s.a.bev, 100);
    step("loop");
    settle(s.base);
    say("left %zu", out_length(s.a.bev));
    close_tls(&s);
}

CASE(tls_no_errors_to_ask_for) {
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    say("%lu", bufferevent_get_openssl_error(s.a.bev));
    close_tls(&s);
}

CASE_DIFFERS(tls_end_of_the_lower_bufferevent, "J67", "told once") {
    struct tls_duo duo;
    open_duo_over_sockets(&duo, 0);
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    CHECK(shutdown(bufferevent_getfd(duo.c.bev), SHUT_WR) == 0);
    step("end");
    settle(duo.base);
    run_for(duo.base, 20);
    say("enabled %d", bufferevent_get_enabled(duo.s.bev));
    close_duo(&duo);
}

CASE_DIFFERS(tls_end_of_the_lower_bufferevent_is_allowed, "J67", "told once") {
    struct tls_duo duo;
    open_duo_over_sockets(&duo, 0);
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    bufferevent_openssl_set_allow_dirty_shutdown(duo.s.bev, 1);
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    write_letters(duo.c.bev, 30);
    settle(duo.base);
    CHECK(shutdown(bufferevent_getfd(duo.c.bev), SHUT_WR) == 0);
    step("end");
    settle(duo.base);
    close_duo(&duo);
}

/* ---- Timeouts ---- */

CASE_DIFFERS(tls_read_timeout, "J67", "told once, and reading is disabled") /* 67 */
{
    struct tls_scene s;
    struct timeval limit = milliseconds(20);
    open_tls_connected(&s, true, 0);
    CHECK(bufferevent_set_timeouts(s.a.bev, &limit, NULL) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    run_for(s.base, 110);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    peer_send(&s, 10);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("enabled again");
    settle(s.base);
    close_tls(&s);
}

CASE_DIFFERS(tls_write_timeout, "J67", "told once, and writing is disabled") /* 67 */
{
    struct tls_scene s;
    struct timeval limit = milliseconds(20);
    open_tls_connected(&s, true, 0);
    CHECK(bufferevent_set_timeouts(s.a.bev, NULL, &limit) == 0);
    step("nothing to write");
    run_for(s.base, 50);
    write_letters(s.a.bev, 8000000);
    step("no room");
    run_for(s.base, 110);
    say("enabled %d, left %d", bufferevent_get_enabled(s.a.bev), out_length(s.a.bev) > 0);
    close_tls(&s);
}

CASE_DIFFERS(tls_handshake_timeout, "J67", "told once, as of a connection attempt, which goes on")
/* 67: the limit is that of the direction that it waits for */
{
    struct tls_scene s;
    struct timeval limit = milliseconds(20);
    open_tls(&s, true, 0);
    CHECK(bufferevent_set_timeouts(s.a.bev, &limit, NULL) == 0);
    step("loop");
    run_for(s.base, 110);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    CHECK(bufferevent_set_timeouts(s.a.bev, NULL, NULL) == 0);
    step("goes on");
    shake_hands(&s);
    settle(s.base);
    close_tls(&s);
}

CASE(tls_timeout_of_the_lower_bufferevent) {
    struct tls_duo duo;
    struct timeval limit = milliseconds(10);
    open_duo_over_sockets(&duo, 0);
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    struct bufferevent *below = bufferevent_get_underlying(duo.c.bev);
    CHECK(bufferevent_set_timeouts(below, &limit, NULL) == 0);
    CHECK(bufferevent_enable(duo.c.bev, EV_READ) == 0);
    step("loop");
    run_for(duo.base, 50);
    say("enabled %d, below %d", bufferevent_get_enabled(duo.c.bev), bufferevent_get_enabled(below));
    close_duo(&duo);
}

CASE(tls_timeout_of_a_filter) {
    struct tls_duo duo;
    struct timeval limit = milliseconds(10);
    open_duo_over_sockets(&duo, 0);
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    CHECK(bufferevent_set_timeouts(duo.c.bev, &limit, &limit) == 0);
    CHECK(bufferevent_enable(duo.c.bev, EV_READ) == 0);
    step("loop");
    run_for(duo.base, 50);
    say("enabled %d", bufferevent_get_enabled(duo.c.bev));
    close_duo(&duo);
}

CASE(tls_timeouts_that_do_not_pass) {
    struct tls_scene s;
    struct timeval limit = milliseconds(5000);
    open_tls(&s, true, 0);
    CHECK(bufferevent_set_timeouts(s.a.bev, &limit, &limit) == 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    step("loop");
    shake_hands(&s);
    settle(s.base);
    peer_send(&s, 10);
    settle(s.base);
    close_tls(&s);
}
