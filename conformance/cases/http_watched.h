/* What the cases share that watch who is told of the end of a request and of its connection. */
#ifndef HTTP_WATCHED_H
#define HTTP_WATCHED_H

#include "http_server.h"

static inline void on_complete(struct evhttp_request *req, void *arg) {
    (void)arg;
    say("complete %s, connection %d", evhttp_request_get_uri(req),
        evhttp_request_get_connection(req) != NULL);
}

static inline void on_close(struct evhttp_connection *evcon, void *arg) {
    struct server *server = arg;
    say("closing %d", evhttp_connection_get_bufferevent(evcon) != NULL);
    server->seen++;
}

static inline struct evhttp_connection *watched(struct server *server, struct evhttp_request *req) {
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    evhttp_request_set_on_complete_cb(req, on_complete, server);
    evhttp_connection_set_closecb(evcon, on_close, server);
    return evcon;
}

static inline void answer(struct evhttp_request *req) {
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, "ok", 2);
    evhttp_send_reply(req, HTTP_OK, NULL, body);
    evbuffer_free(body);
}

static inline void keep(struct server *server, struct evhttp_request *req) {
    watched(server, req);
    server->kept = req;
}

/* Sends a request that the program keeps. */
static inline void ask(struct server *server, struct wire *wire, const char *text) {
    unsigned before = server->requests;
    wire_open(wire, server);
    wire_send(wire, text);
    run_until_count(server->base, &server->requests, before + 1);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

#endif
