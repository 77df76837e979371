/* TLS: the calls of our own header, event2/ferrevent.h. libevent has nothing to compare them with. */
#include <dlfcn.h>

#include "../../crates/capi/include/event2/ferrevent.h"
#include "tls.h"

/* Found at run time: the program is linked to libevent. */
#define FIND(name) __typeof__(name) *name##_ = (__typeof__(name) *)dlsym(RTLD_DEFAULT, #name)

#define OURS "a function that libevent does not have"

/* Has the peer take what comes, until TLS says that this was the end. */
static size_t take_until_end(struct tls_scene *scene) {
    size_t total = 0;
    for (int i = 0; i < 20000 && SSL_get_shutdown(scene->peer) == 0; i++) {
        pass(scene->base);
        total += peer_receive(scene);
    }
    return total;
}

/* Whether the socket has come to its end too. */
static bool socket_at_end(int fd) {
    char data[16];
    bool eof = false;
    recv_now(fd, data, sizeof data, &eof);
    return eof;
}

static void end_one_direction(bool server, bool early) {
    struct tls_scene s;
    FIND(ferrevent_bufferevent_finish);
    open_tls(&s, server, 0);
    if (!early) {
        shake_hands(&s);
        settle(s.base);
    }
    trace_merge(true);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    write_letters(s.a.bev, 1000000);
    step("finish");
    int first = ferrevent_bufferevent_finish_(s.a.bev, NULL);
    token("%d", first);
    token("%d", ferrevent_bufferevent_finish_(s.a.bev, NULL));
    if (early)
        shake_hands(&s);
    size_t got = take_until_end(&s);
    settle(s.base);
    say("peer has %zu, end %d, of the socket %d, enabled %d", got,
        SSL_get_shutdown(s.peer) == SSL_RECEIVED_SHUTDOWN, socket_at_end(s.peer_fd),
        bufferevent_get_enabled(s.a.bev));
    peer_send(&s, 5);
    step("reading goes on");
    settle(s.base);
    peer_close(&s, true);
    step("and ends");
    settle(s.base);
    close_tls(&s);
}

CASE_DIFFERS(tls_end_of_one_direction, "own", OURS) {
    end_one_direction(true, false);
}

CASE_DIFFERS(tls_end_asked_for_before_the_handshake, "own", OURS) {
    end_one_direction(false, true);
}

/* One end of a duo finishes, the other one answers. */
static void end_of_a_duo(struct tls_duo *duo) {
    FIND(ferrevent_bufferevent_finish);
    trace_merge(true);
    CHECK(bufferevent_enable(duo->c.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(duo->s.bev, EV_READ) == 0);
    duo->s.drain = duo->c.drain = true;
    run_until_count(duo->base, &duo->c.events, 1);
    run_until_count(duo->base, &duo->s.events, 1);
    /* In which order the two sides hear of it is nobody's concern. */
    duo->c.quiet = duo->s.quiet = true;
    write_letters(duo->c.bev, 300000);
    struct bufferevent *below = bufferevent_get_underlying(duo->c.bev);
    if (below)
        say("below %d", ferrevent_bufferevent_finish_(below, NULL));
    say("finish %d", ferrevent_bufferevent_finish_(duo->c.bev, NULL));
    run_until_count(duo->base, &duo->c.events, 2);
    run_until_count(duo->base, &duo->s.events, 2);
    say("s has %zu and %02x, c hears %02x, enabled %d", duo->s.received, duo->s.flags, duo->c.flags,
        bufferevent_get_enabled(duo->c.bev));
    write_letters(duo->s.bev, 200000);
    say("finish %d", ferrevent_bufferevent_finish_(duo->s.bev, NULL));
    run_until_count(duo->base, &duo->c.events, 3);
    run_until_count(duo->base, &duo->s.events, 3);
    say("c has %zu and %02x, s hears %02x", duo->c.received, duo->c.flags, duo->s.flags);
    settle(duo->base);
    say("no more %u and %u", duo->c.events, duo->s.events);
    close_duo(duo);
}

CASE_DIFFERS(tls_end_of_two_sockets, "own", OURS) {
    struct tls_duo duo;
    open_duo(&duo, 0);
    end_of_a_duo(&duo);
}

CASE_DIFFERS(tls_end_over_sockets, "own", OURS) {
    struct tls_duo duo;
    open_duo_over_sockets(&duo, 0);
    end_of_a_duo(&duo);
}

CASE_DIFFERS(tls_end_over_a_pair, "own", OURS) {
    struct tls_duo duo;
    open_duo_over_pair(&duo, 0);
    end_of_a_duo(&duo);
}

static void put_tls_over(struct tls_duo *duo) {
    watch_duo(duo, tls_over(duo->base, duo->c.bev, false, 0),
              tls_over(duo->base, duo->s.bev, true, 0));
}

CASE_DIFFERS(tls_end_of_tls_in_tls, "own", OURS) {
    struct tls_duo duo;
    open_duo(&duo, 0);
    put_tls_over(&duo);
    end_of_a_duo(&duo);
}

static enum bufferevent_filter_result flip(struct evbuffer *src, struct evbuffer *dst,
                                           ev_ssize_t limit, enum bufferevent_flush_mode mode,
                                           void *arg) {
    char data[3000];
    (void)mode;
    (void)arg;
    size_t most = limit < 0 || (size_t)limit > sizeof data ? sizeof data : (size_t)limit;
    int n = evbuffer_remove(src, data, most);
    if (n <= 0)
        return BEV_NEED_MORE;
    for (int i = 0; i < n; i++)
        data[i] = (char)~data[i];
    evbuffer_add(dst, data, (size_t)n);
    return BEV_OK;
}

static struct bufferevent *flipped(struct bufferevent *bev) {
    struct bufferevent *filter =
        bufferevent_filter_new(bev, flip, flip, BEV_OPT_CLOSE_ON_FREE, NULL, NULL);
    CHECK(filter);
    return filter;
}

CASE_DIFFERS(tls_end_under_a_filter, "own", OURS) {
    struct tls_duo duo;
    open_duo(&duo, 0);
    watch_duo(&duo, flipped(duo.c.bev), flipped(duo.s.bev));
    end_of_a_duo(&duo);
}

CASE_DIFFERS(tls_end_over_a_filter, "own", OURS) {
    struct tls_duo duo;
    struct bufferevent *pair[2];
    duo.base = new_base();
    CHECK(bufferevent_pair_new(duo.base, 0, pair) == 0);
    watch_duo(&duo, tls_over(duo.base, flipped(pair[0]), false, 0),
              tls_over(duo.base, flipped(pair[1]), true, 0));
    end_of_a_duo(&duo);
}

/* ---- Freed when drained ---- */

static int sessions_freed;

static void count_free(void *parent, void *data, CRYPTO_EX_DATA *all, int index, long number,
                       void *pointer) {
    (void)parent;
    (void)all;
    (void)index;
    (void)number;
    (void)pointer;
    if (data)
        sessions_freed++;
}

static void count_frees_of(struct bufferevent *bev) {
    static int index = -1;
    if (index < 0)
        index = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, NULL, NULL, count_free);
    CHECK(SSL_set_ex_data(bufferevent_openssl_get_ssl(bev), index, &sessions_freed) == 1);
    sessions_freed = 0;
}

CASE_DIFFERS(tls_freed_when_drained, "own", OURS) {
    struct tls_scene s;
    FIND(ferrevent_bufferevent_free_when_drained);
    open_tls(&s, true, 0);
    int fd = bufferevent_getfd(s.a.bev);
    count_frees_of(s.a.bev);
    write_letters(s.a.bev, 1000000);
    s.a.quiet = true;
    say("%d", ferrevent_bufferevent_free_when_drained_(s.a.bev, NULL));
    s.a.bev = NULL;
    shake_hands(&s);
    size_t got = take_until_end(&s);
    settle(s.base);
    say("peer has %zu, end %d", got, SSL_get_shutdown(s.peer) == SSL_RECEIVED_SHUTDOWN);
    say("open %d, session freed %d, callbacks %u", fd_is_open(fd), sessions_freed, s.a.events);
    close_tls(&s);
}

CASE_DIFFERS(tls_freed_when_drained_with_what_is_below, "own", OURS) {
    struct tls_duo duo;
    FIND(ferrevent_bufferevent_free_when_drained);
    open_duo_over_sockets(&duo, 0);
    put_tls_over(&duo);
    duo.c.quiet = duo.s.quiet = true;
    duo.s.drain = true;
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    int fd = bufferevent_getfd(duo.c.bev);
    count_frees_of(duo.c.bev);
    write_letters(duo.c.bev, 1000000);
    say("%d", ferrevent_bufferevent_free_when_drained_(duo.c.bev, NULL));
    duo.c.bev = NULL;
    run_until_count(duo.base, &duo.s.events, 2);
    settle(duo.base);
    say("s has %zu and %02x", duo.s.received, duo.s.flags);
    say("open %d, session freed %d, callbacks %u", fd_is_open(fd), sessions_freed, duo.c.events);
    close_duo(&duo);
}

CASE_DIFFERS(tls_not_freed_when_the_session_is_the_programs, "own", OURS) {
    int fd[2];
    FIND(ferrevent_bufferevent_free_when_drained);
    struct event_base *base = new_base();
    unix_pair(fd);
    SSL *ssl = tls_session(true);
    struct bufferevent *bev =
        bufferevent_openssl_socket_new(base, fd[0], ssl, BUFFEREVENT_SSL_ACCEPTING, 0);
    say("%d", ferrevent_bufferevent_free_when_drained_(bev, NULL));
    say("still there %d", bufferevent_get_enabled(bev));
    bufferevent_free(bev);
    SSL_free(ssl);
    pass(base);
    close(fd[0]);
    close(fd[1]);
    event_base_free(base);
}

/* ---- Ends that do not come ---- */

CASE_DIFFERS(tls_patience_of_an_end, "own", OURS) {
    struct tls_scene s;
    struct timeval soon = milliseconds(30);
    FIND(ferrevent_bufferevent_finish);
    FIND(ferrevent_bufferevent_free_when_drained);
    open_tls_connected(&s, true, 0);
    int fd = bufferevent_getfd(s.a.bev);
    write_letters(s.a.bev, 8000000);
    step("finish");
    token("%d", ferrevent_bufferevent_finish_(s.a.bev, &soon));
    run_until_count(s.base, &s.a.events, 2);
    say("enabled %d", bufferevent_get_enabled(s.a.bev));
    CHECK(bufferevent_enable(s.a.bev, EV_WRITE) == 0);
    s.a.quiet = true;
    say("%d", ferrevent_bufferevent_free_when_drained_(s.a.bev, &soon));
    s.a.bev = NULL;
    say("loop %d", event_base_dispatch(s.base));
    say("open %d", fd_is_open(fd));
    close_tls(&s);
}

CASE_DIFFERS(tls_patience_of_a_handshake, "own", OURS) {
    struct tls_scene s;
    struct timeval soon = milliseconds(30);
    FIND(ferrevent_bufferevent_finish);
    open_tls(&s, true, 0);
    step("finish");
    token("%d", ferrevent_bufferevent_finish_(s.a.bev, &soon));
    run_until_count(s.base, &s.a.events, 1);
    close_tls(&s);
}

CASE_DIFFERS(tls_end_of_a_failed_handshake, "own", OURS) {
    struct tls_scene s;
    FIND(ferrevent_bufferevent_finish);
    FIND(ferrevent_bufferevent_free_when_drained);
    open_tls(&s, true, 0);
    int fd = bufferevent_getfd(s.a.bev);
    step("finish");
    token("%d", ferrevent_bufferevent_finish_(s.a.bev, NULL));
    send_all(s.peer_fd, "GET / HTTP/1.0\r\n\r\n", 18);
    settle(s.base);
    say("again %d", ferrevent_bufferevent_finish_(s.a.bev, NULL));
    say("free %d", ferrevent_bufferevent_free_when_drained_(s.a.bev, NULL));
    s.a.bev = NULL;
    settle(s.base);
    say("open %d", fd_is_open(fd));
    close_tls(&s);
}

CASE_DIFFERS(tls_end_that_fails_below, "own", OURS) {
    struct tls_duo duo;
    FIND(ferrevent_bufferevent_finish);
    open_duo_over_sockets(&duo, 0);
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    /* Encrypted at once, it waits below: this one has nothing to do with the socket any more. */
    write_letters(duo.c.bev, 8000000);
    trace_merge(true);
    step("finish");
    token("%d", ferrevent_bufferevent_finish_(duo.c.bev, NULL));
    settle(duo.base);
    step("the peer goes away");
    bufferevent_free(duo.s.bev);
    duo.s.bev = NULL;
    run_until_count(duo.base, &duo.c.events, 2);
    say("enabled %d", bufferevent_get_enabled(duo.c.bev));
    close_duo(&duo);
}

/* ---- In OpenSSL's own callbacks ---- */

static struct bufferevent *finishes;

static void finish_inside(const SSL *ssl, int where, int result) {
    (void)ssl;
    (void)result;
    FIND(ferrevent_bufferevent_finish);
    if (where == SSL_CB_HANDSHAKE_DONE && finishes) {
        token("%d", ferrevent_bufferevent_finish_(finishes, NULL));
        finishes = NULL;
    }
}

CASE_DIFFERS(tls_end_asked_for_inside_openssl, "own", OURS) {
    struct tls_scene s;
    open_tls(&s, true, 0);
    finishes = s.a.bev;
    SSL_set_info_callback(bufferevent_openssl_get_ssl(s.a.bev), finish_inside);
    step("handshake");
    shake_hands(&s);
    size_t got = take_until_end(&s);
    settle(s.base);
    say("peer has %zu, end %d", got, SSL_get_shutdown(s.peer) == SSL_RECEIVED_SHUTDOWN);
    close_tls(&s);
}

static struct end *answers;

static void finish_while_reading(const SSL *ssl, int where, int result) {
    (void)result;
    FIND(ferrevent_bufferevent_finish);
    /* Of the end that the peer has announced: OpenSSL is reading. */
    if (where == SSL_CB_READ_ALERT && answers) {
        token("%d", ferrevent_bufferevent_finish_(answers->bev, NULL));
        token("told already %d", (SSL_get_shutdown(ssl) & SSL_SENT_SHUTDOWN) != 0);
        answers = NULL;
    }
}

CASE_DIFFERS(tls_end_asked_for_while_openssl_reads, "own", OURS) {
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    answers = &s.a;
    SSL_set_info_callback(bufferevent_openssl_get_ssl(s.a.bev), finish_while_reading);
    SSL_shutdown(s.peer);
    step("end");
    run_until_count(s.base, &s.a.events, 3);
    peer_receive(&s);
    say("end %d", (SSL_get_shutdown(s.peer) & SSL_RECEIVED_SHUTDOWN) != 0);
    close_tls(&s);
}

/* ---- A proxy ---- */

CASE_DIFFERS(tls_pipe_between_two_connections, "own", OURS) {
    struct tls_duo front, back;
    size_t most = 0;
    FIND(ferrevent_bufferevent_finish);
    FIND(ferrevent_bufferevent_pipe);
    open_duo(&front, 0);
    int fd[2];
    unix_pair(fd);
    back.base = front.base;
    watch_duo(&back,
              bufferevent_openssl_socket_new(back.base, fd[0], tls_session(false),
                                             BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE),
              bufferevent_openssl_socket_new(back.base, fd[1], tls_session(true),
                                             BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE));
    struct end *ends[] = {&front.c, &front.s, &back.c, &back.s};
    for (int i = 0; i < 4; i++) {
        ends[i]->quiet = true;
        CHECK(bufferevent_enable(ends[i]->bev, EV_READ) == 0);
    }
    back.s.drain = front.c.drain = true;
    bufferevent_setwatermark(back.s.bev, EV_READ, 0, 10000);
    say("%d", ferrevent_bufferevent_pipe_(front.s.bev, back.c.bev, 65536));
    say("%d", ferrevent_bufferevent_pipe_(back.c.bev, front.s.bev, 65536));
    write_letters(front.c.bev, 2000000);
    say("%d", ferrevent_bufferevent_finish_(front.c.bev, NULL));
    for (int i = 0; i < 200000 && back.s.events < 2; i++) {
        pass(front.base);
        size_t held = in_length(front.s.bev) + out_length(back.c.bev);
        most = held > most ? held : most;
    }
    say("all %zu, the end %02x, at most twice the limit %d", back.s.received, back.s.flags,
        most < 131072);
    write_letters(back.s.bev, 1000);
    say("%d", ferrevent_bufferevent_finish_(back.s.bev, NULL));
    run_until_count(front.base, &front.c.events, 3);
    say("answer %zu, the end %02x", front.c.received, front.c.flags);
    run_until_count(front.base, &front.s.events, 3);
    run_until_count(front.base, &back.c.events, 3);
    bufferevent_free(back.c.bev);
    bufferevent_free(back.s.bev);
    close_duo(&front);
}
