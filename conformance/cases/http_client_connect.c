/* How evhttp's client gets its connection: addresses, names, retries, timeouts. */
#include "http_client.h"

#include <event2/bufferevent_struct.h>
#include <event2/dns.h>
#include <event2/event_compat.h>
#include <event2/http_compat.h>

#define PLAIN "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static struct evhttp_connection *refused(struct event_base *base, int *fd) {
    struct sockaddr_in address;
    *fd = refusing_port(&address);
    struct evhttp_connection *connection =
        evhttp_connection_base_new(base, NULL, "127.0.0.1", ntohs(address.sin_port));
    CHECK(connection);
    evhttp_connection_set_closecb(connection, on_close, "connection");
    return connection;
}

CASE(http_client_refused) {
    struct event_base *base = new_base();
    struct asked asked[3];
    int fd;
    struct evhttp_connection *connection = refused(base, &fd);
    for (unsigned i = 0; i < 3; i++) {
        ask_new(&asked[i], i == 0 ? "one" : i == 1 ? "two" : "three");
        say("make_request: %d", ask(connection, &asked[i], EVHTTP_REQ_GET, "/"));
    }
    for (unsigned i = 0; i < 3; i++)
        run_until_count(base, &asked[i].done, 1);
    evhttp_connection_free(connection);
    close(fd);
    event_base_free(base);
}

static double now(void) {
    struct timespec time;
    CHECK(clock_gettime(CLOCK_MONOTONIC, &time) == 0);
    return (double)time.tv_sec + (double)time.tv_nsec / 1e9;
}

/* Each wait is twice as long as the one before. */
static void retry(int retries, const struct timeval *first, double least) {
    struct event_base *base = new_base();
    struct asked asked;
    int fd;
    struct evhttp_connection *connection = refused(base, &fd);
    evhttp_connection_set_retries(connection, retries);
    evhttp_connection_set_initial_retry_tv(connection, first);
    ask_new(&asked, "it");
    double start = now();
    CHECK(ask(connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(base, &asked.done, 1);
    say("%d retries %s", retries, now() - start < least - 0.005 ? "too soon" : "in time");
    evhttp_connection_free(connection);
    close(fd);
    event_base_free(base);
}

CASE(http_client_retries) {
    struct timeval first = {0, 50000};
    retry(0, NULL, 0);
    retry(1, &first, 0.05);
    retry(2, &first, 0.15);
    retry(3, &first, 0.35);
}

CASE(http_client_retry_succeeds) /* with what was asked for meanwhile */ {
    struct http_scene scene;
    struct asked asked[2];
    struct timeval first = {0, 20000};
    scene.base = new_base();
    server_open(&scene.server, scene.base, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    int listener = scene.server.listener;
    /* The port stays the server's, but nobody listens there. */
    event_free(scene.server.accepting);
    close(listener);
    scene.server.listener = refusing_port(&scene.server.address);
    scene.connection = connect_to(&scene.server);
    evhttp_connection_set_retries(scene.connection, -1);
    evhttp_connection_set_initial_retry_tv(scene.connection, &first);
    ask_new(&asked[0], "one");
    CHECK(ask(scene.connection, &asked[0], EVHTTP_REQ_GET, "/") == 0);
    run_for(scene.base, 10);
    ask_new(&asked[1], "two");
    CHECK(ask(scene.connection, &asked[1], EVHTTP_REQ_GET, "/") == 0);
    CHECK(listen(scene.server.listener, 16) == 0);
    scene.server.accepting = event_new(scene.base, scene.server.listener, EV_READ | EV_PERSIST,
                                       on_accept, &scene.server);
    CHECK(scene.server.accepting && event_add(scene.server.accepting, NULL) == 0);
    run_until_count(scene.base, &asked[1].done, 1);
    scene_close(&scene);
}

static void retry_acts(bool cancel) {
    struct event_base *base = new_base();
    struct asked asked;
    int fd;
    struct evhttp_connection *connection = refused(base, &fd);
    evhttp_connection_set_retries(connection, -1);
    ask_new(&asked, "it");
    CHECK(ask(connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_for(base, 30);
    say("during the wait for the next try");
    if (cancel)
        evhttp_cancel_request(asked.request);
    else
        evhttp_connection_free(connection);
    run_for(base, 30);
    if (cancel)
        evhttp_connection_free(connection);
    say("done %u", asked.done);
    close(fd);
    event_base_free(base);
}

CASE(http_client_freed_while_it_waits) {
    retry_acts(false);
}
CASE(http_client_cancelled_while_it_waits) {
    retry_acts(true);
}
CASE(http_client_asked_while_it_waits) {
    struct event_base *base = new_base();
    struct asked asked[2];
    int fd;
    struct evhttp_connection *connection = refused(base, &fd);
    struct timeval initial = {0, 50000};
    evhttp_connection_set_retries(connection, 1);
    evhttp_connection_set_initial_retry_tv(connection, &initial);
    ask_new(&asked[0], "one");
    CHECK(ask(connection, &asked[0], EVHTTP_REQ_GET, "/") == 0);
    run_for(base, 20);
    ask_new(&asked[1], "two");
    say("two: %d", ask(connection, &asked[1], EVHTTP_REQ_GET, "/"));
    run_until_count(base, &asked[0].done, 1);
    run_until_count(base, &asked[1].done, 1);
    evhttp_connection_free(connection);
    close(fd);
    event_base_free(base);
}

static void time_out(const char *answer, int seconds, unsigned requests) {
    struct http_scene scene;
    struct asked asked[2];
    struct timeval tv = {0, 60000};
    scene_open(&scene, ANSWERS({.text = answer}, {.text = answer}));
    if (seconds > 0)
        evhttp_connection_set_timeout(scene.connection, seconds);
    else
        evhttp_connection_set_timeout_tv(scene.connection, &tv);
    /* They are for connecting only. */
    evhttp_connection_set_retries(scene.connection, 3);
    double start = now();
    for (unsigned i = 0; i < requests; i++) {
        ask_new(&asked[i], i == 0 ? "one" : "two");
        CHECK(ask(scene.connection, &asked[i], EVHTTP_REQ_GET, "/") == 0);
    }
    run_until_count(scene.base, &asked[0].done, 1);
    say("%s", now() - start < (seconds > 0 ? seconds - 0.05 : 0.055) ? "too soon" : "in time");
    run_until_count(scene.base, &asked[requests - 1].done, 1);
    scene_close(&scene);
}

CASE(http_client_timeouts) /* before the answer, and in its body */ {
    time_out(NULL, 0, 2);
    time_out("HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhel", 0, 2);
    time_out("HTTP/1.1 200 OK\r\n\r\nhel", 0, 1);
    time_out(NULL, 1, 1);
}

/* What the bufferevent has, which programs can see. */
static void show_timeouts(struct evhttp_connection *connection, const char *when) {
    struct bufferevent *bev = evhttp_connection_get_bufferevent(connection);
    CHECK(evutil_timercmp(&bev->timeout_read, &bev->timeout_write, ==));
    say("%s: %d.%06d, enabled %x", when, (int)bev->timeout_read.tv_sec,
        (int)bev->timeout_read.tv_usec, bufferevent_get_enabled(bev));
}

static void show_timeouts_when_done(struct asked *asked, struct evhttp_request *request) {
    (void)request;
    show_timeouts(asked->connection, "done");
}

static void timeouts_of(void (*set)(struct evhttp_connection *)) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    set(scene.connection);
    show_timeouts(scene.connection, "new");
    ask_new(&asked, "it");
    asked.on_done = show_timeouts_when_done;
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    show_timeouts(scene.connection, "asked");
    run_until_count(scene.base, &asked.done, 1);
    show_timeouts(scene.connection, "idle");
    set(scene.connection);
    show_timeouts(scene.connection, "set again");
    scene_close(&scene);
}

static void set_nothing(struct evhttp_connection *connection) {
    (void)connection;
}

static void set_nine(struct evhttp_connection *connection) {
    evhttp_connection_set_timeout(connection, 9);
}

static void set_zero(struct evhttp_connection *connection) {
    struct timeval zero = {0, 0};
    evhttp_connection_set_timeout(connection, -1);
    evhttp_connection_set_timeout_tv(connection, &zero);
}

static void set_seven(struct evhttp_connection *connection) {
    struct timeval seven = {7, 8};
    evhttp_connection_set_timeout_tv(connection, &seven);
}

static void unset(struct evhttp_connection *connection) {
    evhttp_connection_set_timeout(connection, 9);
    evhttp_connection_set_timeout_tv(connection, NULL);
}

CASE(http_client_usual_timeouts) {
    timeouts_of(set_nothing);
    timeouts_of(set_nine);
    timeouts_of(set_zero);
    timeouts_of(set_seven);
    timeouts_of(unset);
}

CASE(http_client_timeout_of_connect) {
    struct event_base *base = new_base();
    struct asked asked;
    /* A listener whose queue is full drops what comes. */
    struct sockaddr_in address;
    int fds[8], listener = refusing_port(&address);
    CHECK(listen(listener, 0) == 0);
    for (size_t i = 0; i < COUNT(fds); i++) {
        fds[i] = socket(AF_INET, SOCK_STREAM | SOCK_NONBLOCK, 0);
        CHECK(connect(fds[i], (struct sockaddr *)&address, sizeof address) == 0 ||
              errno == EINPROGRESS);
    }
    struct evhttp_connection *connection =
        evhttp_connection_base_new(base, NULL, "127.0.0.1", ntohs(address.sin_port));
    struct timeval tv = {0, 60000};
    evhttp_connection_set_timeout_tv(connection, &tv);
    evhttp_connection_set_closecb(connection, on_close, "connection");
    ask_new(&asked, "it");
    CHECK(ask(connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(base, &asked.done, 1);
    evhttp_connection_free(connection);
    for (size_t i = 0; i < COUNT(fds); i++)
        close(fds[i]);
    close(listener);
    event_base_free(base);
}

CASE(http_client_timeout_is_taken_away) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = NULL}));
    struct timeval tv = {0, 40000};
    evhttp_connection_set_timeout_tv(scene.connection, &tv);
    evhttp_connection_set_timeout_tv(scene.connection, NULL);
    ask_new(&asked, "it");
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_for(scene.base, 100);
    say("done %u", asked.done);
    evhttp_connection_set_timeout(scene.connection, -1);
    evhttp_connection_set_timeout_tv(scene.connection, &tv);
    run_for(scene.base, 100);
    say("done %u", asked.done);
    scene_close(&scene);
}

CASE(http_client_idle_does_not_time_out) {
    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    struct timeval tv = {0, 40000};
    evhttp_connection_set_timeout_tv(scene.connection, &tv);
    get(&scene, &asked[0], "one", "/");
    run_for(scene.base, 120);
    say("ended by the client: %u", scene.server.ends);
    get(&scene, &asked[1], "two", "/");
    scene_close(&scene);
}

static void show_peer(struct evhttp_connection *connection, const struct server *server) {
    char *host = NULL;
    ev_uint16_t port = 0;
    evhttp_connection_get_peer(connection, &host, &port);
    say("peer %s, %s", host, port == server_port(server) ? "its port" : "another port");
}

static void show_address(struct evhttp_connection *connection, const struct server *server) {
    const struct sockaddr_in *address =
        (const struct sockaddr_in *)evhttp_connection_get_addr(connection);
    bool same = address && address->sin_family == AF_INET &&
                address->sin_addr.s_addr == server->address.sin_addr.s_addr &&
                address->sin_port == server->address.sin_port;
    say("address %s", !address ? "none" : same ? "of the server" : "another");
}

static void open_named(struct http_scene *scene, const char *name, int family) {
    static const struct answer answer = {.text = PLAIN};
    scene->base = new_base();
    server_open(&scene->server, scene->base, &answer, 1);
    scene->server.quiet = true;
    scene->connection =
        evhttp_connection_base_new(scene->base, NULL, name, server_port(&scene->server));
    CHECK(scene->connection);
    evhttp_connection_set_family(scene->connection, family);
    CHECK(evhttp_connection_get_base(scene->connection) == scene->base);
    CHECK(evhttp_connection_get_bufferevent(scene->connection));
    CHECK(!evhttp_connection_get_server(scene->connection));
}

static void named(const char *name, int family) {
    struct http_scene scene;
    struct asked asked;
    open_named(&scene, name, family);
    say("'%s', %s", name, family == AF_INET ? "IPv4" : family == AF_INET6 ? "IPv6" : "any family");
    show_peer(scene.connection, &scene.server);
    ask_new(&asked, "it");
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &asked.done, 1);
    scene_close(&scene);
}

CASE(http_client_names) {
    named("127.0.0.1", AF_UNSPEC);
    named("127.0.0.1", AF_INET);
    named("localhost", AF_INET);
}

CASE_DIFFERS(http_client_names_that_are_none, "J51", "told as any other failure to connect") {
    named("127.0.0.1", AF_INET6);
    named("[127.0.0.1]", AF_INET);
    named("127.0.0.1 ", AF_INET);
}

CASE_DIFFERS(http_client_address, "K", "none without a connection, as the header says") {
    struct http_scene scene;
    struct asked asked;
    open_named(&scene, "127.0.0.1", AF_UNSPEC);
    show_address(scene.connection, &scene.server);
    get(&scene, &asked, "it", "/");
    show_address(scene.connection, &scene.server);
    scene_close(&scene);
}

CASE(http_client_evdns) {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    struct evdns_base *dns = evdns_base_new(scene.base, 0);
    CHECK(dns);
    char path[] = "/tmp/ferrevent-hosts-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "127.0.0.1 server.test\n", 22) == 22);
    close(fd);
    CHECK(evdns_base_load_hosts(dns, path) == 0);
    unlink(path);
    scene.connection =
        evhttp_connection_base_new(scene.base, dns, "server.test", server_port(&scene.server));
    evhttp_connection_set_family(scene.connection, AF_INET);
    get(&scene, &asked[0], "one", "/");
    show_peer(scene.connection, &scene.server);
    evhttp_connection_free(scene.connection);
    scene.connection = NULL;
    evdns_base_free(dns, 0);
    scene_close(&scene);
}

static void show_client(struct http_scene *scene, ev_uint16_t port) {
    struct sockaddr_in at;
    socklen_t length = sizeof at;
    CHECK(getpeername(scene->server.open[0]->fd, (struct sockaddr *)&at, &length) == 0);
    say("from %s, %s", inet_ntoa(at.sin_addr),
        ntohs(at.sin_port) == port ? "the port that was asked for" : "another port");
}

static ev_uint16_t free_port(void) {
    struct sockaddr_in address;
    close(refusing_port(&address));
    return ntohs(address.sin_port);
}

CASE(http_client_local_address) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    evhttp_connection_set_local_address(scene.connection, "127.0.0.9");
    get(&scene, &asked, "it", "/");
    show_client(&scene, 0);
    scene_close(&scene);

    ev_uint16_t port = free_port();
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    evhttp_connection_set_local_address(scene.connection, "127.0.0.1");
    evhttp_connection_set_local_port(scene.connection, port);
    get(&scene, &asked, "it", "/");
    show_client(&scene, port);
    scene_close(&scene);

    port = free_port();
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    evhttp_connection_set_local_port(scene.connection, port);
    get(&scene, &asked, "it", "/");
    show_client(&scene, port);
    scene_close(&scene);
}

static void ask_from(const char *address) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    evhttp_connection_set_local_address(scene.connection, address);
    ask_new(&asked, "it");
    say("make_request: %d", ask(scene.connection, &asked, EVHTTP_REQ_GET, "/"));
    run_for(scene.base, 10);
    say("done %u", asked.done);
    scene_close(&scene);
}

CASE(http_client_local_address_that_is_none) /* libevent leaks the request */ {
    ask_from("192.0.2.1");
    ask_from("nonsense");
}

CASE(http_client_flags) {
    struct http_scene scene;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    for (int flag = 0; flag < 22; flag++)
        say("%x: %d", 1 << flag, evhttp_connection_set_flags(scene.connection, 1 << flag));
    say("0: %d", evhttp_connection_set_flags(scene.connection, 0));
    say("0x38: %d", evhttp_connection_set_flags(scene.connection, 0x38));
    scene_close(&scene);
}

CASE(http_client_reuses_address) /* of the last connection */ {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base,
                ANSWERS({.text = PLAIN, .then = CLOSE}, {.text = PLAIN}));
    scene.connection =
        evhttp_connection_base_new(scene.base, NULL, "localhost", server_port(&scene.server));
    evhttp_connection_set_family(scene.connection, AF_INET);
    CHECK(evhttp_connection_set_flags(scene.connection, EVHTTP_CON_REUSE_CONNECTED_ADDR) == 0);
    get(&scene, &asked[0], "one", "/");
    run_for(scene.base, 20);
    get(&scene, &asked[1], "two", "/");
    show_peer(scene.connection, &scene.server);
    scene_close(&scene);
}

static void ask_for(struct http_scene *scene, enum evhttp_cmd_type type, const char *uri) {
    struct asked asked;
    ask_new(&asked, "it");
    say("make_request: %d", ask(scene->connection, &asked, type, uri));
    run_for(scene->base, 20);
}

CASE_DIFFERS(http_client_methods_and_targets_that_are_none, "K", "-1") {
    struct http_scene scene;
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN},
                               {.text = PLAIN}));
    ask_for(&scene, 0, "/");
    ask_for(&scene, EVHTTP_REQ_GET | EVHTTP_REQ_POST, "/");
    ask_for(&scene, 0x1000, "/");
    ask_for(&scene, EVHTTP_REQ_GET, "");
    ask_for(&scene, EVHTTP_REQ_GET, "/\r\nX: y");
    scene_close(&scene);
}

CASE(http_client_without_a_target) {
    struct http_scene scene;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    ask_for(&scene, EVHTTP_REQ_GET, NULL);
    scene_close(&scene);
}

CASE_DIFFERS(http_client_without_an_address, "memory safety", "libevent crashes") {
    struct event_base *base = new_base();
    say("made: %d", evhttp_connection_base_new(base, NULL, NULL, 80) != NULL);
    event_base_free(base);
}

CASE_DIFFERS(http_client_without_a_port, "J51", "what fails at once is told from the loop") {
    struct event_base *base = new_base();
    struct evhttp_connection *connection = evhttp_connection_base_new(base, NULL, "127.0.0.1", 0);
    struct asked asked;
    CHECK(connection);
    ask_new(&asked, "it");
    say("make_request: %d", ask(connection, &asked, EVHTTP_REQ_GET, "/"));
    run_until_count(base, &asked.done, 1);
    evhttp_connection_free(connection);
    event_base_free(base);
}

CASE_DIFFERS(http_client_connection_new, "memory safety", "libevent needs event_init") {
    struct evhttp_connection *connection = evhttp_connection_new("127.0.0.1", 80);
    say("made: %d", connection != NULL);
    evhttp_connection_free(connection);
}

CASE(http_client_global_base) /* what event_init made is used without set_base */ {
    struct http_scene scene;
    struct asked asked;
    scene.base = event_init();
    server_open(&scene.server, scene.base, ANSWERS({.text = PLAIN}));
    scene.connection = evhttp_connection_new("127.0.0.1", server_port(&scene.server));
    say("base: %d", evhttp_connection_get_base(scene.connection) != NULL);
    get(&scene, &asked, "it", "/");
    scene_close(&scene);
}

CASE(http_client_set_base) {
    struct http_scene scene;
    struct asked asked;
    struct event_base *global = event_init();
    scene.base = new_base();
    server_open(&scene.server, scene.base, ANSWERS({.text = PLAIN}));
    scene.connection = evhttp_connection_new("127.0.0.1", server_port(&scene.server));
    say("%d", evhttp_connection_get_base(scene.connection) == global);
    evhttp_connection_set_base(scene.connection, scene.base);
    say("%d", evhttp_connection_get_base(scene.connection) == scene.base);
    get(&scene, &asked, "it", "/");
    scene_close(&scene);
    event_base_free(global);
}

CASE(http_client_own_bufferevent) {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base,
                ANSWERS({.text = PLAIN, .then = CLOSE}, {.text = PLAIN}));
    struct bufferevent *bev = bufferevent_socket_new(scene.base, -1, 0);
    scene.connection = evhttp_connection_base_bufferevent_new(scene.base, NULL, bev, "127.0.0.1",
                                                              server_port(&scene.server));
    say("the same %d", evhttp_connection_get_bufferevent(scene.connection) == bev);
    get(&scene, &asked[0], "one", "/");
    run_for(scene.base, 20);
    say("the same %d, descriptor %d", evhttp_connection_get_bufferevent(scene.connection) == bev,
        bufferevent_getfd(bev) >= 0);
    get(&scene, &asked[1], "two", "/");
    say("descriptor %d", bufferevent_getfd(bev) >= 0);
    scene_close(&scene);
}

CASE(http_client_deferred_callbacks) /* of a bufferevent of the program's */ {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base,
                ANSWERS({.text = PLAIN}, {.text = PLAIN, .then = CLOSE}));
    struct bufferevent *bev =
        bufferevent_socket_new(scene.base, -1, BEV_OPT_DEFER_CALLBACKS | BEV_OPT_CLOSE_ON_FREE);
    scene.connection = evhttp_connection_base_bufferevent_new(scene.base, NULL, bev, "127.0.0.1",
                                                              server_port(&scene.server));
    for (unsigned i = 0; i < 2; i++) {
        ask_new(&asked[i], i == 0 ? "one" : "two");
        CHECK(ask(scene.connection, &asked[i], EVHTTP_REQ_GET, "/") == 0);
    }
    run_until_count(scene.base, &asked[1].done, 1);
    run_for(scene.base, 10);
    scene_close(&scene);
}

CASE(http_client_own_connected_bufferevent) /* which is closed: it must not be */ {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&scene.server.address, sizeof scene.server.address) == 0);
    set_nonblocking(fd);
    struct bufferevent *bev = bufferevent_socket_new(scene.base, fd, BEV_OPT_CLOSE_ON_FREE);
    scene.connection = evhttp_connection_base_bufferevent_new(scene.base, NULL, bev, "127.0.0.1",
                                                              server_port(&scene.server));
    get(&scene, &asked[0], "one", "/");
    say("connections %u", scene.server.connections);
    scene_close(&scene);
}

CASE_DIFFERS(http_client_base_freed_first, "memory safety", "libevent crashes") {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = NULL}));
    ask_new(&asked, "it");
    ask(scene.connection, &asked, EVHTTP_REQ_GET, "/");
    run_until_count(scene.base, &scene.server.requests, 1);
    server_close(&scene.server);
    event_base_free(scene.base);
    evhttp_connection_free(scene.connection);
}
