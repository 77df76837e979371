/* event2/http.h: who lives how long, and who is told of the end. */
#include "http_watched.h"

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

static void free_server_on_close(struct evhttp_connection *evcon, void *arg) {
    struct server *server = arg;
    on_close(evcon, arg);
    evhttp_free(server->http);
    server->http = NULL;
}

static void watch_and_answer(struct server *server, struct evhttp_request *req) {
    watched(server, req);
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), free_server_on_close, server);
    answer(req);
}

CASE_DIFFERS(http_free_server_in_the_close_callback, "memory safety", "anything can be freed anywhere") {
    static const char *const ends[] = {LAST, "nonsense\r\n\r\n"};
    for (size_t i = 0; i < COUNT(ends); i++) {
        char text[200];
        struct server server;
        serve(&server);
        server.reply = watch_and_answer;
        snprintf(text, sizeof text, GET("/a") "%s", ends[i]);
        exchange(&server, text);
        stop(&server);
    }
}

/* A virtual host is freed without having been removed. */
CASE_DIFFERS(http_free_virtual_host, "memory safety", "its server forgets it") {
    struct server server;
    serve(&server);
    struct evhttp *host = evhttp_new(NULL);
    CHECK(evhttp_add_virtual_host(server.http, "h", host) == 0);
    evhttp_free(host);
    exchange(&server, LAST);
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

static void own_read(struct bufferevent *bev, void *arg) {
    (void)arg;
    say("the program's callback, %zu bytes", evbuffer_get_length(bufferevent_get_input(bev)));
}

static void take_over(struct server *server, struct evhttp_request *req) {
    struct evhttp_connection *evcon = watched(server, req);
    struct bufferevent *bev = evhttp_connection_get_bufferevent(evcon);
    bufferevent_setcb(bev, own_read, NULL, NULL, server);
    bufferevent_enable(bev, EV_READ);
    server->kept = req;
}

/* The program has callbacks of its own while a request waits; the server's are back with the answer. */
CASE(http_callbacks_of_the_program) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = take_over;
    for (int parts = 0; parts < 2; parts++) {
        ask(&server, &wire, GET("/a"));
        server.reply = NULL;
        if (parts) {
            evhttp_send_reply_start(server.kept, HTTP_OK, NULL);
            evhttp_send_reply_end(server.kept);
        } else
            answer(server.kept);
        wire_until(&wire, parts ? "0\r\n\r\n" : "ok", 1);
        wire_show(&wire);
        wire_send(&wire, LAST);
        wire_to_end(&wire);
        wire_show(&wire);
        wire_close(&wire);
        server.reply = take_over;
    }
    stop(&server);
}
