/* TLS: freeing, who owns what, connecting, replacing descriptors, renegotiation. */
#include "tls.h"

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

/* One whose end is counted. */
static SSL *counted(bool server) {
    static int index = -1;
    if (index < 0)
        index = CRYPTO_get_ex_new_index(CRYPTO_EX_INDEX_SSL, 0, NULL, NULL, NULL, count_free);
    SSL *ssl = tls_session(server);
    CHECK(index >= 0 && SSL_set_ex_data(ssl, index, &sessions_freed) == 1);
    sessions_freed = 0;
    return ssl;
}

static void show(const char *when, int fd) {
    say("%s: session freed %d, descriptor open %d", when, sessions_freed, fd_is_open(fd));
}

CASE(tls_free_closes_in_the_loop) /* 31 */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, fd[0], counted(false), BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_free(bev);
    show("freed", fd[0]);
    pass(base);
    show("a pass later", fd[0]);
    close(fd[1]);
    event_base_free(base);
}

CASE(tls_free_closes_with_the_base) /* 31 */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, fd[0], counted(false), BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_free(bev);
    event_base_free(base);
    show("without the base", fd[0]);
    close(fd[1]);
}

CASE(tls_free_leaves_what_it_does_not_own) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    SSL *ssl = counted(false);
    struct bufferevent *bev =
        bufferevent_openssl_socket_new(base, fd[0], ssl, BUFFEREVENT_SSL_CONNECTING, 0);
    bufferevent_free(bev);
    pass(base);
    show("freed", fd[0]);
    say("descriptor of the session %d", SSL_get_fd(ssl) == fd[0]);
    SSL_free(ssl);
    close(fd[0]);
    close(fd[1]);
    event_base_free(base);
}

CASE(tls_session_works_on_after_its_bufferevent) {
    struct tls_scene s;
    char data[100];
    int fd[2];
    s.base = new_base();
    unix_pair(fd);
    SSL *ssl = counted(true);
    watch(&s.a, "",
          bufferevent_openssl_socket_new(s.base, fd[0], ssl, BUFFEREVENT_SSL_ACCEPTING, 0));
    s.peer = tls_session(false);
    s.peer_fd = fd[1];
    CHECK(SSL_set_fd(s.peer, fd[1]) == 1);
    SSL_set_connect_state(s.peer);
    step("handshake");
    shake_hands(&s);
    write_letters(s.a.bev, 50);
    settle(s.base);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    pass(s.base);
    say("peer %zu", peer_receive(&s));
    peer_send(&s, 30);
    say("read %d", SSL_read(ssl, data, sizeof data));
    say("written %d", SSL_write(ssl, data, 20));
    say("peer %zu", peer_receive(&s));
    say("shutdown %d", SSL_shutdown(ssl));
    SSL_read(s.peer, data, sizeof data);
    say("peer has heard the end %d", SSL_get_shutdown(s.peer) == SSL_RECEIVED_SHUTDOWN);
    SSL_free(ssl);
    close(fd[0]);
    close_tls(&s);
}

static void over_a_socket(int options, bool frees_below) {
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    SSL *ssl = counted(false);
    struct bufferevent *below = bufferevent_socket_new(base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    struct bufferevent *bev =
        bufferevent_openssl_filter_new(base, below, ssl, BUFFEREVENT_SSL_CONNECTING, options);
    CHECK(below && bev);
    bufferevent_free(bev);
    show("freed", fd[0]);
    pass(base);
    show("a pass later", fd[0]);
    if (frees_below) {
        struct end end;
        say("enabled below %d", bufferevent_get_enabled(below));
        watch(&end, "below", below);
        send_all(fd[1], "hello", 5);
        step("loop");
        settle(base);
        bufferevent_free(below);
        SSL_free(ssl);
        pass(base);
        show("at last", fd[0]);
    }
    close(fd[1]);
    event_base_free(base);
}

CASE(tls_filter_frees_what_is_below) /* 77 */
{
    over_a_socket(BEV_OPT_CLOSE_ON_FREE, false);
}

CASE(tls_filter_leaves_what_is_below) /* 77 */
{
    over_a_socket(0, true);
}

static void free_it(struct end *end) {
    bufferevent_free(end->bev);
    end->bev = NULL;
}

CASE(tls_free_inside_the_event_callback) /* 56 */
{
    struct tls_scene s;
    open_tls(&s, true, 0);
    s.a.on_event = free_it;
    step("loop");
    for (int i = 0; i < 200 && s.a.bev; i++) {
        pass(s.base);
        SSL_do_handshake(s.peer);
    }
    settle(s.base);
    say("freed %d", s.a.bev == NULL);
    close_tls(&s);
}

CASE(tls_free_inside_the_read_callback) /* 56 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    s.a.on_read = free_it;
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    peer_send(&s, 10);
    peer_send(&s, 10);
    s.a.quiet = true;
    settle(s.base);
    say("called %u, freed %d", s.a.reads, s.a.bev == NULL);
    close_tls(&s);
}

CASE(tls_free_inside_the_write_callback) /* 56 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    s.a.on_write = free_it;
    write_letters(s.a.bev, 1000);
    step("loop");
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    close_tls(&s);
}

CASE(tls_free_inside_the_callback_of_an_error) /* 56 */
{
    struct tls_scene s;
    open_tls(&s, true, 0);
    s.a.on_event = free_it;
    send_all(s.peer_fd, "GET / HTTP/1.0\r\n\r\n", 18);
    step("loop");
    settle(s.base);
    say("freed %d", s.a.bev == NULL);
    close_tls(&s);
}

static void free_filter_inside(bool at_first_event) {
    struct tls_duo duo;
    open_duo_over_sockets(&duo, 0);
    duo.c.quiet = true;
    if (at_first_event)
        duo.s.on_event = free_it;
    step("handshake");
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    if (!at_first_event) {
        duo.s.on_read = free_it;
        CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
        write_letters(duo.c.bev, 100);
        step("data");
    }
    settle(duo.base);
    say("freed %d", duo.s.bev == NULL);
    close_duo(&duo);
}

CASE(tls_filter_freed_inside_its_event_callback) /* 56 */
{
    free_filter_inside(true);
}

CASE(tls_filter_freed_inside_its_read_callback) /* 56 */
{
    free_filter_inside(false);
}

CASE(tls_free_with_deferred_callbacks_due) /* 54 */
{
    struct tls_scene s;
    open_tls_connected(&s, true, BEV_OPT_DEFER_CALLBACKS);
    bufferevent_trigger(s.a.bev, EV_READ | EV_WRITE, 0);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    step("loop");
    settle(s.base);
    close_tls(&s);
}

CASE(tls_references) /* 57 */
{
    struct event_base *base = new_base();
    int fd[2];
    unix_pair(fd);
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, fd[0], counted(false), BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_incref(bev);
    bufferevent_free(bev);
    pass(base);
    show("freed", fd[0]);
    say("last %d", bufferevent_decref(bev));
    pass(base);
    show("without references", fd[0]);
    close(fd[1]);
    event_base_free(base);
}

/* What the peer hears when the bufferevent is freed. */
static void what_the_peer_hears(struct tls_scene *s) {
    char data[16];
    int n = SSL_read(s->peer, data, sizeof data);
    int error = SSL_get_error(s->peer, n);
    say("the peer hears %s", error == SSL_ERROR_ZERO_RETURN ? "a clean end"
                             : error == SSL_ERROR_WANT_READ ? "nothing"
                                                            : "an error");
}

CASE_DIFFERS(tls_free_says_goodbye, "J80", "a bufferevent that owns its session ends it cleanly") {
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    write_letters(s.a.bev, 100);
    step("loop");
    settle(s.base);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    what_the_peer_hears(&s);
    close_tls(&s);
}

CASE_DIFFERS(tls_filter_says_goodbye, "J80", "also through the bufferevent below") {
    struct tls_scene s;
    open_tls(&s, true, 0);
    bufferevent_free(s.a.bev);
    pass(s.base);
    close(s.peer_fd);
    int fd[2];
    unix_pair(fd);
    s.peer_fd = fd[1];
    CHECK(SSL_set_fd(s.peer, fd[1]) == 1);
    struct bufferevent *below = bufferevent_socket_new(s.base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    CHECK(below);
    watch(&s.a, "", tls_over(s.base, below, true, 0));
    shake_hands(&s);
    write_letters(s.a.bev, 100);
    step("loop");
    settle(s.base);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    settle(s.base);
    say("peer %zu, closed %d", peer_receive(&s), !fd_is_open(fd[0]));
    what_the_peer_hears(&s);
    close_tls(&s);
}

CASE(tls_free_with_unsent_output_says_nothing) /* 31: the peer must not take it for the whole */
{
    struct tls_scene s;
    open_tls_connected(&s, true, 0);
    write_letters(s.a.bev, 100);
    bufferevent_free(s.a.bev);
    s.a.bev = NULL;
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    what_the_peer_hears(&s);
    close_tls(&s);
}

/* ---- Connecting, other descriptors ---- */

CASE(tls_connect) /* 41, 42, 78: one CONNECTED, after the handshake */
{
    struct sockaddr_in address;
    int listener = tcp_listener(&address);
    struct tls_duo duo = {.base = new_base()};
    watch(&duo.c, "c",
          bufferevent_openssl_socket_new(duo.base, -1, tls_session(false),
                                         BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE));
    write_letters(duo.c.bev, 500);
    say("connect %d", bufferevent_socket_connect(duo.c.bev, (struct sockaddr *)&address,
                                                 sizeof address));
    int fd = accept_one(listener);
    step("before the server");
    settle(duo.base);
    watch(&duo.s, "s",
          bufferevent_openssl_socket_new(duo.base, fd, tls_session(true), BUFFEREVENT_SSL_ACCEPTING,
                                         BEV_OPT_CLOSE_ON_FREE));
    duo.s.quiet = true;
    duo.s.drain = true;
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    step("loop");
    run_until_bytes(duo.base, &duo.s.received, 500);
    run_until_count(duo.base, &duo.c.writes, 1);
    say("received %zu", duo.s.received);
    SSL *ssl = bufferevent_openssl_get_ssl(duo.c.bev);
    say("descriptor %d", SSL_get_fd(ssl) == bufferevent_getfd(duo.c.bev));
    close(listener);
    close_duo(&duo);
}

CASE(tls_connect_below) /* through the filter */
{
    struct sockaddr_in address;
    int listener = tcp_listener(&address);
    struct tls_duo duo = {.base = new_base()};
    struct bufferevent *below = bufferevent_socket_new(duo.base, -1, BEV_OPT_CLOSE_ON_FREE);
    watch(&duo.c, "c", tls_over(duo.base, below, false, 0));
    say("connect %d", bufferevent_socket_connect(duo.c.bev, (struct sockaddr *)&address,
                                                 sizeof address));
    int fd = accept_one(listener);
    watch(&duo.s, "s",
          bufferevent_openssl_socket_new(duo.base, fd, tls_session(true), BUFFEREVENT_SSL_ACCEPTING,
                                         BEV_OPT_CLOSE_ON_FREE));
    step("loop");
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    say("descriptor %d", bufferevent_getfd(duo.c.bev) == bufferevent_getfd(below));
    close(listener);
    close_duo(&duo);
}

CASE(tls_connect_below_refused) {
    struct sockaddr_in address;
    int nobody = refusing_port(&address);
    struct tls_duo duo = {.base = new_base()};
    struct bufferevent *below = bufferevent_socket_new(duo.base, -1, BEV_OPT_CLOSE_ON_FREE);
    watch(&duo.c, "", tls_over(duo.base, below, false, 0));
    step("loop");
    CHECK(bufferevent_socket_connect(below, (struct sockaddr *)&address, sizeof address) == 0);
    run_until_count(duo.base, &duo.c.events, 1);
    settle(duo.base);
    close(nobody);
    close_duo(&duo);
}

CASE(tls_connect_refused) /* 44 */
{
    struct sockaddr_in address;
    int nobody = refusing_port(&address);
    struct tls_duo duo = {.base = new_base()};
    watch(&duo.c, "",
          bufferevent_openssl_socket_new(duo.base, -1, tls_session(false),
                                         BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE));
    step("loop");
    CHECK(bufferevent_socket_connect(duo.c.bev, (struct sockaddr *)&address, sizeof address) == 0);
    run_until_count(duo.base, &duo.c.events, 1);
    settle(duo.base);
    close(nobody);
    close_duo(&duo);
}

CASE(tls_without_descriptor) {
    struct tls_duo duo = {.base = new_base()};
    SSL *ssl = tls_session(false);
    watch(&duo.c, "",
          bufferevent_openssl_socket_new(duo.base, -1, ssl, BUFFEREVENT_SSL_CONNECTING,
                                         BEV_OPT_CLOSE_ON_FREE));
    CHECK(bufferevent_enable(duo.c.bev, EV_READ | EV_WRITE) == 0);
    step("loop");
    settle(duo.base);
    say("descriptor %d, of the session %d", bufferevent_getfd(duo.c.bev), SSL_get_fd(ssl));
    close_duo(&duo);
}

CASE(tls_descriptor_given_later) {
    struct tls_duo duo = {.base = new_base()};
    int fd[2];
    unix_pair(fd);
    SSL *ssl = tls_session(false);
    watch(&duo.c, "c",
          bufferevent_openssl_socket_new(duo.base, -1, ssl, BUFFEREVENT_SSL_CONNECTING,
                                         BEV_OPT_CLOSE_ON_FREE));
    watch(&duo.s, "s",
          bufferevent_openssl_socket_new(duo.base, fd[1], tls_session(true),
                                         BUFFEREVENT_SSL_ACCEPTING, BEV_OPT_CLOSE_ON_FREE));
    step("without");
    settle(duo.base);
    say("setfd %d", bufferevent_setfd(duo.c.bev, fd[0]));
    say("descriptor %d, of the session %d", bufferevent_getfd(duo.c.bev) == fd[0],
        SSL_get_fd(ssl) == fd[0]);
    step("with");
    run_until_count(duo.base, &duo.c.events, 1);
    run_until_count(duo.base, &duo.s.events, 1);
    close_duo(&duo);
}

CASE(tls_descriptor_taken_away) {
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    SSL *ssl = bufferevent_openssl_get_ssl(s.a.bev);
    int fd = bufferevent_getfd(s.a.bev);
    say("setfd %d", bufferevent_setfd(s.a.bev, -1));
    say("descriptor %d, of the session %d", bufferevent_getfd(s.a.bev), SSL_get_fd(ssl));
    step("loop");
    settle(s.base);
    close_tls(&s);
    close(fd);
}

/* ---- Renegotiation ---- */

CASE(tls_renegotiate_in_1_3) /* there is nothing to wait for */
{
    struct tls_scene s;
    open_tls_connected(&s, false, 0);
    step("inside");
    int result = bufferevent_ssl_renegotiate(s.a.bev);
    say("%d", result);
    step("loop");
    settle(s.base);
    write_letters(s.a.bev, 10);
    settle(s.base);
    say("peer %zu", peer_receive(&s));
    close_tls(&s);
}

static void renegotiate(bool allowed) {
    struct tls_duo duo;
    open_duo(&duo, 0);
    SSL *client = bufferevent_openssl_get_ssl(duo.c.bev);
    CHECK(SSL_set_max_proto_version(client, TLS1_2_VERSION) == 1);
    if (allowed)
        SSL_set_options(bufferevent_openssl_get_ssl(duo.s.bev), SSL_OP_ALLOW_CLIENT_RENEGOTIATION);
    step("handshake");
    run_until_count(duo.base, &duo.c.events, 1);
    duo.s.drain = true;
    duo.s.quiet = true;
    CHECK(bufferevent_enable(duo.s.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(duo.c.bev, EV_READ) == 0);
    settle(duo.base);
    int result = bufferevent_ssl_renegotiate(duo.c.bev);
    say("%d", result);
    step("loop");
    run_until_count(duo.base, &duo.c.events, 2);
    if (allowed) {
        write_letters(duo.c.bev, 100);
        run_until_bytes(duo.base, &duo.s.received, 100);
        say("received %zu, renegotiations %ld", duo.s.received, SSL_num_renegotiations(client));
    }
    close_duo(&duo);
}

CASE(tls_renegotiate_in_1_2) {
    renegotiate(true);
}

CASE(tls_renegotiation_refused) {
    renegotiate(false);
}

/* Hands the session to a bufferevent on another base from the first one's callback, as coturn does
 * between its threads. */
struct handover {
    struct event_base *base;
    struct end *next;
    SSL *ssl;
    int fd;
};

static void hand_over(struct end *end) {
    struct handover *to = end->extra;
    bufferevent_free(end->bev);
    end->bev = NULL;
    watch(to->next, "next",
          bufferevent_openssl_socket_new(to->base, to->fd, to->ssl, BUFFEREVENT_SSL_OPEN, 0));
    bufferevent_enable(to->next->bev, EV_READ);
    write_letters(to->next->bev, 20);
}

static void run_handover(int options, bool frees_session) {
    struct tls_scene s;
    struct end next;
    int fd[2];
    s.base = new_base();
    unix_pair(fd);
    struct handover to = {new_base(), &next, counted(true), fd[0]};
    watch(&s.a, "first",
          bufferevent_openssl_socket_new(s.base, fd[0], to.ssl, BUFFEREVENT_SSL_ACCEPTING, options));
    s.a.drain = true;
    s.a.on_read = hand_over;
    s.a.extra = &to;
    s.peer = tls_session(false);
    s.peer_fd = fd[1];
    CHECK(SSL_set_fd(s.peer, fd[1]) == 1);
    SSL_set_connect_state(s.peer);
    bufferevent_enable(s.a.bev, EV_READ);
    step("handshake");
    shake_hands(&s);
    settle(s.base);
    step("first");
    peer_send(&s, 10);
    settle(s.base);
    step("next");
    settle(to.base);
    say("peer %zu", peer_receive(&s));
    step("next");
    peer_send(&s, 30);
    settle(to.base);
    settle(s.base);
    bufferevent_free(next.bev);
    if (frees_session) {
        SSL_free(to.ssl);
        settle(to.base);
    } else {
        settle(to.base);
        SSL_free(to.ssl);
    }
    show("at last", fd[0]);
    close(fd[0]);
    event_base_free(to.base);
    close_tls(&s);
}

CASE(tls_session_moves_to_another_bufferevent) {
    run_handover(0, false);
}

CASE(tls_session_moves_in_a_deferred_callback) {
    run_handover(BEV_OPT_DEFER_CALLBACKS, false);
}

CASE(tls_session_is_freed_right_after_its_bufferevent) {
    run_handover(0, true);
}

struct mover {
    struct event_base *base;
    SSL *ssl;
    int fd, moves;
    size_t total;
    struct bufferevent *bev;
};

static void move_on(struct bufferevent *bev, void *arg) {
    struct mover *mover = arg;
    size_t length = evbuffer_get_length(bufferevent_get_input(bev));
    mover->total += length;
    CHECK(evbuffer_drain(bufferevent_get_input(bev), length) == 0);
    if (mover->moves == 0)
        return;
    mover->moves--;
    bufferevent_free(bev);
    mover->bev = bufferevent_openssl_socket_new(mover->base, mover->fd, mover->ssl,
                                                BUFFEREVENT_SSL_OPEN, 0);
    CHECK(mover->bev);
    bufferevent_setcb(mover->bev, move_on, NULL, NULL, mover);
    /* Each but the last takes little of what is there. */
    bufferevent_setwatermark(mover->bev, EV_READ, 0, mover->moves > 0);
    bufferevent_enable(mover->bev, EV_READ);
}

CASE(tls_session_moves_with_more_to_come) /* nothing of what has been read ahead may be lost */
{
    struct tls_scene s;
    int fd[2];
    s.base = new_base();
    unix_pair(fd);
    struct mover mover = {s.base, tls_session(true), fd[0], 0, 0, NULL};
    mover.bev = s.a.bev =
        bufferevent_openssl_socket_new(s.base, fd[0], mover.ssl, BUFFEREVENT_SSL_ACCEPTING, 0);
    bufferevent_setcb(mover.bev, move_on, NULL, NULL, &mover);
    bufferevent_setwatermark(mover.bev, EV_READ, 0, 1);
    s.peer = tls_session(false);
    s.peer_fd = fd[1];
    CHECK(SSL_set_fd(s.peer, fd[1]) == 1);
    SSL_set_connect_state(s.peer);
    bufferevent_enable(mover.bev, EV_READ);
    shake_hands(&s);
    settle(s.base);
    mover.moves = 5;
    for (int i = 0; i < 8; i++)
        peer_send(&s, 5000);
    for (int i = 0; i < 50; i++)
        pass(s.base);
    say("moves left %d, all bytes %d", mover.moves, mover.total == 40000);
    /* The program goes on by itself. */
    peer_send(&s, 300);
    bufferevent_free(mover.bev);
    char rest[400];
    say("read by hand: %d", SSL_read(mover.ssl, rest, sizeof rest));
    settle(s.base);
    SSL_free(mover.ssl);
    SSL_free(s.peer);
    close(fd[0]);
    close(fd[1]);
    event_base_free(s.base);
}
