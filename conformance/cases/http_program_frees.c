/* What a server's program may do in callbacks of buffers and in its close callback, and strings that it hands back. */
#include "http_watched.h"

static void answer_with_its_own_line(struct server *server, struct evhttp_request *req) {
    (void)server;
    req->response_code_line = strdup("A reason that the request has already");
    evhttp_send_reply(req, HTTP_OK, req->response_code_line, NULL);
}

CASE_DIFFERS(http_reason_of_the_request, "memory safety", "the string may be the one that is replaced") {
    struct server server;
    serve(&server);
    server.reply = answer_with_its_own_line;
    exchange(&server, GET("/a") LAST);
    stop(&server);
}

/* The connection goes when bytes are taken out of its input, the first time or a later one. */
static unsigned taken, free_at;

static void free_when_taken(struct evbuffer *input, const struct evbuffer_cb_info *info, void *arg) {
    if (info->n_deleted == 0 || ++taken != free_at)
        return;
    say("freed");
    evbuffer_remove_cb(input, free_when_taken, arg);
    evhttp_connection_free(arg);
}

static void answer_and_watch_the_input(struct server *server, struct evhttp_request *req) {
    struct evhttp_connection *evcon = watched(server, req);
    struct bufferevent *bev = evhttp_connection_get_bufferevent(evcon);
    evbuffer_add_cb(bufferevent_get_input(bev), free_when_taken, evcon);
    answer(req);
}

CASE_DIFFERS(http_free_connection_with_a_body, "memory safety", "the request is not used any more") {
    for (free_at = 1; free_at <= 2; free_at++) {
        struct server server;
        struct wire wire;
        taken = 0;
        serve(&server);
        server.reply = answer_and_watch_the_input;
        wire_open(&wire, &server);
        wire_send(&wire, GET("/a"));
        run_until_count(server.base, &server.requests, 1);
        wire_send(&wire, "POST /b HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nabcde");
        run_until_count(server.base, &server.seen, 1);
        wire_close(&wire);
        stop(&server);
    }
}

/* Answers what the connection still had, after its server has gone. */
static void free_server_and_answer(struct evhttp_connection *evcon, void *arg) {
    struct server *server = arg;
    on_close(evcon, arg);
    evhttp_free(server->http);
    server->http = NULL;
    evhttp_send_reply_start(server->kept, HTTP_OK, "OK");
}

CASE_DIFFERS(http_answer_in_the_close_callback, "memory safety", "it is too late, and nothing happens") {
    struct server server;
    struct wire wire;
    serve(&server);
    server.reply = keep;
    ask(&server, &wire, GET("/a"));
    struct evhttp_connection *evcon = evhttp_request_get_connection(server.kept);
    evhttp_connection_set_closecb(evcon, free_server_and_answer, &server);
    evhttp_connection_free(evcon);
    say("closed %u", server.seen);
    wire_close(&wire);
    stop(&server);
}

static struct bufferevent *other_end;

static struct bufferevent *make_pair(struct event_base *base, void *arg) {
    struct bufferevent *pair[2];
    unsigned *made = arg;
    CHECK(bufferevent_pair_new(base, 0, pair) == 0);
    other_end = pair[1];
    ++*made;
    return pair[0];
}

CASE(http_bufferevent_without_a_descriptor) /* the client is turned away */ {
    struct server server;
    struct wire wire;
    unsigned made = 0;
    event_set_log_callback(ignore_log);
    serve(&server);
    evhttp_set_bevcb(server.http, make_pair, &made);
    wire_open(&wire, &server);
    run_until_count(server.base, &made, 1);
    calm(server.base);
    say("made %u, ended %d", made, wire.ended);
    wire_close(&wire);
    bufferevent_free(other_end);
    stop(&server);
}
