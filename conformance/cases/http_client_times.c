/* How long evhttp's client waits: for a connection, before it tries again, for an answer. */
#include "http_client.h"

#include <event2/bufferevent_struct.h>

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
    calm(scene.base);
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
    calm(base);
    say("during the wait for the next try");
    if (cancel)
        evhttp_cancel_request(asked.request);
    else
        evhttp_connection_free(connection);
    calm(base);
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
    struct timeval initial = {0, 400000};
    evhttp_connection_set_retries(connection, 1);
    evhttp_connection_set_initial_retry_tv(connection, &initial);
    ask_new(&asked[0], "one");
    CHECK(ask(connection, &asked[0], EVHTTP_REQ_GET, "/") == 0);
    calm(base);
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
    struct timeval tv = {0, 150000};
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
    say("%s", now() - start < (seconds > 0 ? seconds - 0.05 : 0.145) ? "too soon" : "in time");
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
    run_until_count(scene.base, &asked.done, 1);
    calm(scene.base);
    scene_close(&scene);
}

CASE(http_client_idle_times_out) {
    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    struct timeval tv = {0, 150000};
    evhttp_connection_set_timeout_tv(scene.connection, &tv);
    get(&scene, &asked[0], "one", "/");
    run_until_count(scene.base, &scene.server.ends, 1);
    get(&scene, &asked[1], "two", "/");
    scene_close(&scene);
}
