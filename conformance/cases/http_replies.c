/* event2/http.h: how a server answers. */
#include "http_server.h"

static struct evbuffer *holding(const char *text) {
    struct evbuffer *buffer = evbuffer_new();
    CHECK(buffer && evbuffer_add(buffer, text, strlen(text)) == 0);
    return buffer;
}

static void on_complete(struct evhttp_request *req, void *arg) {
    say("complete %s %d %d", evhttp_request_get_uri(req), evhttp_request_get_response_code(req),
        arg == req);
}

static void on_close(struct evhttp_connection *evcon, void *server) {
    say("closing %d", evhttp_connection_get_server(evcon) == ((struct server *)server)->http);
}

/* The code is in the path, and a reason of the program's own behind a question mark. */
static void with_code(struct server *server, struct evhttp_request *req) {
    const char *uri = evhttp_request_get_uri(req), *reason = strchr(uri, '?');
    evhttp_request_set_on_complete_cb(req, on_complete, req);
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_close, server);
    struct evbuffer *body = holding("body");
    evhttp_send_reply(req, atoi(uri + 1), reason ? reason + 1 : NULL, body);
    say("sent, left %zu", evbuffer_get_length(body));
    evbuffer_free(body);
}

CASE(http_replies_with_codes) {
    static const int codes[] = {200, 201, 205, 301, 302, 400, 404, 418, 499, 500, 503, 599, 299};
    struct server server;
    serve(&server);
    server.reply = with_code;
    for (size_t i = 0; i < COUNT(codes); i++) {
        char text[200];
        snprintf(text, sizeof text, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n"
                                    "GET /%d?Because HTTP/1.1\r\nConnection: close\r\n\r\n",
                 codes[i], codes[i]);
        exchange(&server, text);
    }
    stop(&server);
}

#define SILENT "HTTP has no body there, and the client would take it for the next answer"

CASE_DIFFERS(http_replies_without_a_body, "K", SILENT) {
    static const char *const requests[] = {"GET /204", "GET /304", "HEAD /200", "HEAD /404"};
    struct server server;
    serve(&server);
    server.reply = with_code;
    for (size_t i = 0; i < COUNT(requests); i++) {
        char text[200];
        snprintf(text, sizeof text, "%s HTTP/1.1\r\nHost: h\r\n\r\n"
                                    "GET /200 HTTP/1.1\r\nConnection: close\r\n\r\n",
                 requests[i]);
        exchange(&server, text);
    }
    stop(&server);
}

CASE_DIFFERS(http_replies_with_codes_that_are_none, "K", "500 instead") {
    static const int codes[] = {0, -5, 1000, 99};
    struct server server;
    serve(&server);
    server.reply = with_code;
    for (size_t i = 0; i < COUNT(codes); i++) {
        char text[200];
        snprintf(text, sizeof text, "GET /%d HTTP/1.1\r\nConnection: close\r\n\r\n", codes[i]);
        exchange(&server, text);
    }
    stop(&server);
}

/* Which headers the program sets is in the path. */
static void with_headers(struct server *server, struct evhttp_request *req) {
    struct evkeyvalq *headers = evhttp_request_get_output_headers(req);
    (void)server;
    for (const char *at = evhttp_request_get_uri(req) + 1; *at; at++) {
        switch (*at) {
        case 'd': evhttp_add_header(headers, "Date", "today"); break;
        case 't': evhttp_add_header(headers, "Content-Type", "a/b"); break;
        case 'l': evhttp_add_header(headers, "Content-Length", "8"); break;
        case 'c': evhttp_add_header(headers, "Connection", "close"); break;
        case 'k': evhttp_add_header(headers, "connection", "keep-alive"); break;
        case 'x': evhttp_add_header(headers, "X-Mine", "a"); break;
        case 'y': evhttp_add_header(headers, "x-mine", "b"); break;
        }
    }
    evbuffer_add(evhttp_request_get_output_buffer(req), "mine", 4);
    struct evbuffer *body = holding("body");
    evhttp_send_reply(req, HTTP_OK, "Fine", body);
    evbuffer_free(body);
}

CASE(http_reply_headers) {
    static const char *const paths[] = {"/", "/d", "/t", "/l", "/c", "/xy", "/xdlt"};
    struct server server;
    serve(&server);
    server.reply = with_headers;
    exchange(&server, "GET /k HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
    for (size_t i = 0; i < COUNT(paths); i++) {
        char text[200];
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: h\r\n\r\n"
                                    "GET /dt HTTP/1.1\r\nConnection: close\r\n\r\n", paths[i]);
        exchange(&server, text);
        snprintf(text, sizeof text, "GET %s HTTP/1.0\r\nHost: h\r\n\r\n", paths[i]);
        exchange(&server, text);
    }
    exchange(&server, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    evhttp_set_default_content_type(server.http, "m/m");
    exchange(&server, "GET / HTTP/1.0\r\n\r\n");
    evhttp_set_default_content_type(server.http, NULL);
    exchange(&server, "GET / HTTP/1.0\r\n\r\n");
    exchange(&server, "GET /t HTTP/1.0\r\n\r\n");
    stop(&server);
}

CASE_DIFFERS(http_replies_that_promise_to_stay, "K", "a connection that ends says so") {
    struct server server;
    serve(&server);
    server.reply = with_headers;
    exchange(&server, "GET /k HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n");
    exchange(&server, "GET /k HTTP/1.0\r\n\r\n");
    stop(&server);
}

CASE_DIFFERS(http_connection_is_a_list, "K", "close is an element of a list") {
    struct server server;
    static struct wire wire;
    serve(&server);
    wire_open(&wire, &server);
    wire_send(&wire, "GET / HTTP/1.1\r\nHost: h\r\nConnection: te, close\r\n\r\n");
    wire_until(&wire, "ok", 1);
    run_for(server.base, 50);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

static void with_wrong_length(struct server *server, struct evhttp_request *req) {
    (void)server;
    const char *length = evhttp_request_get_uri(req) + 1;
    evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Length", length);
    evbuffer_add(evhttp_request_get_output_buffer(req), "body", 4);
    evhttp_send_reply(req, HTTP_OK, NULL, NULL);
}

CASE_DIFFERS(http_replies_with_a_length_that_is_not_theirs, "K",
    "no byte of one answer is taken for another one") {
    struct server server;
    serve(&server);
    server.reply = with_wrong_length;
    static const char *const lengths[] = {"2", "9", "0", "x"};
    for (size_t i = 0; i < COUNT(lengths); i++) {
        char text[200];
        snprintf(text, sizeof text, "GET /%s HTTP/1.1\r\nHost: h\r\n\r\n"
                                    "GET /4 HTTP/1.1\r\nConnection: close\r\n\r\n", lengths[i]);
        exchange(&server, text);
    }
    stop(&server);
}

static void with_error(struct server *server, struct evhttp_request *req) {
    const char *uri = evhttp_request_get_uri(req), *reason = strchr(uri, '?');
    evhttp_request_set_on_complete_cb(req, on_complete, req);
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_close, server);
    evhttp_add_header(evhttp_request_get_output_headers(req), "X-Mine", "1");
    evbuffer_add(evhttp_request_get_output_buffer(req), "mine", 4);
    evhttp_send_error(req, atoi(uri + 1), reason ? reason + 1 : NULL);
    say("sent");
}

CASE(http_errors) {
    static const int codes[] = {200, 301, 400, 404, 405, 413, 417, 500, 501, 503, 599, 600, 999};
    struct server server;
    serve(&server);
    server.reply = with_error;
    for (size_t i = 0; i < COUNT(codes); i++) {
        char text[200];
        snprintf(text, sizeof text, "GET /%d HTTP/1.1\r\nHost: h\r\n\r\n" LAST, codes[i]);
        exchange(&server, text);
    }
    exchange(&server, "GET /404?Because HTTP/1.1\r\nHost: h\r\n\r\n");
    exchange(&server, "GET /404 HTTP/1.1\r\nConnection: close\r\n\r\n");
    exchange(&server, "GET /404 HTTP/1.0\r\nConnection: keep-alive\r\n\r\n");
    exchange(&server, "GET /404 HTTP/1.0\r\n\r\n");
    stop(&server);
}

CASE_DIFFERS(http_error_with_markup, "K", "the reason is text in the page") {
    struct server server;
    serve(&server);
    server.reply = with_error;
    exchange(&server, "GET /404?<b>&\" HTTP/1.1\r\nHost: h\r\n\r\n");
    stop(&server);
}

static void on_part(struct evhttp_connection *evcon, void *arg) {
    say("part %s %d", (const char *)arg, evcon != NULL);
}

static void in_parts(struct server *server, struct evhttp_request *req) {
    evhttp_request_set_on_complete_cb(req, on_complete, req);
    evhttp_connection_set_closecb(evhttp_request_get_connection(req), on_close, server);
    if (strcmp(evhttp_request_get_uri(req), "/length") == 0)
        evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Length", "7");
    evhttp_send_reply_start(req, HTTP_OK, "Yes");
    struct evbuffer *body = holding("abc");
    evhttp_send_reply_chunk(req, body);
    say("left %zu", evbuffer_get_length(body));
    evbuffer_add(body, "defg", 4);
    /* The next one, and the end, come before this has been written. */
    evhttp_send_reply_chunk_with_cb(req, body, on_part, "lost");
    evhttp_send_reply_chunk(req, body);
    evbuffer_free(body);
    evhttp_send_reply_end(req);
    say("sent");
}

CASE(http_replies_in_parts) {
    struct server server;
    serve(&server);
    server.reply = in_parts;
    exchange(&server, "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    exchange(&server, "GET /length HTTP/1.1\r\nHost: h\r\n\r\n"
                      "GET /length HTTP/1.1\r\nConnection: close\r\n\r\n");
    exchange(&server, "GET / HTTP/1.0\r\n\r\n");
    exchange(&server, "GET /length HTTP/1.0\r\n\r\n");
    exchange(&server, "GET /length HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET /length HTTP/1.0\r\n\r\n");
    stop(&server);
}

CASE_DIFFERS(http_parts_of_a_reply_without_a_body, "K", "the buffer is empty afterwards, as documented") {
    struct server server;
    serve(&server);
    server.reply = in_parts;
    exchange(&server, "HEAD / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    stop(&server);
}

CASE_DIFFERS(http_parts_for_http_1_0, "K", "the end of the connection is the end of the body") {
    struct server server;
    serve(&server);
    server.reply = in_parts;
    exchange(&server, "GET / HTTP/1.0\r\nConnection: keep-alive\r\n\r\nGET / HTTP/1.0\r\n\r\n");
    stop(&server);
}

struct slow {
    struct server *server;
    struct evhttp_request *req;
    unsigned parts;
};

/* Each part is sent when the one before has been written. */
static void next_part(struct evhttp_connection *evcon, void *arg) {
    struct slow *slow = arg;
    say("written %u %d", slow->parts, evcon == evhttp_request_get_connection(slow->req));
    if (++slow->parts == 4) {
        evhttp_send_reply_end(slow->req);
        return;
    }
    struct evbuffer *body = evbuffer_new();
    evbuffer_add_printf(body, "part %u", slow->parts);
    evhttp_send_reply_chunk_with_cb(slow->req, body, next_part, slow);
    evbuffer_free(body);
}

static void one_by_one(struct server *server, struct evhttp_request *req) {
    static struct slow slow;
    slow = (struct slow){server, req, 0};
    evhttp_request_set_on_complete_cb(req, on_complete, req);
    if (strcmp(evhttp_request_get_uri(req), "/length") == 0)
        evhttp_add_header(evhttp_request_get_output_headers(req), "Content-Length", "21");
    evhttp_send_reply_start(req, HTTP_OK, NULL);
    struct evbuffer *body = holding("begin ");
    evhttp_send_reply_chunk_with_cb(req, body, next_part, &slow);
    evbuffer_free(body);
}

CASE(http_parts_one_by_one) {
    struct server server;
    serve(&server);
    server.reply = one_by_one;
    exchange(&server, "GET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    exchange(&server, "GET / HTTP/1.0\r\n\r\n");
    exchange(&server, "GET / HTTP/1.1\r\nHost: h\r\n\r\nGET / HTTP/1.1\r\nConnection: close\r\n\r\n");
    stop(&server);
}

/* A large body of each kind: what comes is what was sent. */
static void large(struct server *server, struct evhttp_request *req) {
    enum { LENGTH = 3000000 };
    static unsigned char bytes[LENGTH];
    (void)server;
    fill(bytes, LENGTH, 7);
    struct evbuffer *body = evbuffer_new();
    if (strcmp(evhttp_request_get_uri(req), "/parts") == 0) {
        evhttp_send_reply_start(req, HTTP_OK, NULL);
        for (size_t done = 0; done < LENGTH; done += LENGTH / 3) {
            evbuffer_add(body, bytes + done, LENGTH / 3);
            evhttp_send_reply_chunk(req, body);
        }
        evhttp_send_reply_end(req);
    } else if (strcmp(evhttp_request_get_uri(req), "/file") == 0) {
        FILE *file = tmpfile();
        CHECK(file && fwrite(bytes, 1, LENGTH, file) == LENGTH && fflush(file) == 0);
        CHECK(evbuffer_add_file(body, dup(fileno(file)), 0, LENGTH) == 0);
        fclose(file);
        evhttp_send_reply(req, HTTP_OK, NULL, body);
    } else {
        evbuffer_add(body, bytes, LENGTH);
        evhttp_send_reply(req, HTTP_OK, NULL, body);
    }
    evbuffer_free(body);
}

struct sink {
    struct wire wire;
    struct event *event;
    size_t length;
    uint64_t hash;
    bool in_body;
};

static void sink_readable(evutil_socket_t fd, short what, void *arg) {
    static char bytes[65536];
    struct sink *sink = arg;
    (void)what;
    ssize_t n;
    while ((n = recv(fd, bytes, sizeof bytes, 0)) > 0) {
        char *at = bytes;
        if (!sink->in_body) {
            /* The head comes in one piece, and only the date in it varies. */
            at = memmem(bytes, (size_t)n, "\r\n\r\n", 4);
            CHECK(at);
            at += 4;
            sink->in_body = true;
        }
        sink->hash = hash_bytes(sink->hash, at, (size_t)(bytes + n - at));
        sink->length += (size_t)(bytes + n - at);
    }
    if (n == 0) {
        sink->wire.ended = true;
        event_del(sink->event);
    }
}

CASE(http_large_replies) {
    static const char *const paths[] = {"/whole", "/parts", "/file"};
    struct server server;
    serve(&server);
    server.reply = large;
    for (size_t i = 0; i < COUNT(paths); i++) {
        static struct sink sink;
        char text[100];
        memset(&sink, 0, sizeof sink);
        sink.hash = HASH_START;
        wire_open(&sink.wire, &server);
        event_del(sink.wire.readable);
        sink.event = event_new(server.base, sink.wire.fd, EV_READ | EV_PERSIST, sink_readable, &sink);
        event_add(sink.event, NULL);
        snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nConnection: close\r\n\r\n", paths[i]);
        wire_send(&sink.wire, text);
        wire_to_end(&sink.wire);
        say("%zu %016llx", sink.length, (unsigned long long)sink.hash);
        event_free(sink.event);
        wire_close(&sink.wire);
    }
    stop(&server);
}

static void twice(struct server *server, struct evhttp_request *req) {
    (void)server;
    evhttp_send_reply(req, HTTP_OK, NULL, NULL);
    evhttp_send_error(req, 500, NULL);
    evhttp_send_reply_start(req, HTTP_OK, NULL);
    struct evbuffer *body = holding("x");
    evhttp_send_reply_chunk(req, body);
    evbuffer_free(body);
}

CASE_DIFFERS(http_a_second_answer, "K", "a request is answered once; one line in the log") {
    struct server server;
    event_set_log_callback(ignore_log);
    serve(&server);
    server.reply = twice;
    exchange(&server, "GET / HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
    stop(&server);
}

static void interrupted(struct server *server, struct evhttp_request *req) {
    (void)server;
    evhttp_send_reply_start(req, HTTP_OK, NULL);
    struct evbuffer *body = holding("x");
    evhttp_send_reply_chunk(req, body);
    evbuffer_free(body);
    evhttp_send_error(req, 500, NULL);
}

CASE_DIFFERS(http_an_error_in_the_middle_of_a_reply, "K", "the connection ends, and nobody takes the page for the body") {
    struct server server;
    event_set_log_callback(ignore_log);
    serve(&server);
    server.reply = interrupted;
    exchange(&server, "GET / HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
    stop(&server);
}
