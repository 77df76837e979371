/* What a client's program may do in its close callback and in callbacks of buffers, and strings that it hands back. */
#include "http_client.h"

#define CLOSES "HTTP/1.1 200 OK\r\nContent-Length: 0\r\nConnection: close\r\n\r\n"

static void ask_the_same_again(struct asked *asked, struct evhttp_request *request) {
    if (asked->done != 1)
        return;
    evhttp_request_own(request);
    const char *target = evhttp_request_get_uri(request);
    say("again: %d", evhttp_make_request(asked->connection, request, EVHTTP_REQ_GET, target));
}

CASE_DIFFERS(http_client_target_of_the_request, "memory safety",
             "the string may be the one that is replaced") {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = CLOSES, .then = CLOSE}, {.text = CLOSES, .then = CLOSE}));
    struct evhttp_request *request = ask_new(&asked, "it");
    asked.on_done = ask_the_same_again;
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/a-target-that-is-not-short") == 0);
    run_until_count(scene.base, &asked.done, 2);
    evhttp_request_free(request);
    scene_close(&scene);
}

static void (*act)(struct asked *);
static unsigned closes;

static void act_in_closecb(struct evhttp_connection *connection, void *arg) {
    struct asked *asked = arg;
    say("closed, request %d", evhttp_request_get_connection(asked->request) != NULL);
    evhttp_connection_set_closecb(connection, NULL, NULL);
    act(asked);
    closes++;
}

static void cancel(struct asked *asked) { evhttp_cancel_request(asked->request); }

static void drop(struct asked *asked) { evhttp_request_free(asked->request); }

static void ask_again(struct asked *asked) {
    say("again: %d", ask(asked->connection, asked, EVHTTP_REQ_GET, "/again"));
}

static void act_before(const struct answer *answers, unsigned count) {
    void (*const actions[])(struct asked *) = {cancel, drop, ask_again};
    for (size_t i = 0; i < COUNT(actions); i++) {
        struct http_scene scene;
        struct asked asked;
        act = actions[i];
        closes = 0;
        scene_open(&scene, answers, count);
        ask_new(&asked, "it");
        evhttp_connection_set_closecb(scene.connection, act_in_closecb, &asked);
        CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
        if (act == ask_again)
            run_until_count(scene.base, &asked.done, 1);
        run_until_count(scene.base, &closes, 1);
        calm(scene.base);
        say("done %u, errors %u", asked.done, asked.errors);
        scene_close(&scene);
    }
}

CASE_DIFFERS(http_client_request_in_closecb, "memory safety",
             "its callback does not come if it is freed or asked with again") {
    act_before(ANSWERS({.text = CLOSES, .then = CLOSE}, {.text = CLOSES, .then = CLOSE}));
}

CASE_DIFFERS(http_client_request_in_closecb_after_error, "memory safety",
             "its callbacks do not come if it is freed or asked with again") {
    act_before(ANSWERS({.text = "nonsense\r\n\r\n"}, {.text = CLOSES, .then = CLOSE}));
}

/* The connection goes, or the request, when the head is put into the output. */
static void free_when_added(struct evbuffer *output, const struct evbuffer_cb_info *info, void *arg) {
    struct asked *asked = arg;
    if (info->n_added == 0)
        return;
    evbuffer_remove_cb(output, free_when_added, arg);
    if (asked->extra) {
        struct http_scene *scene = asked->extra;
        say("the connection is freed");
        evhttp_connection_free(scene->connection);
        scene->connection = NULL;
    } else {
        say("the request is cancelled");
        evhttp_cancel_request(asked->request);
    }
    asked->done++;
}

CASE_DIFFERS(http_client_freed_while_it_sends, "memory safety", "libevent crashes") {
    for (int connection = 0; connection < 2; connection++) {
        struct http_scene scene;
        struct asked asked;
        scene_open(&scene, ANSWERS({.text = NULL}));
        struct evhttp_request *request = ask_new(&asked, "it");
        struct bufferevent *bev = evhttp_connection_get_bufferevent(scene.connection);
        asked.extra = connection ? &scene : NULL;
        evbuffer_add(evhttp_request_get_output_buffer(request), "body", 4);
        evbuffer_add_cb(bufferevent_get_output(bev), free_when_added, &asked);
        CHECK(ask(scene.connection, &asked, EVHTTP_REQ_POST, "/") == 0);
        run_until_count(scene.base, &asked.done, 1);
        calm(scene.base);
        say("done %u", asked.done);
        scene_close(&scene);
    }
}
