/* event2/http.h: who lives how long, and who is told of the end. */
#include "http_server.h"

static void on_complete(struct evhttp_request *req, void *arg) {
    (void)arg;
    say("complete %s, connection %d", evhttp_request_get_uri(req),
        evhttp_request_get_connection(req) != NULL);
}

static void on_close(struct evhttp_connection *evcon, void *arg) {
    struct server *server = arg;
    say("closing %d", evhttp_connection_get_bufferevent(evcon) != NULL);
    server->seen++;
}

static struct evhttp_connection *watched(struct server *server, struct evhttp_request *req) {
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    evhttp_request_set_on_complete_cb(req, on_complete, server);
    evhttp_connection_set_closecb(evcon, on_close, server);
    return evcon;
}

static void answer(struct evhttp_request *req) {
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, "ok", 2);
    evhttp_send_reply(req, HTTP_OK, NULL, body);
    evbuffer_free(body);
}

static void keep(struct server *server, struct evhttp_request *req) {
    watched(server, req);
    server->kept = req;
}

/* Sends a request that the program keeps. */
static void ask(struct server *server, struct wire *wire, const char *text) {
    unsigned before = server->requests;
    wire_open(wire, server);
    wire_send(wire, text);
    run_until_count(server->base, &server->requests, before + 1);
}

#define GET(path) "GET " path " HTTP/1.1\r\nHost: h\r\n\r\n"

CASE(http_answers_come_later) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = keep;
    ask(&server, &wire, GET("/a") GET("/b"));
    run_for(server.base, 50);
    say("requests %u", server.requests);
    answer(server.kept);
    run_until_count(server.base, &server.requests, 2);
    answer(server.kept);
    wire_until(&wire, "ok", 2);
    wire_show(&wire);
    wire_close(&wire);
    run_until_count(server.base, &server.seen, 1);
    stop(&server);
}

/* The client goes while its request is being worked on: that is noticed when the answer is sent. */
CASE(http_clients_that_leave) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = keep;
    say("-- closed");
    ask(&server, &wire, GET("/a"));
    wire_close(&wire);
    run_for(server.base, 50);
    say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
    answer(server.kept);
    run_until_count(server.base, &server.seen, 1);
    say("-- reset");
    ask(&server, &wire, GET("/a"));
    event_free(wire.readable);
    close_with_reset(wire.fd);
    run_for(server.base, 50);
    say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
    answer(server.kept);
    run_until_count(server.base, &server.seen, 2);
    say("-- nothing more to say, but to hear");
    ask(&server, &wire, GET("/a"));
    shutdown(wire.fd, SHUT_WR);
    run_for(server.base, 50);
    answer(server.kept);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

CASE_DIFFERS(http_clients_that_have_said_all, "K", "all that was asked for is answered") {
    struct server server;
    static struct wire wire;
    serve(&server);
    server.reply = keep;
    ask(&server, &wire, GET("/a") GET("/b"));
    shutdown(wire.fd, SHUT_WR);
    run_for(server.base, 50);
    answer(server.kept);
    run_until_count(server.base, &server.requests, 2);
    answer(server.kept);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

CASE(http_clients_that_leave_before_they_ask) {
    static const char *const begun[] = {
        "", "GET /a HTTP/1.1\r\nHo", "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
    };
    static struct wire wire;
    struct server server;
    serve(&server);
    for (size_t i = 0; i < COUNT(begun); i++) {
        wire_open(&wire, &server);
        wire_send(&wire, begun[i]);
        shutdown(wire.fd, SHUT_WR);
        wire_to_end(&wire);
        wire_show(&wire);
        wire_close(&wire);
    }
    wire_open(&wire, &server);
    wire_send(&wire, GET("/a"));
    shutdown(wire.fd, SHUT_WR);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

/* The client goes in the middle of a reply: the request is the program's until it ends that. */
CASE(http_clients_that_leave_in_the_middle) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = keep;
    ask(&server, &wire, GET("/a"));
    evhttp_send_reply_start(server.kept, HTTP_OK, NULL);
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, "x", 1);
    evhttp_send_reply_chunk(server.kept, body);
    wire_until(&wire, "x", 1);
    event_free(wire.readable);
    close_with_reset(wire.fd);
    while (server.seen == 0) {
        evbuffer_add(body, "x", 1);
        evhttp_send_reply_chunk(server.kept, body);
        pass(server.base);
    }
    say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
    evbuffer_add(body, "x", 1);
    evhttp_send_reply_chunk(server.kept, body);
    say("left %d", evbuffer_get_length(body) > 0);
    evhttp_send_reply_end(server.kept);
    evbuffer_free(body);
    stop(&server);
}

/* The same, while the program has nothing to send: the end is noticed as soon as a part has been sent. */
CASE(http_clients_that_leave_a_silent_reply) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = keep;
    for (int how = 0; how < 3; how++) {
        unsigned before = server.seen;
        ask(&server, &wire, GET("/a"));
        evhttp_send_reply_start(server.kept, HTTP_OK, NULL);
        struct evbuffer *body = evbuffer_new();
        evbuffer_add(body, "x", 1);
        evhttp_send_reply_chunk(server.kept, body);
        wire_until(&wire, "x", 1);
        event_free(wire.readable);
        if (how == 0)
            close(wire.fd);
        else if (how == 1)
            close_with_reset(wire.fd);
        else
            shutdown(wire.fd, SHUT_WR);
        run_until_count(server.base, &server.seen, before + 1);
        say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
        evhttp_send_reply_end(server.kept);
        evbuffer_free(body);
        if (how == 2)
            close(wire.fd);
    }
    stop(&server);
}

static void show_enabled(struct server *server, struct evhttp_request *req) {
    struct bufferevent *bev =
        evhttp_connection_get_bufferevent(evhttp_request_get_connection(req));
    (void)server;
    say("reading %d", (bufferevent_get_enabled(bev) & EV_READ) != 0);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
    server->kept = req;
}

/* Until it is answered nothing is read, unless the program wants that: then it stays so. */
CASE(http_reading_while_a_request_waits) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = show_enabled;
    ask(&server, &wire, GET("/a"));
    run_for(server.base, 20);
    struct bufferevent *bev =
        evhttp_connection_get_bufferevent(evhttp_request_get_connection(server.kept));
    say("reading %d", (bufferevent_get_enabled(bev) & EV_READ) != 0);
    answer(server.kept);
    wire_until(&wire, "ok", 1);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

CASE(http_timeouts) {
    static const char *const begun[] = {
        "", "GET /a HTTP/1.1\r\nHo", "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", GET("/a"),
    };
    static struct wire wire;
    struct timeval timeout = {0, 50000};
    struct server server;
    serve(&server);
    evhttp_set_timeout_tv(server.http, &timeout);
    for (size_t i = 0; i < COUNT(begun); i++) {
        wire_open(&wire, &server);
        wire_send(&wire, begun[i]);
        wire_to_end(&wire);
        wire_show(&wire);
        wire_close(&wire);
    }
    /* None while the program works. */
    server.reply = keep;
    ask(&server, &wire, GET("/a"));
    run_for(server.base, 120);
    say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
    answer(server.kept);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    /* No more for new connections. */
    evhttp_set_timeout_tv(server.http, NULL);
    server.reply = NULL;
    wire_open(&wire, &server);
    run_for(server.base, 120);
    say("ended %d", wire.ended);
    evhttp_set_timeout(server.http, 1);
    wire_close(&wire);
    stop(&server);
}

/* A client that does not read. */
CASE(http_write_timeout) {
    static struct wire wire;
    struct timeval timeout = {0, 50000};
    struct server server;
    serve(&server);
    server.reply = keep;
    size_t length = 32 << 20;
    char *bytes = calloc(1, length);
    for (int parts = 0; parts < 2; parts++) {
        ask(&server, &wire, GET("/a"));
        event_del(wire.readable);
        evhttp_connection_set_timeout_tv(evhttp_request_get_connection(server.kept), &timeout);
        struct evbuffer *body = evbuffer_new();
        evbuffer_add(body, bytes, length);
        if (parts) {
            evhttp_send_reply_start(server.kept, HTTP_OK, NULL);
            evhttp_send_reply_chunk(server.kept, body);
        } else
            evhttp_send_reply(server.kept, HTTP_OK, NULL, body);
        run_until_count(server.base, &server.seen, (unsigned)parts + 1);
        if (parts) {
            say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
            evhttp_send_reply_end(server.kept);
        }
        evbuffer_free(body);
        wire_close(&wire);
    }
    free(bytes);
    stop(&server);
}

CASE(http_free_server_with_a_request) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = keep;
    ask(&server, &wire, GET("/a"));
    say("free");
    evhttp_free(server.http);
    server.http = NULL;
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

static void free_server(struct server *server, struct evhttp_request *req) {
    watched(server, req);
    evhttp_free(server->http);
    server->http = NULL;
    say("freed");
}

CASE(http_free_server_in_its_callback) {
    struct server server;
    serve(&server);
    server.reply = free_server;
    exchange(&server, GET("/a") LAST);
    stop(&server);
}

static void answer_and_free_server(struct server *server, struct evhttp_request *req) {
    watched(server, req);
    answer(req);
    evhttp_free(server->http);
    server->http = NULL;
    say("freed");
}

CASE(http_free_server_with_an_answer) {
    struct server server;
    event_set_log_callback(ignore_log);
    serve(&server);
    server.reply = answer_and_free_server;
    exchange(&server, GET("/a") LAST);
    stop(&server);
}

static void free_connection(struct server *server, struct evhttp_request *req) {
    evhttp_connection_free(watched(server, req));
    say("freed");
}

CASE(http_free_connection_in_the_callback) {
    struct server server;
    serve(&server);
    server.reply = free_connection;
    exchange(&server, GET("/a") LAST);
    stop(&server);
}

static void answer_and_free_connection(struct server *server, struct evhttp_request *req) {
    struct evhttp_connection *evcon = watched(server, req);
    answer(req);
    evhttp_connection_free(evcon);
    say("freed");
}

CASE(http_free_connection_with_an_answer) {
    struct server server;
    event_set_log_callback(ignore_log);
    serve(&server);
    server.reply = answer_and_free_connection;
    exchange(&server, GET("/a") LAST);
    stop(&server);
}

static void free_in_on_complete(struct evhttp_request *req, void *arg) {
    struct server *server = arg;
    say("complete %s", evhttp_request_get_uri(req));
    if (strcmp(evhttp_request_get_uri(req), "/request") == 0)
        evhttp_request_free(req);
    else if (strcmp(evhttp_request_get_uri(req), "/server") == 0) {
        evhttp_free(server->http);
        server->http = NULL;
    } else
        evhttp_connection_free(evhttp_request_get_connection(req));
}

static void free_later(struct server *server, struct evhttp_request *req) {
    watched(server, req);
    evhttp_request_set_on_complete_cb(req, free_in_on_complete, server);
    answer(req);
}

CASE_DIFFERS(http_free_at_the_end_of_an_answer, "memory safety", "any of them can be freed") {
    struct server server;
    serve(&server);
    server.reply = free_later;
    exchange(&server, GET("/request") GET("/connection") LAST);
    exchange(&server, GET("/server") LAST);
    stop(&server);
}

static void free_again(struct evhttp_connection *evcon, void *arg) {
    on_close(evcon, arg);
    evhttp_connection_free(evcon);
}

static void free_request(struct server *server, struct evhttp_request *req) {
    watched(server, req);
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), free_again, server);
    evhttp_request_free(req);
    say("freed");
}

CASE_DIFFERS(http_free_request_without_an_answer, "memory safety", "the connection is closed") {
    struct server server;
    serve(&server);
    server.reply = free_request;
    exchange(&server, GET("/a") LAST);
    stop(&server);
}

static void free_on_completion(struct server *server, struct evhttp_request *req) {
    evhttp_connection_free_on_completion(watched(server, req));
    answer(req);
}

CASE_DIFFERS(http_free_on_completion, "K", "it works on connections that are kept alive") {
    struct server server;
    serve(&server);
    server.reply = free_on_completion;
    exchange(&server, GET("/a") LAST);
    stop(&server);
}

static void own(struct server *server, struct evhttp_request *req) {
    watched(server, req);
    say("owned %d", evhttp_request_is_owned(req));
    evhttp_request_own(req);
    say("owned %d", evhttp_request_is_owned(req));
    server->kept = req;
    answer(req);
}

CASE_DIFFERS(http_own_a_request, "memory safety", "it stays until it is freed, as documented") {
    struct server server;
    serve(&server);
    server.reply = own;
    exchange(&server, "POST /a HTTP/1.1\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc");
    say_request("kept", server.kept);
    say("owned %d connection %d code %d", evhttp_request_is_owned(server.kept),
        evhttp_request_get_connection(server.kept) != NULL,
        evhttp_request_get_response_code(server.kept));
    answer(server.kept);
    evhttp_request_free(server.kept);
    stop(&server);
}

/* One that is never used for anything. */
CASE(http_request_of_the_program) {
    struct evhttp_request *req = evhttp_request_new(NULL, NULL);
    say("%d %d", evhttp_request_get_connection(req) != NULL, evhttp_request_is_owned(req));
    say("%d %d", evhttp_request_get_uri(req) != NULL, evhttp_request_get_evhttp_uri(req) != NULL);
    say("%d %d", evhttp_request_get_host(req) != NULL, evhttp_request_get_response_code(req));
    say("%d %d", req->kind, evhttp_request_get_command(req));
    evhttp_add_header(evhttp_request_get_input_headers(req), "Host", "h:1");
    evhttp_add_header(evhttp_request_get_output_headers(req), "A", "b");
    say("%s", evhttp_request_get_host(req));
    say("%zu %zu", evbuffer_get_length(evhttp_request_get_input_buffer(req)),
        evbuffer_get_length(evhttp_request_get_output_buffer(req)));
    evhttp_request_free(req);
}

static void flags(struct server *server, struct evhttp_request *req) {
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    (void)server;
    static const int all[] = {0, 0x8, 0x10, 0x20, 0x38, 0x1, 0x40, -1};
    step("flags");
    for (size_t i = 0; i < COUNT(all); i++)
        token("%d", evhttp_connection_set_flags(evcon, all[i]) != 0);
    evhttp_connection_set_timeout(evcon, 5);
    evhttp_connection_set_timeout_tv(evcon, NULL);
    answer(req);
}

CASE(http_connection_settings) {
    struct server server;
    serve(&server);
    server.reply = flags;
    exchange(&server, LAST);
    stop(&server);
}
