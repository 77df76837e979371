/* What the cases of evhttp's client share: a server on a raw socket in the client's own loop that
 * answers from a script, and requests whose callbacks write the trace. */
#ifndef HTTP_CLIENT_H
#define HTTP_CLIENT_H

#include "http.h"

#include <event2/http_struct.h>

/* What a server's connection does once a request is there, or at its start. */
struct answer {
    const char *text; /* sent as it is; NULL for nothing */
    enum {
        KEEP,  /* the connection stays open */
        CLOSE, /* it is closed */
        RESET, /* with a reset */
    } then;
    bool at_once;   /* without a request */
    bool piecewise; /* one byte in each pass */
    size_t letters; /* so many letters follow the text */
};

struct server {
    struct event_base *base;
    int listener;
    struct event *accepting;
    struct sockaddr_in address;
    const struct answer *answers; /* one for each request, whatever its connection */
    unsigned count, next;
    unsigned connections, requests, ends; /* so far */
    bool quiet;                           /* requests are not shown */
    struct server_connection *open[8];
};

struct server_connection {
    struct server *server;
    unsigned number;
    int fd;
    struct event *readable;
    char taken[65536];
    size_t length;
    const char *rest; /* of an answer that is sent piecewise */
    int then;
    struct event *more;
    bool continued; /* a head that asks for it has been answered */
};

static inline void connection_end(struct server_connection *connection, int then) {
    struct server *server = connection->server;
    event_free(connection->readable);
    event_free(connection->more);
    if (then == RESET)
        close_with_reset(connection->fd);
    else
        close(connection->fd);
    server->open[connection->number] = NULL;
    free(connection);
}

static inline void answer_byte(evutil_socket_t fd, short what, void *arg) {
    struct server_connection *connection = arg;
    (void)fd;
    (void)what;
    if (*connection->rest) {
        send_all(connection->fd, connection->rest++, 1);
        struct timeval soon = {0, 500};
        event_add(connection->more, &soon);
    } else if (connection->then != KEEP) {
        connection_end(connection, connection->then);
    }
}

/* A text with so many letters behind it, all at once. */
static inline void send_letters(int fd, const char *text, size_t letters) {
    char data[4096];
    size_t length = strlen(text);
    CHECK(length + letters <= sizeof data);
    memcpy(data, text, length);
    for (size_t i = 0; i < letters; i++)
        data[length++] = (char)('a' + i % 26);
    if (length > 0)
        send_all(fd, data, length);
}

/* False if the connection is gone. */
static inline bool connection_answer(struct server_connection *connection) {
    struct server *server = connection->server;
    if (server->next == server->count)
        return true;
    const struct answer *answer = &server->answers[server->next++];
    if (answer->piecewise) {
        connection->rest = answer->text;
        connection->then = answer->then;
        answer_byte(-1, 0, connection);
        return true;
    }
    send_letters(connection->fd, answer->text ? answer->text : "", answer->letters);
    if (answer->then == KEEP)
        return true;
    connection_end(connection, answer->then);
    return false;
}

/* The length of the first whole request in what has come, or 0. */
static inline size_t whole_request(struct server_connection *connection) {
    char *end = strstr(connection->taken, "\r\n\r\n");
    if (!end)
        return 0;
    size_t head = (size_t)(end + 4 - connection->taken);
    char *field = strstr(connection->taken, "Content-Length: ");
    size_t body = field && field < end ? strtoul(field + 16, NULL, 10) : 0;
    return connection->length >= head + body ? head + body : 0;
}

/* Line by line; the port, which is another one each time, is shown as PORT. */
static inline void show_request(struct server_connection *connection, size_t length) {
    char port[16], shown[65536 + 1], *next = connection->taken;
    sprintf(port, ":%d", ntohs(connection->server->address.sin_port));
    say("request %u on connection %u", connection->server->requests, connection->number + 1);
    size_t at = 0;
    for (char *end = connection->taken + length; next < end; next++) {
        if (strncmp(next, port, strlen(port)) == 0) {
            at += (size_t)sprintf(shown + at, ":PORT");
            next += strlen(port) - 1;
        } else if (*next == '\n') {
            shown[at] = 0;
            say("  | %s", shown);
            at = 0;
        } else if (*next != '\r') {
            shown[at++] = *next;
        }
    }
    shown[at] = 0;
    if (at)
        say("  | %s (without a line's end)", shown);
}

static inline void on_request_bytes(evutil_socket_t fd, short what, void *arg) {
    struct server_connection *connection = arg;
    struct server *server = connection->server;
    bool eof = false;
    (void)what;
    size_t room = sizeof connection->taken - 1 - connection->length;
    connection->length += recv_now(fd, connection->taken + connection->length, room, &eof);
    connection->taken[connection->length] = 0;
    if (eof) {
        server->ends++;
        if (!server->quiet)
            say("connection %u ended by the client", connection->number + 1);
        connection_end(connection, KEEP);
        return;
    }
    size_t length;
    if (!connection->continued && strstr(connection->taken, "Expect: 100-continue") &&
        strstr(connection->taken, "\r\n\r\n")) {
        connection->continued = true;
        say("the server is asked whether to go on");
        if (!connection_answer(connection))
            return;
    }
    while ((length = whole_request(connection)) > 0) {
        server->requests++;
        if (!server->quiet)
            show_request(connection, length);
        connection->length -= length;
        memmove(connection->taken, connection->taken + length, connection->length);
        if (!connection_answer(connection))
            return;
    }
}

static inline void on_accept(evutil_socket_t fd, short what, void *arg) {
    struct server *server = arg;
    (void)what;
    struct server_connection *connection = calloc(1, sizeof *connection);
    CHECK(connection && server->connections < COUNT(server->open));
    connection->server = server;
    connection->number = server->connections++;
    connection->fd = accept(fd, NULL, NULL);
    CHECK(connection->fd >= 0);
    set_nonblocking(connection->fd);
    server->open[connection->number] = connection;
    connection->readable =
        event_new(server->base, connection->fd, EV_READ | EV_PERSIST, on_request_bytes, connection);
    connection->more = event_new(server->base, -1, 0, answer_byte, connection);
    CHECK(connection->readable && connection->more && event_add(connection->readable, NULL) == 0);
    if (server->next < server->count && server->answers[server->next].at_once)
        connection_answer(connection);
}

static inline void server_open(struct server *server, struct event_base *base,
                               const struct answer *answers, unsigned count) {
    memset(server, 0, sizeof *server);
    server->base = base;
    server->answers = answers;
    server->count = count;
    server->listener = tcp_listener(&server->address);
    server->accepting = event_new(base, server->listener, EV_READ | EV_PERSIST, on_accept, server);
    CHECK(server->accepting && event_add(server->accepting, NULL) == 0);
}

static inline ev_uint16_t server_port(const struct server *server) {
    return ntohs(server->address.sin_port);
}

/* Closes what the server has open. */
static inline void server_close(struct server *server) {
    for (unsigned i = 0; i < COUNT(server->open); i++)
        if (server->open[i])
            connection_end(server->open[i], KEEP);
    event_free(server->accepting);
    close(server->listener);
}

/* ---- The client ---- */

/* A request that traces; the argument of its callbacks. `done` is the number of its callbacks, and
 * of what a case does instead of waiting for one. */
struct asked {
    const char *name;
    struct evhttp_request *request; /* until its callback has come */
    struct evhttp_connection *connection;
    unsigned done, errors, heads, chunks, completes;
    size_t chunked; /* bytes that the chunk callback was given */
    bool quiet_chunks;
    int head_result;
    void (*on_done)(struct asked *, struct evhttp_request *);
    void (*on_error)(struct asked *);
    void (*on_head)(struct asked *, struct evhttp_request *);
    void (*on_chunk)(struct asked *, struct evhttp_request *);
    void (*on_complete)(struct asked *, struct evhttp_request *);
    void *extra;
};

static inline void show_response(struct evhttp_request *request) {
    struct evkeyval *header;
    token("%d", evhttp_request_get_response_code(request));
    token_text(evhttp_request_get_response_code_line(request));
    token("HTTP/%d.%d", request->major, request->minor);
    TAILQ_FOREACH(header, evhttp_request_get_input_headers(request), next) {
        token_text(header->key);
        token("=");
        token_text(header->value);
    }
}

static inline void show_body(struct evhttp_request *request) {
    struct evbuffer *body = evhttp_request_get_input_buffer(request);
    size_t length = evbuffer_get_length(body);
    if (length > 100)
        token("body of %zu", length);
    else
        token_bytes((const char *)evbuffer_pullup(body, -1), length);
}

static inline void asked_done(struct evhttp_request *request, void *arg) {
    struct asked *asked = arg;
    asked->done++;
    asked->request = NULL;
    step(asked->name);
    token("done");
    if (!request) {
        token("without a request");
    } else {
        show_response(request);
        token("body");
        show_body(request);
    }
    if (asked->on_done)
        asked->on_done(asked, request);
}

static inline void asked_error(enum evhttp_request_error error, void *arg) {
    static const char *const names[] = {"TIMEOUT",      "EOF",    "INVALID_HEADER",
                                        "BUFFER_ERROR", "CANCEL", "DATA_TOO_LONG"};
    struct asked *asked = arg;
    asked->errors++;
    say("%s: error %s", asked->name, (unsigned)error < COUNT(names) ? names[error] : "?");
    if (asked->on_error)
        asked->on_error(asked);
}

static inline int asked_head(struct evhttp_request *request, void *arg) {
    struct asked *asked = arg;
    asked->heads++;
    step(asked->name);
    token("head");
    show_response(request);
    int result = asked->head_result;
    if (asked->on_head)
        asked->on_head(asked, request);
    return result;
}

/* How the body is cut into pieces is not part of the trace, the sum is. */
static inline void asked_chunk(struct evhttp_request *request, void *arg) {
    struct asked *asked = arg;
    asked->chunks++;
    asked->chunked += evbuffer_get_length(evhttp_request_get_input_buffer(request));
    if (!asked->quiet_chunks) {
        step(asked->name);
        token("chunk");
        show_body(request);
    }
    if (asked->on_chunk)
        asked->on_chunk(asked, request);
}

static inline void asked_complete(struct evhttp_request *request, void *arg) {
    struct asked *asked = arg;
    asked->completes++;
    say("%s: complete", asked->name);
    if (asked->on_complete)
        asked->on_complete(asked, request);
}

/* A new request that traces, with its error callback; not sent. */
static inline struct evhttp_request *ask_new(struct asked *asked, const char *name) {
    memset(asked, 0, sizeof *asked);
    asked->name = name;
    asked->request = evhttp_request_new(asked_done, asked);
    CHECK(asked->request);
    evhttp_request_set_error_cb(asked->request, asked_error);
    return asked->request;
}

/* Sends it. */
static inline int ask(struct evhttp_connection *connection, struct asked *asked,
                      enum evhttp_cmd_type type, const char *uri) {
    asked->connection = connection;
    return evhttp_make_request(connection, asked->request, type, uri);
}

static inline struct evhttp_connection *connect_to(struct server *server) {
    struct evhttp_connection *connection =
        evhttp_connection_base_new(server->base, NULL, "127.0.0.1", server_port(server));
    CHECK(connection);
    return connection;
}

static inline void on_close(struct evhttp_connection *connection, void *arg) {
    (void)connection;
    say("%s closed", (const char *)arg);
}

/* One connection, one server. */
struct http_scene {
    struct event_base *base;
    struct server server;
    struct evhttp_connection *connection;
};

static inline void scene_open(struct http_scene *scene, const struct answer *answers,
                              unsigned count) {
    scene->base = new_base();
    server_open(&scene->server, scene->base, answers, count);
    scene->connection = connect_to(&scene->server);
    evhttp_connection_set_closecb(scene->connection, on_close, "connection");
}

static inline void scene_close(struct http_scene *scene) {
    if (scene->connection)
        evhttp_connection_free(scene->connection);
    server_close(&scene->server);
    event_base_free(scene->base);
}

/* For the block around it. */
#define ANSWERS(...)                                                                               \
    (const struct answer[]){__VA_ARGS__}, COUNT(((const struct answer[]){__VA_ARGS__}))

/* A GET that is sent and waited for. */
static inline void get(struct http_scene *scene, struct asked *asked, const char *name,
                       const char *uri) {
    ask_new(asked, name);
    say("make_request: %d", ask(scene->connection, asked, EVHTTP_REQ_GET, uri));
    run_until_count(scene->base, &asked->done, 1);
}

#endif
