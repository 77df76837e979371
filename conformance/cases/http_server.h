/* What the cases of evhttp's servers share: a server with callbacks that trace, and a client that
 * sends bytes as they stand and shows what comes back. */
#ifndef HTTP_SERVER_H
#define HTTP_SERVER_H

#include "http.h"

#include <event2/buffer.h>
#include <event2/event_compat.h>
#include <event2/http_compat.h>
#include <event2/http_struct.h>
#include <event2/listener.h>

struct server {
    struct event_base *base;
    struct evhttp *http;
    uint16_t port;
    unsigned requests;                                            /* given to on_request so far */
    void (*reply)(struct server *, struct evhttp_request *);      /* NULL: 200 with "ok" */
    struct evhttp_request *kept;                                  /* for the case */
    unsigned seen;                                                /* for the case */
};

/* One connection of the client's. */
struct wire {
    struct event_base *base;
    int fd;
    struct event *readable;
    char text[65536];
    size_t length;
    bool ended; /* an end or a reset */
};

/* For event_set_log_callback. */
static inline void ignore_log(int severity, const char *text) {
    (void)severity;
    (void)text;
}

static inline const char *method_name(enum evhttp_cmd_type type) {
    switch (type) {
    case EVHTTP_REQ_GET: return "GET";
    case EVHTTP_REQ_POST: return "POST";
    case EVHTTP_REQ_HEAD: return "HEAD";
    case EVHTTP_REQ_PUT: return "PUT";
    case EVHTTP_REQ_DELETE: return "DELETE";
    case EVHTTP_REQ_OPTIONS: return "OPTIONS";
    case EVHTTP_REQ_TRACE: return "TRACE";
    case EVHTTP_REQ_CONNECT: return "CONNECT";
    case EVHTTP_REQ_PATCH: return "PATCH";
    default: return "none";
    }
}

static inline void token_buffer(struct evbuffer *buffer) {
    size_t length = evbuffer_get_length(buffer);
    if (length > 2000)
        token("%zu bytes", length);
    else
        token_bytes((const char *)evbuffer_pullup(buffer, -1), length);
}

/* What the callback finds in a request, on a line. */
static inline void say_request(const char *who, struct evhttp_request *req) {
    step(who);
    token("%s", method_name(evhttp_request_get_command(req)));
    token_text(evhttp_request_get_uri(req));
    token("%d.%d", req->major, req->minor);
    token_list(evhttp_request_get_input_headers(req));
    token("body");
    token_buffer(evhttp_request_get_input_buffer(req));
}

static inline void on_request(struct evhttp_request *req, void *arg) {
    struct server *server = arg;
    server->requests++;
    say_request("request", req);
    if (server->reply) {
        server->reply(server, req);
        return;
    }
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, "ok", 2);
    evhttp_send_reply(req, HTTP_OK, "OK", body);
    evbuffer_free(body);
}

static inline uint16_t port_of(int fd) {
    struct sockaddr_in address;
    socklen_t length = sizeof address;
    CHECK(getsockname(fd, (struct sockaddr *)&address, &length) == 0);
    return ntohs(address.sin_port);
}

/* A server on a free port of the loopback interface, whose general callback is on_request. */
static inline void serve(struct server *server) {
    memset(server, 0, sizeof *server);
    server->base = new_base();
    server->http = evhttp_new(server->base);
    CHECK(server->http);
    struct evhttp_bound_socket *bound =
        evhttp_bind_socket_with_handle(server->http, "127.0.0.1", 0);
    CHECK(bound);
    server->port = port_of(evhttp_bound_socket_get_fd(bound));
    evhttp_set_gencb(server->http, on_request, server);
}

static inline void stop(struct server *server) {
    if (server->http)
        evhttp_free(server->http);
    event_base_free(server->base);
}

static inline void wire_readable(evutil_socket_t fd, short what, void *arg) {
    struct wire *wire = arg;
    (void)what;
    for (;;) {
        ssize_t n = recv(fd, wire->text + wire->length, sizeof wire->text - 1 - wire->length, 0);
        if (n < 0 && errno == EAGAIN)
            return;
        if (n <= 0)
            break;
        wire->length += (size_t)n;
        wire->text[wire->length] = 0;
    }
    wire->ended = true;
    event_del(wire->readable);
}

static inline void wire_of(struct wire *wire, struct event_base *base, int fd) {
    wire->base = base;
    wire->fd = fd;
    wire->length = 0;
    wire->text[0] = 0;
    wire->ended = false;
    set_nonblocking(fd);
    wire->readable = event_new(base, fd, EV_READ | EV_PERSIST, wire_readable, wire);
    CHECK(wire->readable && event_add(wire->readable, NULL) == 0);
}

static inline void wire_open(struct wire *wire, struct server *server) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(server->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0), one = 1;
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    CHECK(setsockopt(fd, IPPROTO_TCP, TCP_NODELAY, &one, sizeof one) == 0);
    wire_of(wire, server->base, fd);
}

static inline void wire_send(struct wire *wire, const char *text) {
    send_all(wire->fd, text, strlen(text));
}

static inline void wire_close(struct wire *wire) {
    event_free(wire->readable);
    close(wire->fd);
}

static inline bool wire_has_ended(void *arg) { return ((struct wire *)arg)->ended; }

/* Until the server has closed the connection. */
static inline void wire_to_end(struct wire *wire) { run_until(wire->base, wire_has_ended, wire); }

struct wanted {
    struct wire *wire;
    const char *text;
    unsigned count;
};

static inline bool wire_has(void *arg) {
    struct wanted *wanted = arg;
    unsigned count = 0;
    for (const char *at = wanted->wire->text; (at = strstr(at, wanted->text)); at++)
        count++;
    return count >= wanted->count || wanted->wire->ended;
}

/* Until `text` has come `count` times, or the end. */
static inline void wire_until(struct wire *wire, const char *text, unsigned count) {
    struct wanted wanted = {wire, text, count};
    run_until(wire->base, wire_has, &wanted);
}

static inline void say_line(const char *text, size_t length) {
    char shown[4 * 500 + 1];
    size_t used = 0;
    if (length > 500) {
        say("< %zu bytes", length);
        return;
    }
    for (size_t i = 0; i < length; i++) {
        unsigned char byte = (unsigned char)text[i];
        bool plain = byte >= ' ' && byte < 127;
        used += (size_t)sprintf(shown + used, plain ? "%c" : "\\x%02x", byte);
    }
    shown[used] = 0;
    say("< %s", shown);
}

/* Shows what has come, line by line and without the date, and forgets it. */
static inline void wire_show(struct wire *wire) {
    char *at = wire->text, *end = wire->text + wire->length;
    while (at < end) {
        char *next = memmem(at, (size_t)(end - at), "\r\n", 2);
        size_t length = next ? (size_t)(next - at) : (size_t)(end - at);
        if (strncmp(at, "Date: ", 6) == 0)
            say("< Date%s", length == strlen("Date: Thu, 01 Jan 1970 00:00:00 GMT") ? "" : "?");
        else
            say_line(at, length);
        at = next ? next + 2 : end;
    }
    if (wire->ended)
        say("< closed");
    wire->length = 0;
    wire->text[0] = 0;
}

/* Sends `text` on a connection of its own, and shows what comes until the server closes it. */
static inline void exchange(struct server *server, const char *text) {
    static struct wire wire;
    wire_open(&wire, server);
    wire_send(&wire, text);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
}

/* A request with which a connection ends: what came before it was taken for whole messages. */
#define LAST "GET /last HTTP/1.1\r\nHost: h\r\nConnection: close\r\n\r\n"

#endif
