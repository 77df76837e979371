/* event2/rpc.h: calls and their answers. */
#include "http_client.h"
#include "rpc.h"

#include <poll.h>

static void call_and_wait(struct rpc_scene *scene) {
    struct called one;
    called_new(&one, "one", 1, "text");
    say("%d", call(scene, &one));
    run_until_count(scene->base, &one.done, 1);
    called_free(&one);
}

CASE(rpc_call) /* twice, on one connection */ {
    struct rpc_scene scene;
    rpc_open(&scene);
    call_and_wait(&scene);
    call_and_wait(&scene);
    rpc_close(&scene);
}

CASE(rpc_queue) /* one at a time for each connection */ {
    struct rpc_scene scene;
    struct called called[4];
    rpc_open(&scene);
    for (unsigned i = 0; i < COUNT(called); i++) {
        called_new(&called[i], "it", i, "text");
        say("%d", call(&scene, &called[i]));
    }
    for (unsigned i = 0; i < COUNT(called); i++) {
        run_until_count(scene.base, &called[i].done, 1);
        called_free(&called[i]);
    }
    rpc_close(&scene);
}

/* What a client sends, and what it makes of these answers. */
static void answered_by(const struct answer *answers, unsigned count) {
    struct event_base *base = event_init();
    struct server server;
    struct called called;
    server_open(&server, base, answers, count);
    struct evrpc_pool *pool = evrpc_pool_new(base);
    evrpc_pool_add_connection(pool, evhttp_connection_new("127.0.0.1", server_port(&server)));
    called_new(&called, "it", 5, "text");
    say("%d", EVRPC_MAKE_REQUEST(Ask, pool, called.request, called.reply, on_reply, &called));
    run_until_count(base, &called.done, 1);
    calm(base);
    evrpc_pool_free(pool);
    server_close(&server);
    called_free(&called);
    event_base_free(base);
}

#define NOTE "Content-Length: 7\r\n\r\n\1\1\5\2\2hi"

CASE(rpc_answers) /* the status does not matter, the bytes do */ {
    answered_by(ANSWERS({.text = "HTTP/1.1 200 OK\r\n" NOTE}));
    answered_by(ANSWERS({.text = "HTTP/1.1 503 No\r\n" NOTE}));
    answered_by(ANSWERS({.text = "HTTP/1.1 200 OK\r\nContent-Length: 4\r\n\r\njunk"}));
    answered_by(ANSWERS({.text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\n\1\1\5"}));
    answered_by(ANSWERS({.text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"}));
    answered_by(ANSWERS({.text = "HTTP/1.1 404 No\r\nContent-Length: 0\r\n\r\n"}));
    answered_by(ANSWERS({.text = NULL, .then = CLOSE}));
}

/* Without the date. */
static void show_response_bytes(char *text) {
    for (char *line = strtok(text, "\n"); line; line = strtok(NULL, "\n")) {
        if (strncmp(line, "Date: ", 6) == 0)
            continue;
        step("  ");
        token_text(line);
    }
}

static bool is_readable(void *arg) {
    struct pollfd ready = {*(int *)arg, POLLIN, 0};
    return poll(&ready, 1, 0) == 1;
}

/* What a server makes of these bytes. */
static void asked_with(const char *text) {
    struct rpc_scene scene;
    char reply[4096];
    rpc_open(&scene);
    struct sockaddr_in address = {.sin_family = AF_INET,
                                  .sin_port = htons(scene.port),
                                  .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&address, sizeof address) == 0);
    set_nonblocking(fd);
    send_all(fd, text, strlen(text));
    run_until(scene.base, is_readable, &fd);
    calm(scene.base);
    reply[recv_now(fd, reply, sizeof reply - 1, NULL)] = '\0';
    show_response_bytes(reply);
    say("calls %u", scene.calls);
    close(fd);
    calm(scene.base);
    rpc_close(&scene);
}

CASE(rpc_requests) {
    asked_with("POST /.rpc.Ask HTTP/1.1\r\n" NOTE);
    asked_with("GET /.rpc.Ask HTTP/1.1\r\n\r\n");
    asked_with("PUT /.rpc.Ask HTTP/1.1\r\n" NOTE);
    asked_with("POST /.rpc.Ask HTTP/1.1\r\nContent-Length: 0\r\n\r\n");
    asked_with("POST /.rpc.Ask HTTP/1.1\r\nContent-Length: 4\r\n\r\njunk");
    asked_with("POST /.rpc.Other HTTP/1.1\r\n" NOTE);
}

static void end_without_a_reply(struct rpc_scene *scene, struct evrpc_req_generic *call) {
    (void)scene;
    evrpc_request_done(call);
}

static void show_call(struct rpc_scene *scene, struct evrpc_req_generic *generic) {
    EVRPC_STRUCT(Ask) *call = (void *)generic;
    CHECK(evrpc_get_request(generic) == call->request && evrpc_get_reply(generic) == call->reply);
    CHECK(EVRPC_REQUEST_HTTP(call) && call->rpc->base == scene->rpc && call->rpc->cb);
    say("name %s, data %d, meta %d", call->rpc->uri, call->rpc_data != NULL,
        call->hook_meta != NULL);
    answer_call(call);
}

static void hold_call(struct rpc_scene *scene, struct evrpc_req_generic *call) {
    scene->held[scene->answers++] = (void *)call;
}

CASE(rpc_incomplete_reply) {
    struct rpc_scene scene;
    rpc_open(&scene);
    scene.on_call = end_without_a_reply;
    call_and_wait(&scene);
    rpc_close(&scene);
}

CASE(rpc_getters) {
    struct rpc_scene scene;
    rpc_open(&scene);
    scene.on_call = show_call;
    call_and_wait(&scene);
    rpc_close(&scene);
}

/* A call that the server has, and has not answered. */
static void open_held(struct rpc_scene *scene, struct called *one) {
    rpc_open(scene);
    scene->on_call = hold_call;
    called_new(one, "one", 1, "text");
    CHECK(call(scene, one) == 0);
    run_until_count(scene->base, &scene->answers, 1);
}

CASE(rpc_late_reply) {
    struct rpc_scene scene;
    struct called one;
    open_held(&scene, &one);
    calm(scene.base);
    answer_call(scene.held[0]);
    run_until_count(scene.base, &one.done, 1);
    called_free(&one);
    rpc_close(&scene);
}

CASE(rpc_client_gone_before_the_reply) {
    struct rpc_scene scene;
    struct called one;
    open_held(&scene, &one);
    evrpc_pool_free(scene.pool);
    scene.pool = NULL;
    calm(scene.base);
    say("done %u", one.done);
    answer_call(scene.held[0]);
    calm(scene.base);
    called_free(&one);
    rpc_close(&scene);
}

CASE_DIFFERS(rpc_unregistered_before_the_reply, "memory safety",
             "a function is used after it is freed") {
    struct rpc_scene scene;
    struct called one;
    open_held(&scene, &one);
    evrpc_free(scene.rpc);
    scene.rpc = NULL;
    answer_call(scene.held[0]);
    run_until_count(scene.base, &one.done, 1);
    called_free(&one);
    rpc_close(&scene);
}

CASE(rpc_timeout) /* also of what waits, once its turn has come */ {
    struct rpc_scene scene;
    struct called one, two;
    rpc_open(&scene);
    scene.on_call = hold_call;
    evrpc_pool_set_timeout(scene.pool, 1);
    called_new(&one, "one", 1, "text");
    called_new(&two, "two", 1, "text");
    CHECK(call(&scene, &one) == 0 && call(&scene, &two) == 0);
    run_until_count(scene.base, &one.done, 1);
    run_until_count(scene.base, &two.done, 1);
    calm(scene.base);
    for (unsigned i = 0; i < scene.answers; i++)
        answer_call(scene.held[i]);
    called_free(&one);
    called_free(&two);
    rpc_close(&scene);
}

CASE_DIFFERS(rpc_without_a_connection, "memory safety", "libevent aborts") {
    struct rpc_scene scene;
    struct called one;
    rpc_open(&scene);
    evrpc_pool_remove_connection(scene.pool, scene.connection);
    called_new(&one, "one", 1, "text");
    say("%d", call(&scene, &one));
    calm(scene.base);
    say("done %u", one.done);
    evrpc_pool_add_connection(scene.pool, scene.connection);
    run_until_count(scene.base, &one.done, 1);
    called_free(&one);
    rpc_close(&scene);
}

CASE(rpc_refused) {
    struct event_base *base = event_init();
    struct called one;
    struct sockaddr_in address;
    int fd = refusing_port(&address);
    struct evrpc_pool *pool = evrpc_pool_new(base);
    evrpc_pool_add_connection(pool, evhttp_connection_new("127.0.0.1", ntohs(address.sin_port)));
    called_new(&one, "one", 1, "text");
    say("%d", EVRPC_MAKE_REQUEST(Ask, pool, one.request, one.reply, on_reply, &one));
    run_until_count(base, &one.done, 1);
    evrpc_pool_free(pool);
    called_free(&one);
    close(fd);
    event_base_free(base);
}

CASE_DIFFERS(rpc_registered_twice, "memory safety", "libevent aborts when the second one goes") {
    struct rpc_scene scene;
    rpc_open(&scene);
    say("again %d", EVRPC_REGISTER(scene.rpc, Ask, note, note, on_ask, &scene));
    say("unregister %d", EVRPC_UNREGISTER(scene.rpc, Ask));
    say("unregister %d", EVRPC_UNREGISTER(scene.rpc, Ask));
    call_and_wait(&scene);
    say("register %d", EVRPC_REGISTER(scene.rpc, Ask, note, note, on_ask, &scene));
    call_and_wait(&scene);
    rpc_close(&scene);
}

CASE(rpc_registrations) {
    struct rpc_scene scene;
    rpc_open(&scene);
    say("unknown %d", evrpc_unregister_rpc(scene.rpc, "Nothing"));
    evrpc_free(scene.rpc);
    scene.rpc = NULL;
    call_and_wait(&scene);
    rpc_close(&scene);
}

CASE(rpc_registered_by_hand) {
    struct rpc_scene scene;
    rpc_open(&scene);
    CHECK(EVRPC_UNREGISTER(scene.rpc, Ask) == 0);
    struct evrpc *rpc = calloc(1, sizeof *rpc);
    CHECK(rpc);
    rpc->uri = strdup("Ask");
    rpc->request_new = note_new_with_arg;
    rpc->request_free = (void (*)(void *))note_free;
    rpc->request_unmarshal = (int (*)(void *, struct evbuffer *))note_unmarshal;
    rpc->reply_new = note_new_with_arg;
    rpc->reply_free = (void (*)(void *))note_free;
    rpc->reply_complete = (int (*)(void *))note_complete;
    rpc->reply_marshal = (void (*)(struct evbuffer *, void *))note_marshal;
    say("%d", evrpc_register_rpc(scene.rpc, rpc,
                                 (void (*)(struct evrpc_req_generic *, void *))on_ask, &scene));
    CHECK(rpc->base == scene.rpc);
    call_and_wait(&scene);
    rpc_close(&scene);
}

CASE(rpc_generic) /* what the macros stand for */ {
    struct rpc_scene scene;
    struct called one;
    rpc_open(&scene);
    say("%d", evrpc_register_generic(
                  scene.rpc, "Other", (void (*)(struct evrpc_req_generic *, void *))on_ask, &scene,
                  note_new_with_arg, NULL, (void (*)(void *))note_free,
                  (int (*)(void *, struct evbuffer *))note_unmarshal, note_new_with_arg, NULL,
                  (void (*)(void *))note_free, (int (*)(void *))note_complete,
                  (void (*)(struct evbuffer *, void *))note_marshal));
    called_new(&one, "one", 1, "text");
    say("%d", evrpc_send_request_generic(
                  scene.pool, one.request, one.reply,
                  (void (*)(struct evrpc_status *, void *, void *, void *))on_reply, &one, "Other",
                  (void (*)(struct evbuffer *, void *))note_marshal, (void (*)(void *))note_clear,
                  (int (*)(void *, struct evbuffer *))note_unmarshal));
    run_until_count(scene.base, &one.done, 1);
    called_free(&one);
    CHECK(evrpc_unregister_rpc(scene.rpc, "Other") == 0);
    rpc_close(&scene);
}

CASE(rpc_contexts) {
    struct rpc_scene scene;
    struct called one;
    rpc_open(&scene);
    called_new(&one, "one", 1, "text");
    struct evrpc_request_wrapper *call = evrpc_make_request_ctx(
        NULL, one.request, one.reply, "Ask", (void (*)(struct evbuffer *, void *))note_marshal,
        (void (*)(void *))note_clear, (int (*)(void *, struct evbuffer *))note_unmarshal, NULL,
        NULL);
    CHECK(call && !evrpc_request_get_pool(call));
    evrpc_request_set_pool(call, scene.pool);
    CHECK(evrpc_request_get_pool(call) == scene.pool);
    evrpc_request_set_cb(call, (void (*)(struct evrpc_status *, void *, void *, void *))on_reply,
                         &one);
    say("%d", evrpc_make_request(call));
    run_until_count(scene.base, &one.done, 1);
    called_free(&one);
    rpc_close(&scene);
}

static void call_again(struct called *called) {
    if (called->done == 1)
        say("again %d", call(called->extra, called));
}

static void free_pool(struct called *called) {
    struct rpc_scene *scene = called->extra;
    evrpc_pool_free(scene->pool);
    scene->pool = NULL;
    say("the pool is freed");
}

static void call_with(void (*on_done)(struct called *), unsigned times) {
    struct rpc_scene scene;
    struct called one, waiting;
    rpc_open(&scene);
    called_new(&one, "one", 1, "text");
    called_new(&waiting, "waiting", 2, "text");
    one.on_done = on_done;
    one.extra = &scene;
    CHECK(call(&scene, &one) == 0 && call(&scene, &waiting) == 0);
    run_until_count(scene.base, &one.done, times);
    calm(scene.base);
    say("waiting: done %u", waiting.done);
    called_free(&one);
    called_free(&waiting);
    rpc_close(&scene);
}

CASE(rpc_call_in_callback) {
    call_with(call_again, 2);
}

CASE(rpc_pool_freed_in_callback) {
    call_with(free_pool, 1);
}
