/* event2/http.h: clients and a server that do anything that they may, in any order. What is shown is that nobody is left over;
 * what is wrong with memory is for valgrind to say. */
#include "http_server.h"

enum { CLIENTS = 24, ROUNDS = 200, WAITING = 64 };

static unsigned state;

static unsigned any(unsigned below) {
    state = state * 1103515245u + 12345u;
    return (state >> 16) % below;
}

/* What the program has of a request that it answers later. */
struct waiting {
    struct evhttp_request *req;
    unsigned parts; /* that have been sent */
    bool begun, answered;
};

static struct waiting waiting[WAITING];
static unsigned closed, asked;

static struct evbuffer *some_bytes(void) {
    static const char bytes[70000];
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, bytes, any(4) == 0 ? any(sizeof bytes) : any(50));
    return body;
}

static void count_close(struct evhttp_connection *evcon, void *arg) {
    (void)evcon, (void)arg;
    closed++;
}

static void at_the_end(struct evhttp_request *req, void *arg) {
    (void)arg;
    switch (any(8)) {
    case 0: evhttp_connection_free(evhttp_request_get_connection(req)); break;
    case 1: evhttp_request_free(req); break;
    }
}

static void reply_whole(struct evhttp_request *req) {
    struct evbuffer *body = some_bytes();
    evhttp_send_reply(req, any(10) ? HTTP_OK : 204, NULL, any(3) ? body : NULL);
    evbuffer_free(body);
}

static void count_part(struct evhttp_connection *evcon, void *arg) {
    (void)arg;
    if (any(20) == 0) {
        /* The request goes with it. */
        for (int i = 0; i < WAITING; i++)
            if (waiting[i].req && evhttp_request_get_connection(waiting[i].req) == evcon)
                waiting[i].req = NULL;
        evhttp_connection_free(evcon);
    }
}

/* One step of an answer; whether it was the last one. */
static bool go_on(struct waiting *one) {
    struct evhttp_request *req = one->req;
    struct evbuffer *body;
    if (evhttp_request_is_owned(req)) {
        if (one->answered) {
            evhttp_request_free(req);
            return true;
        }
        one->answered = true;
        reply_whole(req);
        return false;
    }
    if (!one->begun) {
        switch (any(4)) {
        case 0: reply_whole(req); return true;
        case 1: evhttp_send_error(req, 500, NULL); return true;
        case 2: evhttp_request_free(req); return true;
        default:
            one->begun = true;
            if (evhttp_request_get_connection(req))
                evhttp_send_reply_start(req, HTTP_OK, NULL);
            return false;
        }
    }
    if (one->parts++ == 3) {
        evhttp_send_reply_end(req);
        return true;
    }
    body = some_bytes();
    evhttp_send_reply_chunk_with_cb(req, body, any(2) ? count_part : NULL, NULL);
    evbuffer_free(body);
    return false;
}

static void on_any(struct evhttp_request *req, void *arg) {
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    (void)arg;
    asked++;
    if (any(2))
        evhttp_connection_set_closecb(evcon, count_close, NULL);
    if (any(2))
        evhttp_request_set_on_complete_cb(req, at_the_end, NULL);
    switch (any(10)) {
    case 0: evhttp_connection_free(evcon); return;
    case 1: evhttp_request_free(req); return;
    case 2: evhttp_connection_free_on_completion(evcon); break;
    case 3: evhttp_request_own(req); break;
    case 4: bufferevent_enable(evhttp_connection_get_bufferevent(evcon), EV_READ); break;
    case 5: reply_whole(req); return;
    }
    for (int i = 0; i < WAITING; i++) {
        if (waiting[i].req)
            continue;
        waiting[i] = (struct waiting){.req = req};
        /* Owned ones have no callback that frees them too. */
        if (evhttp_request_is_owned(req))
            evhttp_request_set_on_complete_cb(req, NULL, NULL);
        return;
    }
    CHECK(!"there is always room");
}

static const char *const texts[] = {
    "GET /a HTTP/1.1\r\nHost: h\r\n\r\n",
    "GET /a HTTP/1.0\r\n\r\n",
    "HEAD /a HTTP/1.1\r\nHost: h\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789",
    "POST /a HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
    "POST /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 1\r\n\r\nx",
    "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 99999\r\n\r\n",
    "OPTIONS /a HTTP/1.1\r\nHost: h\r\n\r\n",
    "nonsense\r\n\r\n",
    LAST,
};

struct client {
    int fd;
    const char *text;
    size_t sent, length;
    unsigned left; /* requests */
};

static void open_client(struct client *client, uint16_t port) {
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0 && connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    set_nonblocking(fd);
    *client = (struct client){.fd = fd, .left = 1 + any(5)};
}

/* One step of a client; whether it was the last one. */
static bool act(struct client *client) {
    char bytes[20000];
    if (any(3) == 0) {
        ssize_t n = recv(client->fd, bytes, 1 + any(sizeof bytes), 0);
        if (n == 0 || (n < 0 && errno != EAGAIN)) {
            close(client->fd);
            return true;
        }
    }
    switch (any(150)) {
    case 0: close_with_reset(client->fd); return true;
    case 1: close(client->fd); return true;
    case 2: shutdown(client->fd, SHUT_WR); client->left = 0; client->text = NULL; return false;
    }
    if (!client->text && client->left) {
        client->left--;
        client->text = texts[client->left ? any(COUNT(texts)) : COUNT(texts) - 1];
        client->length = strlen(client->text);
        client->sent = 0;
    }
    if (client->text) {
        size_t size = client->length - client->sent;
        if (any(2))
            size = 1 + any((unsigned)size);
        ssize_t n = send(client->fd, client->text + client->sent, size, MSG_NOSIGNAL);
        if (n > 0)
            client->sent += (size_t)n;
        if (client->sent == client->length)
            client->text = NULL;
    }
    return false;
}

static void play(unsigned seed) {
    static struct client clients[CLIENTS];
    struct server server;
    state = seed;
    memset(waiting, 0, sizeof waiting);
    closed = asked = 0;
    serve(&server);
    evhttp_set_gencb(server.http, on_any, NULL);
    evhttp_set_max_body_size(server.http, 1000);
    if (any(2))
        evhttp_set_flags(server.http, EVHTTP_SERVER_LINGERING_CLOSE);
    for (int i = 0; i < CLIENTS; i++)
        open_client(&clients[i], server.port);
    /* A client that is neither served nor gives up after this is left over. */
    unsigned left = CLIENTS;
    for (unsigned step = 0; left && step < 100000; step++) {
        pass(server.base);
        struct client *client = &clients[any(CLIENTS)];
        if (client->fd >= 0 && act(client)) {
            client->fd = -1;
            left--;
        }
        struct waiting *one = &waiting[any(WAITING)];
        struct evhttp_request *req = one->req;
        if (req && go_on(one) && one->req == req)
            one->req = NULL;
    }
    say("%u clients left, somebody was asked %d", left, asked > 0);
    for (int i = 0; i < WAITING; i++)
        while (waiting[i].req && !go_on(&waiting[i]))
            ;
    stop(&server);
}

CASE_DIFFERS(http_random, "memory safety", "libevent crashes sooner or later") {
    unsigned rounds = under_valgrind() ? 20 : ROUNDS;
    event_set_log_callback(ignore_log);
    for (unsigned seed = 1; seed <= rounds; seed++)
        play(seed);
}
