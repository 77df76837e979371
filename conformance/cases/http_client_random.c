/* evhttp's client among servers that answer anything, and with callbacks that do anything. */
#include "http_client.h"

/* Where the pieces with a length begin. */
enum { LENGTHS = 21 };

enum { ROUNDS = 300, ROUNDS_UNDER_VALGRIND = 40, REQUESTS = 3 };

static const char *const pieces[] = {"HTTP/1.1 200 OK\r\n",
                                     "HTTP/1.1 200 OK\r\nConnection: close\r\n",
                                     "HTTP/1.0 200 OK\r\n",
                                     "HTTP/1.1 100 Continue\r\n\r\n",
                                     "HTTP/1.1 204 No Content\r\n\r\n",
                                     "HTTP/1.1 304 No\r\n\r\n",
                                     "HTTP/1.1",
                                     "Content-Length: 3\r\n",
                                     "Transfer-Encoding: chunked\r\n",
                                     "3\r\nabc\r\n",
                                     "0\r\n\r\n",
                                     "0\r\nX: y\r\n\r\n",
                                     "3;a=b\r\nabc\r\n",
                                     "ffffffffffffffff\r\n",
                                     "\r\n",
                                     "\n",
                                     ":",
                                     " ",
                                     "X: y\r\n",
                                     "X:\r\n y\r\n",
                                     "abc",
                                     "Content-Length: 3\r\n\r\nabc",
                                     "Content-Length: 0\r\n\r\n",
                                     "Content-Length: 3\r\n\r\nab",
                                     "Transfer-Encoding: chunked\r\n\r\n",
                                     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
                                     "Transfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
                                     "\r\nabc"};

struct round {
    uint32_t state; /* of the random numbers */
    struct event_base *base;
    int listener;
    struct evhttp_connection *connection;      /* NULL when a callback has freed it */
    struct evhttp_request *requests[REQUESTS]; /* NULL when it is gone */
    struct evhttp_request *owned[REQUESTS];
    unsigned asked;
};

static unsigned any(struct round *round, unsigned limit) {
    round->state = round->state * 1664525u + 1013904223u;
    return (round->state >> 16) % limit;
}

static void forget(struct round *round, struct evhttp_request *request) {
    for (int i = 0; i < REQUESTS; i++)
        if (round->requests[i] == request)
            round->requests[i] = NULL;
}

static void ask_any(struct round *round);

static unsigned heads, chunks, errors, answers; /* that callbacks have heard of */

/* What a callback does: mostly nothing. False if the request is gone. */
static bool act(struct round *round, struct evhttp_request *request) {
    switch (any(round, 24)) {
    case 0:
        if (round->connection)
            evhttp_connection_free(round->connection);
        round->connection = NULL;
        memset(round->requests, 0, sizeof round->requests);
        return false;
    case 1:
        if (!request || !evhttp_request_get_connection(request))
            return true;
        forget(round, request);
        evhttp_cancel_request(request);
        return false;
    case 2:
        ask_any(round);
        return true;
    case 3:
        if (!request || evhttp_request_is_owned(request))
            return true;
        for (int i = 0; i < REQUESTS; i++) {
            if (!round->owned[i]) {
                evhttp_request_own(request);
                round->owned[i] = request;
                break;
            }
        }
        return true;
    case 4:
        for (int i = 0; i < REQUESTS; i++) {
            if (!round->requests[i] || evhttp_request_is_owned(round->requests[i]))
                continue;
            struct evhttp_request *other = round->requests[i];
            round->requests[i] = NULL;
            evhttp_cancel_request(other);
            return other != request;
        }
        return true;
    case 5:
        if (round->connection)
            evhttp_connection_free_on_completion(round->connection);
        /* It may go at any time now. */
        round->connection = NULL;
        return true;
    default:
        return true;
    }
}

static struct round *now_running;

static void any_done(struct evhttp_request *request, void *arg) {
    answers += request != NULL;
    forget(arg, request);
    if (!request)
        memset(((struct round *)arg)->requests, 0, sizeof((struct round *)arg)->requests);
    act(arg, request);
}

static void any_error(enum evhttp_request_error error, void *arg) {
    (void)error;
    errors++;
    memset(((struct round *)arg)->requests, 0, sizeof((struct round *)arg)->requests);
    act(arg, NULL);
}

static int any_head(struct evhttp_request *request, void *arg) {
    struct round *round = arg;
    heads++;
    return act(round, request) && any(round, 16) == 0 ? -1 : 0;
}

static void any_chunk(struct evhttp_request *request, void *arg) {
    chunks++;
    act(arg, request);
}

static void any_close(struct evhttp_connection *connection, void *arg) {
    (void)connection;
    if (any(arg, 4) == 0)
        ask_any(arg);
}

static void ask_any(struct round *round) {
    static const enum evhttp_cmd_type types[] = {EVHTTP_REQ_GET, EVHTTP_REQ_HEAD, EVHTTP_REQ_POST};
    if (!round->connection || round->asked == 12)
        return;
    struct evhttp_request *request = evhttp_request_new(any_done, round);
    CHECK(request);
    evhttp_request_set_error_cb(request, any_error);
    evhttp_request_set_header_cb(request, any_head);
    if (any(round, 2))
        evhttp_request_set_chunked_cb(request, any_chunk);
    if (any(round, 4) == 0) {
        evbuffer_add(evhttp_request_get_output_buffer(request), "body", 4);
        evhttp_add_header(evhttp_request_get_output_headers(request), "Expect", "100-continue");
    }
    for (int i = 0; i < REQUESTS; i++) {
        if (!round->requests[i]) {
            round->requests[i] = request;
            break;
        }
    }
    round->asked++;
    CHECK(evhttp_make_request(round->connection, request, types[any(round, COUNT(types))], "/") ==
          0);
}

/* Accepts who is there, and answers with some pieces, in several passes. */
static bool serve_any(struct round *round) {
    int fd = accept(round->listener, NULL, NULL);
    if (fd < 0)
        return false;
    set_nonblocking(fd);
    settle(round->base);
    unsigned count = 2 + any(round, 8);
    for (unsigned i = 0; i < count; i++) {
        char taken[4096];
        recv_now(fd, taken, sizeof taken, NULL);
        const char *piece = pieces[any(round, COUNT(pieces))];
        /* Mostly answers, of mostly some length. */
        if (i == 0 && any(round, 4) > 0)
            piece = pieces[any(round, 3)];
        if (i == 1 && any(round, 4) > 0)
            piece = pieces[LENGTHS + any(round, COUNT(pieces) - LENGTHS)];
        send(fd, piece, strlen(piece), MSG_NOSIGNAL);
        if (any(round, 2))
            settle(round->base);
    }
    settle(round->base);
    if (any(round, 4) == 0)
        close_with_reset(fd);
    else
        close(fd);
    settle(round->base);
    return true;
}

CASE_DIFFERS(http_client_random, "memory safety", "libevent crashes in some of these") {
    int rounds = under_valgrind() ? ROUNDS_UNDER_VALGRIND : ROUNDS;
    for (int i = 0; i < rounds; i++) {
        struct sockaddr_in address;
        struct round round = {.state = (uint32_t)i, .base = new_base()};
        now_running = &round;
        round.listener = tcp_listener(&address);
        round.connection =
            evhttp_connection_base_new(round.base, NULL, "127.0.0.1", ntohs(address.sin_port));
        CHECK(round.connection);
        evhttp_connection_set_closecb(round.connection, any_close, &round);
        for (int n = 0; n < REQUESTS; n++)
            ask_any(&round);
        settle(round.base);
        while (serve_any(&round)) {
        }
        if (round.connection)
            evhttp_connection_free(round.connection);
        for (int n = 0; n < REQUESTS; n++)
            if (round.owned[n])
                evhttp_request_free(round.owned[n]);
        close(round.listener);
        settle(round.base);
        event_base_free(round.base);
    }
    /* Enough of each for the case to mean something. */
    unsigned enough = (unsigned)rounds / 10;
    CHECK(heads > enough && chunks > enough && errors > enough && answers > enough);
    say("it has ended");
}
