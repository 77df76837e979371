/* TLS: the handshake, and what a new TLS bufferevent is like. */
#include "tls.h"

static void show_state(struct end *end) {
    token("enabled=%d", bufferevent_get_enabled(end->bev));
}

static void both_sides(void (*open)(struct tls_duo *, int), int options) {
    struct tls_duo duo;
    open(&duo, options);
    duo.c.on_event = duo.s.on_event = show_state;
    step("loop");
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    settle(duo.base);
    close_duo(&duo);
}

CASE(tls_handshake_on_sockets) /* 78: without enabling anything */
{
    both_sides(open_duo, 0);
}

CASE(tls_handshake_with_deferred_callbacks) /* 78 */
{
    both_sides(open_duo, BEV_OPT_DEFER_CALLBACKS);
}

CASE_DIFFERS(tls_handshake_over_a_pair, "78", "libevent waits until reading is enabled") {
    both_sides(open_duo_over_pair, 0);
}

CASE(tls_handshake_over_a_pair_that_reads) /* 78 */
{
    struct tls_duo duo;
    open_duo_over_pair(&duo, 0);
    CHECK(bufferevent_enable(duo.c.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    step("loop");
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    settle(duo.base);
    close_duo(&duo);
}

CASE(tls_handshake_over_socket_bufferevents) /* 78 */
{
    both_sides(open_duo_over_sockets, 0);
}

CASE(tls_handshake_as_the_server) /* 78 */
{
    struct tls_scene s;
    open_tls(&s, true, 0);
    step("before");
    settle(s.base);
    step("handshake");
    shake_hands(&s);
    settle(s.base);
    close_tls(&s);
}

CASE(tls_handshake_as_the_client) /* 78 */
{
    struct tls_scene s;
    open_tls(&s, false, 0);
    step("before");
    settle(s.base);
    step("handshake");
    shake_hands(&s);
    settle(s.base);
    close_tls(&s);
}

static void use_tls_1_2(SSL *ssl) {
    CHECK(SSL_set_max_proto_version(ssl, TLS1_2_VERSION) == 1);
}

CASE(tls_handshake_of_version_1_2) /* 78 */
{
    struct tls_duo duo;
    open_duo(&duo, 0);
    use_tls_1_2(bufferevent_openssl_get_ssl(duo.c.bev));
    step("loop");
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    say("version %s", SSL_get_version(bufferevent_openssl_get_ssl(duo.s.bev)));
    close_duo(&duo);
}

CASE(tls_handshake_does_not_begin_in_the_constructor) /* 78 */
{
    struct tls_scene s;
    open_tls(&s, false, 0);
    char hello[4096];
    say("sent before the loop %d", recv_now(s.peer_fd, hello, sizeof hello, NULL) > 0);
    close_tls(&s);
}

CASE(tls_write_before_the_handshake) /* 78 */
{
    struct tls_duo duo;
    open_duo(&duo, 0);
    duo.s.drain = true;
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    write_letters(duo.c.bev, 300);
    say("output %zu", out_length(duo.c.bev));
    trace_merge(true);
    step("client");
    duo.s.quiet = true;
    run_until_bytes(duo.base, &duo.s.received, 300);
    settle(duo.base);
    say("received %zu", duo.s.received);
    close_duo(&duo);
}

static void disabled_handshake(short what) {
    struct tls_duo duo;
    open_duo(&duo, 0);
    CHECK(bufferevent_disable(duo.c.bev, what) == 0);
    step("disabled");
    settle(duo.base);
    run_for(duo.base, 30);
    CHECK(bufferevent_enable(duo.c.bev, what) == 0);
    step("enabled");
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    close_duo(&duo);
}

CASE(tls_handshake_does_not_need_reading) /* 78 */
{
    disabled_handshake(EV_READ);
}

CASE(tls_handshake_waits_for_writing) /* 78 */
{
    disabled_handshake(EV_WRITE);
}

CASE(tls_handshake_waits_while_both_are_disabled) /* 78 */
{
    disabled_handshake(EV_READ | EV_WRITE);
}

CASE(tls_new_socket_bufferevent) /* 1, 22, 30 */
{
    struct event_base *base = new_base();
    struct tls_duo duo = {.base = base};
    int fd[2];
    unix_pair(fd);
    SSL *ssl = tls_session(false);
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, fd[0], ssl, BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bev);
    size_t low = 9, high = 9;
    say("enabled %d", bufferevent_get_enabled(bev));
    say("ssl %d", bufferevent_openssl_get_ssl(bev) == ssl);
    say("descriptor %d, of the ssl %d", bufferevent_getfd(bev) == fd[0], SSL_get_fd(ssl) == fd[0]);
    say("underlying %d", bufferevent_get_underlying(bev) != NULL);
    say("base %d", bufferevent_get_base(bev) == base);
    say("priority %d", bufferevent_get_priority(bev));
    say("set priority %d", bufferevent_priority_set(bev, 0));
    say("watermark %d", bufferevent_getwatermark(bev, EV_READ, &low, &high));
    say("marks %zu %zu", low, high);
    say("dirty %d", bufferevent_openssl_get_allow_dirty_shutdown(bev));
    say("single %zd %zd", bufferevent_get_max_single_read(bev),
        bufferevent_get_max_single_write(bev));
    say("drain output %d", evbuffer_drain(bufferevent_get_output(bev), 1));
    say("add input %d", evbuffer_add(bufferevent_get_input(bev), "x", 1));
    say("error %lu", bufferevent_get_openssl_error(bev));
    bufferevent_free(bev);
    duo.c.bev = duo.s.bev = NULL;
    close(fd[1]);
    close_duo(&duo);
}

CASE(tls_new_filter) /* 1, 73 */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct bufferevent *below = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    SSL *ssl = tls_session(true);
    struct bufferevent *bev = bufferevent_openssl_filter_new(
        base, below, ssl, BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bev);
    say("enabled %d, below %d", bufferevent_get_enabled(bev), bufferevent_get_enabled(below));
    say("ssl %d", bufferevent_openssl_get_ssl(bev) == ssl);
    say("descriptor %d, of the ssl %d", bufferevent_getfd(bev) == fd[0], SSL_get_fd(ssl));
    say("underlying %d", bufferevent_get_underlying(bev) == below);
    say("priority %d", bufferevent_priority_set(bev, 0));
    /* It stays that of the one below. */
    int result = bufferevent_setfd(bev, -1);
    say("setfd %d, descriptor %d, below %d", result, bufferevent_getfd(bev) == fd[0],
        bufferevent_getfd(below) == fd[0]);
    bufferevent_free(bev);
    close(fd[1]);
    pass(base);
    event_base_free(base);
}

CASE(tls_functions_on_what_is_not_tls) /* 12 */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct bufferevent *bev = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    CHECK(bev);
    say("ssl %d", bufferevent_openssl_get_ssl(bev) != NULL);
    say("dirty %d", bufferevent_openssl_get_allow_dirty_shutdown(bev));
    bufferevent_openssl_set_allow_dirty_shutdown(bev, 1);
    say("dirty %d", bufferevent_openssl_get_allow_dirty_shutdown(bev));
    say("renegotiate %d", bufferevent_ssl_renegotiate(bev));
    say("error %lu", bufferevent_get_openssl_error(bev));
    bufferevent_free(bev);
    close(fd[1]);
    pass(base);
    event_base_free(base);
}

static struct bufferevent *with_options(struct event_base *base, int fd, SSL *ssl, int options) {
    return bufferevent_openssl_socket_new(base, fd, ssl, BUFFEREVENT_SSL_CONNECTING, options);
}

CASE(tls_threadsafe_without_threads) /* 11: unlike a plain socket */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct bufferevent *bev =
        with_options(base, fd[0], tls_session(false), BEV_OPT_THREADSAFE | BEV_OPT_CLOSE_ON_FREE);
    say("made %d", bev != NULL);
    bufferevent_free(bev);
    close(fd[1]);
    pass(base);
    event_base_free(base);
}

CASE_DIFFERS(tls_unlocked_callbacks_must_be_deferred, "memory safety", "libevent crashes") /* 11 */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    SSL *ssl = tls_session(false);
    say("made %d", with_options(base, fd[0], ssl, BEV_OPT_UNLOCK_CALLBACKS) != NULL);
    /* The session and the socket still are the caller's. */
    SSL_free(ssl);
    say("open %d", fd_is_open(fd[0]));
    close(fd[0]);
    close(fd[1]);
    event_base_free(base);
}

CASE_DIFFERS(tls_without_a_session, "memory safety", "libevent crashes") {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    say("made %d", with_options(base, fd[0], NULL, 0) != NULL);
    close(fd[0]);
    close(fd[1]);
    event_base_free(base);
}

CASE(tls_filter_over_nothing) {
    struct event_base *base = new_base();
    SSL *ssl = tls_session(false);
    say("made %d", bufferevent_openssl_filter_new(base, NULL, ssl, BUFFEREVENT_SSL_CONNECTING, 0) != NULL);
    SSL_free(ssl);
    event_base_free(base);
}

CASE(tls_descriptor_of_the_session) /* the SSL object may bring it along */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    SSL *ssl = tls_session(false);
    CHECK(SSL_set_fd(ssl, fd[0]) == 1);
    say("another one %d", with_options(base, fd[1], ssl, 0) != NULL);
    struct bufferevent *bev = with_options(base, -1, ssl, BEV_OPT_CLOSE_ON_FREE);
    say("made %d", bev != NULL);
    say("descriptor %d", bufferevent_getfd(bev) == fd[0]);
    bufferevent_free(bev);
    close(fd[1]);
    pass(base);
    event_base_free(base);
}

CASE(tls_open_state) /* a session whose handshake is over already */
{
    struct tls_scene s;
    int fd[2];
    char byte[8];
    s.base = new_base();
    unix_pair(fd);
    SSL *ours = tls_session(true);
    s.peer = tls_session(false);
    s.peer_fd = fd[1];
    CHECK(SSL_set_fd(ours, fd[0]) == 1 && SSL_set_fd(s.peer, fd[1]) == 1);
    SSL_set_accept_state(ours);
    SSL_set_connect_state(s.peer);
    int done[2] = {0, 0};
    for (int i = 0; i < 20 && (done[0] != 1 || done[1] != 1); i++) {
        done[1] = SSL_do_handshake(s.peer);
        done[0] = SSL_do_handshake(ours);
    }
    CHECK(done[0] == 1 && done[1] == 1);
    CHECK(SSL_read(s.peer, byte, sizeof byte) < 0);
    ERR_clear_error();
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        s.base, fd[0], ours, BUFFEREVENT_SSL_OPEN, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bev);
    watch(&s.a, "", bev);
    step("idle");
    settle(s.base);
    CHECK(bufferevent_enable(bev, EV_READ) == 0);
    peer_send(&s, 20);
    step("read");
    settle(s.base);
    write_letters(bev, 30);
    step("write");
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    close_tls(&s);
}

CASE(tls_in_tls) /* a filter over a TLS bufferevent */
{
    struct tls_duo outer, inner;
    open_duo(&outer, 0);
    inner.base = outer.base;
    watch_duo(&inner, tls_over(outer.base, outer.c.bev, false, 0),
              tls_over(outer.base, outer.s.bev, true, 0));
    inner.c.drain = inner.s.drain = true;
    inner.c.quiet = inner.s.quiet = true;
    CHECK(bufferevent_enable(inner.c.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(inner.s.bev, EV_READ) == 0);
    write_letters(inner.c.bev, 100000);
    write_letters(inner.s.bev, 50000);
    run_until_bytes(inner.base, &inner.s.received, 100000);
    run_until_bytes(inner.base, &inner.c.received, 50000);
    say("events %u %u, flags %02x %02x", inner.c.events, inner.s.events, inner.c.flags,
        inner.s.flags);
    close_duo(&inner);
}

CASE(tls_handshake_that_the_peer_refuses) /* 79 */
{
    struct tls_duo duo;
    open_duo(&duo, 0);
    /* No version in common. */
    CHECK(SSL_set_max_proto_version(bufferevent_openssl_get_ssl(duo.c.bev), TLS1_2_VERSION) == 1);
    CHECK(SSL_set_min_proto_version(bufferevent_openssl_get_ssl(duo.s.bev), TLS1_3_VERSION) == 1);
    duo.c.on_event = duo.s.on_event = show_state;
    step("loop");
    run_until_count(duo.base, &duo.s.events, 1);
    run_until_count(duo.base, &duo.c.events, 1);
    settle(duo.base);
    unsigned long error = bufferevent_get_openssl_error(duo.c.bev);
    say("client's error %s", ERR_reason_error_string(error));
    error = bufferevent_get_openssl_error(duo.s.bev);
    say("server's error %s", ERR_reason_error_string(error));
    close_duo(&duo);
}

CASE(tls_certificate_that_the_client_refuses) /* 79 */
{
    struct tls_duo duo;
    open_duo(&duo, 0);
    SSL_set_verify(bufferevent_openssl_get_ssl(duo.c.bev), SSL_VERIFY_PEER, NULL);
    step("loop");
    run_until_count(duo.base, &duo.c.events, 1);
    duo.s.quiet = true;
    unsigned long error = bufferevent_get_openssl_error(duo.c.bev);
    say("client's error %s", ERR_reason_error_string(error));
    close_duo(&duo);
}
