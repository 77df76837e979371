/* event2/http.h: a server whose requests are worked on by other threads, and answered by the loop. */
#include "http_server.h"

#include <pthread.h>

struct job {
    struct server *server;
    struct evhttp_request *req;
    pthread_t thread;
};

static void send_answer(evutil_socket_t fd, short what, void *arg) {
    struct job *job = arg;
    (void)fd, (void)what;
    CHECK(pthread_join(job->thread, NULL) == 0);
    evhttp_send_reply(job->req, HTTP_OK, NULL, NULL);
    free(job);
}

/* Reads the request and writes the body; only the loop touches the connection. */
static void *work(void *arg) {
    struct job *job = arg;
    struct evbuffer *input = evhttp_request_get_input_buffer(job->req);
    struct evbuffer *output = evhttp_request_get_output_buffer(job->req);
    CHECK(evhttp_request_get_command(job->req) == EVHTTP_REQ_POST);
    const char *name = evhttp_find_header(evhttp_request_get_input_headers(job->req), "X-Name");
    evbuffer_add_printf(output, "%s %s: ", evhttp_request_get_uri(job->req), name ? name : "-");
    evbuffer_add_buffer(output, input);
    evhttp_add_header(evhttp_request_get_output_headers(job->req), "X-Worker", "yes");
    struct timeval now = {0, 0};
    CHECK(event_base_once(job->server->base, -1, EV_TIMEOUT, send_answer, job, &now) == 0);
    return NULL;
}

static void hand_over(struct server *server, struct evhttp_request *req) {
    struct job *job = malloc(sizeof *job);
    *job = (struct job){.server = server, .req = req};
    CHECK(pthread_create(&job->thread, NULL, work, job) == 0);
}

CASE(http_requests_worked_on_by_threads) {
    CHECK(evthread_use_pthreads() == 0);
    struct server server;
    serve(&server);
    server.reply = hand_over;
    exchange(&server, "POST /a HTTP/1.1\r\nHost: h\r\nX-Name: one\r\nContent-Length: 3\r\n\r\nabc"
                      "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n"
                      "POST /c HTTP/1.1\r\nHost: h\r\nConnection: close\r\nContent-Length: 2\r\n\r\nde");
    enum { CLIENTS = 10 };
    static struct wire wires[CLIENTS];
    for (int i = 0; i < CLIENTS; i++) {
        char text[200];
        snprintf(text, sizeof text, "POST /%d HTTP/1.0\r\nContent-Length: 4\r\n\r\nbody", i);
        wire_open(&wires[i], &server);
        wire_send(&wires[i], text);
        wire_to_end(&wires[i]);
    }
    for (int i = 0; i < CLIENTS; i++) {
        wire_show(&wires[i]);
        wire_close(&wires[i]);
    }
    stop(&server);
}

/* Bufferevents with locks, whose callbacks come from the loop, or without them. */
static struct bufferevent *with_locks(struct event_base *base, void *options) {
    return bufferevent_socket_new(base, -1, *(int *)options);
}

CASE(http_bufferevents_with_locks) {
    static int options[] = {
        BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE,
        BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS,
        BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS |
            BEV_OPT_UNLOCK_CALLBACKS,
    };
    CHECK(evthread_use_pthreads() == 0);
    for (size_t i = 0; i < COUNT(options); i++) {
        struct server server;
        serve(&server);
        evhttp_set_bevcb(server.http, with_locks, &options[i]);
        exchange(&server, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc" LAST);
        server.reply = hand_over;
        exchange(&server, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\nConnection: close\r\n\r\nabc");
        stop(&server);
    }
}

static enum bufferevent_filter_result pass_on(struct evbuffer *source, struct evbuffer *target,
                                              ev_ssize_t limit, enum bufferevent_flush_mode mode,
                                              void *arg) {
    (void)limit, (void)mode, (void)arg;
    return evbuffer_add_buffer(target, source) == 0 ? BEV_OK : BEV_ERROR;
}

static struct bufferevent *filtered(struct event_base *base, void *arg) {
    (void)arg;
    struct bufferevent *below = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    return bufferevent_filter_new(below, pass_on, pass_on, BEV_OPT_CLOSE_ON_FREE, NULL, NULL);
}

/* A filter hands on what is written to it at once. */
CASE_DIFFERS(http_over_a_filter, "K", "what the filter has handed on is sent before the socket is closed") {
    struct server server;
    serve(&server);
    evhttp_set_bevcb(server.http, filtered, NULL);
    exchange(&server, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                      "GET /b HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
    exchange(&server, "nonsense\r\n\r\n");
    stop(&server);
}
