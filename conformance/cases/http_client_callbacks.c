/* What callbacks of evhttp's client may do: free the connection, cancel or own the request, ask
 * again. */
#include "http_client.h"

#define PLAIN "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define CHUNKED                                                                                    \
    "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"

CASE(http_client_every_callback) /* their order, and what they can see */ {
    static const struct answer answers[] = {
        {.text = PLAIN},
        {.text = CHUNKED},
        {.text = "HTTP/1.1 200 OK\r\n\r\nto the end", .then = CLOSE},
        {.text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"},
        {.text = CHUNKED, .piecewise = true},
        {.text = "HTTP/1.1 200 OK\r\nContent-Length: 500\r\n\r\n", .letters = 400, .then = CLOSE},
        {.text = NULL, .then = CLOSE},
    };
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct http_scene scene;
        struct asked asked;
        scene_open(&scene, &answers[i], 1);
        struct evhttp_request *request = ask_new(&asked, "it");
        evhttp_request_set_header_cb(request, asked_head);
        evhttp_request_set_chunked_cb(request, asked_chunk);
        evhttp_request_set_on_complete_cb(request, asked_complete, &asked);
        CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
        run_until_count(scene.base, &asked.done, 1);
        calm(scene.base);
        say("%zu bytes in pieces, complete %u", asked.chunked, asked.completes);
        scene_close(&scene);
    }
}

static void show_request_fields(struct asked *asked, struct evhttp_request *request) {
    if (!request)
        return;
    say("%s: is_owned %d, connection %d, command %d, uri %s, kind %d, chunked %d", asked->name,
        evhttp_request_is_owned(request),
        evhttp_request_get_connection(request) == asked->connection,
        evhttp_request_get_command(request), evhttp_request_get_uri(request), request->kind,
        request->chunked);
    const char *host = evhttp_request_get_host(request);
    say("host %s, remote_host %s, remote_port %d, in parts %d", host ? host : "-",
        request->remote_host ? request->remote_host : "-", request->remote_port,
        evhttp_request_get_evhttp_uri(request) != NULL);
    say("ntoread %ld, body_size %zu, headers_size %zu, output %zu", (long)request->ntoread,
        request->body_size, request->headers_size,
        evbuffer_get_length(evhttp_request_get_output_buffer(request)));
}

static void show_in_chunk(struct asked *asked, struct evhttp_request *request) {
    show_request_fields(asked, request);
}

CASE(http_client_fields) /* of the request, in its callback */ {
    static const struct answer answers[] = {
        {.text = PLAIN},
        {.text = CHUNKED},
        {.text = "HTTP/1.1 200 OK\r\n\r\nto the end", .then = CLOSE}};
    for (size_t i = 0; i < COUNT(answers); i++) {
        struct http_scene scene;
        struct asked asked;
        scene_open(&scene, &answers[i], 1);
        struct evhttp_request *request = ask_new(&asked, "it");
        say("kind %d type %d uri %s major %d minor %d code %d evcon %d", request->kind,
            request->type, request->uri ? request->uri : "-", request->major, request->minor,
            request->response_code, request->evcon != NULL);
        evbuffer_add(evhttp_request_get_output_buffer(request), "abc", 3);
        asked.on_done = show_request_fields;
        asked.on_chunk = show_in_chunk;
        if (i == 1)
            evhttp_request_set_chunked_cb(request, asked_chunk);
        CHECK(ask(scene.connection, &asked, EVHTTP_REQ_POST, "http://example.com:80/path?q#f") ==
              0);
        show_request_fields(&asked, request);
        run_until_count(scene.base, &asked.done, 1);
        scene_close(&scene);
    }
}

/* ---- One action in one callback ---- */

static struct asked second;

static void free_connection(struct asked *asked) {
    struct http_scene *scene = asked->extra;
    say("the connection is freed");
    evhttp_connection_free(asked->connection);
    scene->connection = NULL;
    asked->done++;
}

static void cancel(struct asked *asked, struct evhttp_request *request) {
    say("the request is cancelled");
    evhttp_cancel_request(request);
    asked->done++;
}

static void ask_again(struct asked *asked) {
    ask_new(&second, "second");
    say("another one: %d", ask(asked->connection, &second, EVHTTP_REQ_GET, "/second"));
}

static void free_in(struct asked *asked, struct evhttp_request *request) {
    (void)request;
    free_connection(asked);
}

static void own_and_free_connection(struct asked *asked, struct evhttp_request *request) {
    evhttp_request_own(request);
    free_connection(asked);
    say("its connection: %d", evhttp_request_get_connection(request) != NULL);
    evhttp_request_free(request);
}

static void own_and_free(struct asked *asked, struct evhttp_request *request) {
    evhttp_request_own(request);
    say("owned: %d", evhttp_request_is_owned(request));
    evhttp_request_free(request);
    asked->done++;
}

static void again_in(struct asked *asked, struct evhttp_request *request) {
    (void)request;
    if (asked->done + asked->heads + asked->chunks == 1)
        ask_again(asked);
}

enum where { HEAD, CHUNK, DONE, ERROR };

static void act(enum where where, void (*action)(struct asked *, struct evhttp_request *),
                void (*on_error)(struct asked *), const struct answer *answers, unsigned count,
                unsigned queued) {
    struct http_scene scene;
    struct asked asked, waiting[3];
    memset(&second, 0, sizeof second);
    scene_open(&scene, answers, count);
    struct evhttp_request *request = ask_new(&asked, "it");
    asked.extra = &scene;
    asked.on_error = on_error;
    if (where == HEAD) {
        evhttp_request_set_header_cb(request, asked_head);
        asked.on_head = action;
    }
    if (where == CHUNK) {
        evhttp_request_set_chunked_cb(request, asked_chunk);
        asked.on_chunk = action;
    }
    if (where == DONE)
        asked.on_done = action;
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    for (unsigned i = 0; i < queued; i++) {
        ask_new(&waiting[i], "waiting");
        CHECK(ask(scene.connection, &waiting[i], EVHTTP_REQ_GET, "/waiting") == 0);
    }
    run_until_count(scene.base, &asked.done, 1);
    if (second.request)
        run_until_count(scene.base, &second.done, 1);
    for (unsigned i = 0; i < queued && scene.connection; i++)
        run_until_count(scene.base, &waiting[i].done, 1);
    calm(scene.base);
    scene_close(&scene);
}

CASE_DIFFERS(http_client_frees_connection_in_head, "memory safety", "libevent crashes") {
    act(HEAD, free_in, NULL, ANSWERS({.text = PLAIN}), 0);
}

CASE_DIFFERS(http_client_frees_connection_in_head_chunked, "memory safety", "libevent crashes") {
    act(HEAD, free_in, NULL, ANSWERS({.text = CHUNKED}), 0);
}

CASE(http_client_frees_connection_in_chunk) {
    act(CHUNK, free_in, NULL, ANSWERS({.text = PLAIN}), 0);
}

CASE(http_client_frees_connection_in_chunk_chunked) {
    act(CHUNK, free_in, NULL, ANSWERS({.text = CHUNKED}), 0);
}

CASE(http_client_frees_connection_in_chunk_until_end) {
    act(CHUNK, free_in, NULL, ANSWERS({.text = "HTTP/1.1 200 OK\r\n\r\nto the end", .then = CLOSE}),
        0);
}

CASE(http_client_frees_connection_in_done) {
    act(DONE, free_in, NULL, ANSWERS({.text = PLAIN}), 0);
}

CASE(http_client_frees_connection_in_done_closed) {
    act(DONE, free_in, NULL,
        ANSWERS({.text = "HTTP/1.1 200 OK\r\nConnection: close\r\n\r\nabc", .then = CLOSE}), 0);
}

CASE(http_client_frees_connection_in_done_after_error) {
    act(DONE, free_in, NULL, ANSWERS({.text = NULL, .then = CLOSE}), 0);
}

CASE(http_client_frees_connection_in_error) {
    act(ERROR, NULL, free_connection, ANSWERS({.text = NULL, .then = CLOSE}), 0);
}

CASE(http_client_frees_connection_in_done_with_queue) {
    act(DONE, free_in, NULL, ANSWERS({.text = PLAIN}), 2);
}

CASE(http_client_frees_connection_in_error_with_queue) {
    act(ERROR, NULL, free_connection, ANSWERS({.text = NULL, .then = CLOSE}), 2);
}

CASE(http_client_frees_connection_in_chunk_with_queue) {
    act(CHUNK, free_in, NULL, ANSWERS({.text = PLAIN}), 2);
}

CASE_DIFFERS(http_client_cancels_in_head, "memory safety", "libevent crashes") {
    act(HEAD, cancel, NULL, ANSWERS({.text = PLAIN}), 0);
}

CASE(http_client_cancels_in_chunk) {
    act(CHUNK, cancel, NULL, ANSWERS({.text = PLAIN}), 0);
}

CASE(http_client_cancels_in_chunk_chunked) {
    act(CHUNK, cancel, NULL, ANSWERS({.text = CHUNKED}), 0);
}

CASE(http_client_cancels_in_chunk_with_queue) {
    act(CHUNK, cancel, NULL, ANSWERS({.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}), 2);
}

CASE(http_client_cancels_in_chunk_until_end) {
    act(CHUNK, cancel, NULL, ANSWERS({.text = "HTTP/1.1 200 OK\r\n\r\nto the end", .then = CLOSE}),
        0);
}

CASE(http_client_owns_in_done) {
    act(DONE, own_and_free, NULL, ANSWERS({.text = PLAIN}), 0);
}

CASE(http_client_owns_in_done_frees_connection) {
    act(DONE, own_and_free_connection, NULL, ANSWERS({.text = PLAIN}), 0);
}

CASE_DIFFERS(http_client_owns_in_head, "memory safety", "libevent crashes") {
    act(HEAD, own_and_free, NULL, ANSWERS({.text = PLAIN}), 0);
}

CASE(http_client_asks_again_in_done) {
    act(DONE, again_in, NULL, ANSWERS({.text = PLAIN}, {.text = CHUNKED}), 0);
}

CASE(http_client_asks_again_in_done_closed) {
    act(DONE, again_in, NULL,
        ANSWERS({.text = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n",
                 .then = CLOSE},
                {.text = CHUNKED}),
        0);
}

CASE_DIFFERS(http_client_asks_again_in_done_until_end, "K",
             "not on the connection that has ended") {
    act(DONE, again_in, NULL,
        ANSWERS({.text = "HTTP/1.1 200 OK\r\n\r\nabc", .then = CLOSE}, {.text = CHUNKED}), 0);
}

CASE(http_client_asks_again_in_done_after_error) {
    act(DONE, again_in, NULL, ANSWERS({.text = NULL, .then = CLOSE}, {.text = CHUNKED}), 0);
}

CASE(http_client_asks_again_in_error) {
    act(ERROR, NULL, ask_again, ANSWERS({.text = NULL, .then = CLOSE}, {.text = CHUNKED}), 0);
}

CASE(http_client_asks_again_in_chunk) {
    act(CHUNK, again_in, NULL, ANSWERS({.text = PLAIN}, {.text = CHUNKED}), 0);
}

CASE(http_client_asks_again_in_head) {
    act(HEAD, again_in, NULL, ANSWERS({.text = PLAIN}, {.text = CHUNKED}), 0);
}

static void refuse(int result) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    struct evhttp_request *request = ask_new(&asked, "it");
    evhttp_request_set_header_cb(request, asked_head);
    evhttp_request_set_chunked_cb(request, asked_chunk);
    asked.head_result = result;
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &asked.done, 1);
    calm(scene.base);
    scene_close(&scene);
}

CASE(http_client_head_callback_refuses) /* with a negative result */ {
    refuse(1);
    refuse(-1);
    refuse(-2);
}

static void drain_some(struct asked *asked, struct evhttp_request *request) {
    (void)asked;
    evbuffer_drain(evhttp_request_get_input_buffer(request), 1);
}

CASE(http_client_chunks_are_drained) /* what the callback leaves too */ {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = CHUNKED}));
    struct evhttp_request *request = ask_new(&asked, "it");
    evhttp_request_set_chunked_cb(request, asked_chunk);
    asked.on_chunk = drain_some;
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &asked.done, 1);
    scene_close(&scene);
}

static void close_in_closecb(struct evhttp_connection *connection, void *arg) {
    struct http_scene *scene = arg;
    say("closed; the connection is freed");
    evhttp_connection_set_closecb(connection, NULL, NULL);
    evhttp_connection_free(connection);
    scene->connection = NULL;
}

CASE(http_client_freed_in_closecb) /* of an idle connection */ {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = PLAIN, .then = CLOSE}));
    evhttp_connection_set_closecb(scene.connection, close_in_closecb, &scene);
    ask_new(&asked, "it");
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &asked.done, 1);
    calm(scene.base);
    scene_close(&scene);
}

static void free_request_in_closecb(struct evhttp_connection *connection, void *arg) {
    struct asked *asked = arg;
    (void)connection;
    say("closed");
    if (asked->request) {
        evhttp_request_free(asked->request);
        asked->request = NULL;
        say("the request is freed");
    }
}

CASE_DIFFERS(http_client_request_freed_in_closecb, "memory safety", "libevent frees it twice") {
    struct http_scene scene;
    struct asked asked;
    scene_open(
        &scene,
        ANSWERS({.text = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 0\r\n\r\n"}));
    evhttp_connection_set_closecb(scene.connection, free_request_in_closecb, &asked);
    ask_new(&asked, "it");
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &scene.server.ends, 1);
    say("done %u", asked.done);
    scene_close(&scene);
}

CASE(http_client_whole_chunks) /* the callback has each when all of it is there */ {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene,
               ANSWERS({.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n6\r\nabc"}));
    struct evhttp_request *request = ask_new(&asked, "it");
    evhttp_request_set_chunked_cb(request, asked_chunk);
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &scene.server.requests, 1);
    calm(scene.base);
    say("the rest");
    send_all(scene.server.open[0]->fd, "def\r\n0\r\n\r\n", 10);
    run_until_count(scene.base, &asked.done, 1);
    scene_close(&scene);
}
