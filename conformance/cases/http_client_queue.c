/* Several requests on one evhttp connection: their order, new connections, cancelling, and the end
 * of it all. */
#include "http_client.h"

#define PLAIN "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"
#define LAST "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 4\r\n\r\nlast"

static void ask_many(struct http_scene *scene, struct asked *asked, unsigned count) {
    static const char *const names[] = {"one", "two", "three", "four"};
    for (unsigned i = 0; i < count; i++) {
        ask_new(&asked[i], names[i]);
        say("%s: %d", names[i], ask(scene->connection, &asked[i], EVHTTP_REQ_GET, names[i]));
    }
}

static void await_all(struct http_scene *scene, struct asked *asked, unsigned count) {
    for (unsigned i = 0; i < count; i++)
        run_until_count(scene->base, &asked[i].done, 1);
    calm(scene->base);
    say("connections %u", scene->server.connections);
}

static void queue(const struct answer *answers, unsigned answered, unsigned count) {
    struct http_scene scene;
    struct asked asked[4];
    scene_open(&scene, answers, answered);
    ask_many(&scene, asked, count);
    await_all(&scene, asked, count);
    scene_close(&scene);
}

CASE(http_client_queue_keep_alive) /* one after the other */ {
    queue(ANSWERS({.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}), 4);
}

CASE(http_client_queue_says_close) /* a new connection for each */ {
    queue(ANSWERS({.text = LAST}, {.text = LAST}, {.text = PLAIN}), 3);
}

CASE(http_client_queue_closes) /* the same, and the server closes */ {
    queue(ANSWERS({.text = LAST, .then = CLOSE}, {.text = LAST, .then = CLOSE}, {.text = PLAIN}),
          3);
}

CASE(http_client_queue_closes_silently) /* without having said so */ {
    queue(ANSWERS({.text = PLAIN, .then = CLOSE}, {.text = PLAIN, .then = CLOSE}, {.text = PLAIN}),
          3);
}

CASE_DIFFERS(http_client_queue_until_close, "K",
             "a request is not sent on a connection that ends") {
    queue(ANSWERS({.text = "HTTP/1.1 200 OK\r\n\r\nabc", .then = CLOSE},
                  {.text = "HTTP/1.1 200 OK\r\n\r\nabc", .then = CLOSE}, {.text = PLAIN}),
          3);
}

CASE_DIFFERS(http_client_queue_http10, "K", "what HTTP/1.0 does not say it keeps is not kept") {
    queue(ANSWERS({.text = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"}, {.text = PLAIN}), 2);
}

CASE(http_client_queue_http10_keep_alive) {
    queue(ANSWERS(
              {.text = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"},
              {.text = PLAIN}),
          2);
}

CASE(http_client_queue_fails) /* the one that fails, and the next */ {
    queue(ANSWERS({.text = PLAIN}, {.text = NULL, .then = CLOSE}, {.text = PLAIN}), 3);
}

CASE(http_client_queue_resets) /* the same with a reset */ {
    queue(ANSWERS({.text = PLAIN}, {.text = NULL, .then = RESET}, {.text = PLAIN}), 3);
}

CASE_DIFFERS(http_client_queue_too_much, "K", "what was not asked for is no answer") {
    queue(ANSWERS({.text = PLAIN "too much"}, {.text = PLAIN}, {.text = PLAIN}), 2);
}

CASE_DIFFERS(http_client_queue_second_answer_early, "K", "what was not asked for is no answer") {
    queue(ANSWERS({.text = PLAIN PLAIN}, {.text = PLAIN}), 2);
}

CASE(http_client_queue_head_body) /* a HEAD has no body, whatever its length is */ {

    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene,
               ANSWERS({.text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\n"}, {.text = PLAIN}));
    ask_new(&asked[0], "head");
    ask_new(&asked[1], "get");
    CHECK(ask(scene.connection, &asked[0], EVHTTP_REQ_HEAD, "/") == 0);
    CHECK(ask(scene.connection, &asked[1], EVHTTP_REQ_GET, "/") == 0);
    await_all(&scene, asked, 2);
    scene_close(&scene);
}

CASE(http_client_queue_own_close) /* the client says that it closes */ {

    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    evhttp_add_header(evhttp_request_get_output_headers(ask_new(&asked[0], "first")), "Connection",
                      "close");
    ask_new(&asked[1], "second");
    CHECK(ask(scene.connection, &asked[0], EVHTTP_REQ_GET, "/") == 0);
    CHECK(ask(scene.connection, &asked[1], EVHTTP_REQ_GET, "/") == 0);
    await_all(&scene, asked, 2);
    scene_close(&scene);
}

CASE(http_client_freed_with_requests) /* whose callbacks do not come */ {

    struct http_scene scene;
    struct asked asked[3];
    scene_open(&scene, ANSWERS({.text = NULL}));
    ask_many(&scene, asked, 3);
    run_until_count(scene.base, &scene.server.requests, 1);
    scene_close(&scene);
    say("done %u %u %u", asked[0].done, asked[1].done, asked[2].done);
}

CASE(http_client_freed_before_connected) /* the same */ {

    struct http_scene scene;
    struct asked asked[3];
    scene_open(&scene, ANSWERS({.text = NULL}));
    ask_many(&scene, asked, 3);
    evhttp_connection_free(scene.connection);
    scene.connection = NULL;
    calm(scene.base);
    scene_close(&scene);
    say("done %u %u %u", asked[0].done, asked[1].done, asked[2].done);
}

CASE(http_client_cancel) /* in each state of a request */ {

    struct http_scene scene;
    struct asked asked[4];
    say("one that waits");
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}));
    ask_many(&scene, asked, 3);
    evhttp_cancel_request(asked[1].request);
    asked[1].done = 1;
    await_all(&scene, asked, 3);
    scene_close(&scene);
    say("the one that is being connected for");
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}));
    ask_many(&scene, asked, 3);
    evhttp_cancel_request(asked[0].request);
    asked[0].done = 1;
    await_all(&scene, asked, 3);
    scene_close(&scene);
    say("the one that is being answered");
    scene_open(&scene, ANSWERS({.text = NULL}, {.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}));
    ask_many(&scene, asked, 3);
    run_until_count(scene.base, &scene.server.requests, 1);
    evhttp_cancel_request(asked[0].request);
    asked[0].done = 1;
    await_all(&scene, asked, 3);
    scene_close(&scene);
    say("the only one, being answered");
    scene_open(&scene, ANSWERS({.text = NULL}, {.text = PLAIN}));
    ask_many(&scene, asked, 1);
    run_until_count(scene.base, &scene.server.requests, 1);
    evhttp_cancel_request(asked[0].request);
    calm(scene.base);
    say("and another");
    get(&scene, &asked[1], "another", "/");
    scene_close(&scene);
    say("one that was never sent");
    evhttp_cancel_request(ask_new(&asked[0], "unsent"));
}

CASE_DIFFERS(http_client_cancel_owned, "memory safety",
             "a request has no connection after its end") {

    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene, ANSWERS({.text = NULL}, {.text = PLAIN}));
    ask_many(&scene, asked, 2);
    struct evhttp_request *request = asked[0].request;
    evhttp_request_own(request);
    run_until_count(scene.base, &scene.server.requests, 1);
    evhttp_cancel_request(request);
    say("connection %d", evhttp_request_get_connection(request) != NULL);
    evhttp_request_free(request);
    asked[0].done = 1;
    await_all(&scene, asked, 2);
    scene_close(&scene);
}

CASE_DIFFERS(http_client_owned_over_error, "memory safety",
             "a request has no connection after its end") {

    struct http_scene scene;
    struct asked asked[1];
    scene_open(&scene, ANSWERS({.text = NULL, .then = CLOSE}));
    ask_many(&scene, asked, 1);
    struct evhttp_request *request = asked[0].request;
    evhttp_request_own(request);
    await_all(&scene, asked, 1);
    say("connection %d, code %d", evhttp_request_get_connection(request) != NULL,
        evhttp_request_get_response_code(request));
    evhttp_request_free(request);
    scene_close(&scene);
}

CASE_DIFFERS(http_client_owned_over_connection, "memory safety",
             "a request has no connection after its end") {

    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene, ANSWERS({.text = NULL, .then = CLOSE}));
    ask_many(&scene, asked, 2);
    evhttp_request_own(asked[0].request);
    evhttp_request_own(asked[1].request);
    evhttp_connection_free(scene.connection);
    scene.connection = NULL;
    for (int i = 0; i < 2; i++) {
        say("connection %d", evhttp_request_get_connection(asked[i].request) != NULL);
        evhttp_request_free(asked[i].request);
    }
    scene_close(&scene);
}

static void completion(const struct answer *answers, unsigned count, unsigned requests) {
    struct http_scene scene;
    struct asked asked[4];
    scene_open(&scene, answers, count);
    ask_many(&scene, asked, requests);
    evhttp_connection_free_on_completion(scene.connection);
    for (unsigned i = 0; i < requests; i++)
        run_until_count(scene.base, &asked[i].done, 1);
    calm(scene.base);
    scene.connection = NULL;
    say("ended by the client: %u", scene.server.ends);
    scene_close(&scene);
}

CASE_DIFFERS(http_client_free_on_completion_kept_alive, "K",
             "freed when its last request has ended") {
    completion(ANSWERS({.text = PLAIN}), 1);
}

CASE(http_client_free_on_completion_closed) {
    completion(ANSWERS({.text = LAST}), 1);
}

CASE(http_client_free_on_completion_until_end) {
    completion(ANSWERS({.text = "HTTP/1.1 200 OK\r\n\r\nabc", .then = CLOSE}), 1);
}

CASE(http_client_free_on_completion_queue) {
    completion(ANSWERS({.text = LAST}, {.text = LAST}), 2);
}

CASE(http_client_free_on_completion_error) {
    completion(ANSWERS({.text = NULL, .then = CLOSE}), 1);
}

CASE(http_client_free_on_completion_idle) {

    struct http_scene scene;
    struct asked asked[1];
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    ask_many(&scene, asked, 1);
    run_until_count(scene.base, &asked[0].done, 1);
    evhttp_connection_free_on_completion(scene.connection);
    scene.connection = NULL;
    calm(scene.base);
    scene_close(&scene);
}

CASE(http_client_idle_ends) /* the next request has a new connection */ {

    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    ask_many(&scene, asked, 1);
    run_until_count(scene.base, &asked[0].done, 1);
    connection_end(scene.server.open[0], CLOSE);
    calm(scene.base);
    say("again");
    get(&scene, &asked[1], "again", "/");
    connection_end(scene.server.open[1], RESET);
    calm(scene.base);
    scene_close(&scene);
}

CASE(http_client_idle_gets_bytes) /* which end it */ {

    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    ask_many(&scene, asked, 1);
    run_until_count(scene.base, &asked[0].done, 1);
    calm(scene.base);
    send_all(scene.server.open[0]->fd, "bytes", 5);
    calm(scene.base);
    get(&scene, &asked[1], "again", "/");
    scene_close(&scene);
}

CASE(http_client_idle_end_not_seen) /* before the next request is sent */ {

    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    ask_many(&scene, asked, 1);
    run_until_count(scene.base, &asked[0].done, 1);
    connection_end(scene.server.open[0], CLOSE);
    get(&scene, &asked[1], "again", "/");
    say("connections %u", scene.server.connections);
    scene_close(&scene);
}

static void ask_with_it_again(struct asked *asked, struct evhttp_request *request) {
    if (asked->done > 1)
        return;
    evbuffer_drain(evhttp_request_get_input_buffer(request),
                   evbuffer_get_length(evhttp_request_get_input_buffer(request)));
    asked->request = request;
    say("again: %d", ask(asked->connection, asked, EVHTTP_REQ_GET, "/again"));
}

CASE_DIFFERS(http_client_request_asked_again, "memory safety",
             "libevent frees it after its callback") {
    struct http_scene scene;
    struct asked asked;
    scene_open(
        &scene,
        ANSWERS(
            {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n"},
            {.text = PLAIN}));
    ask_new(&asked, "it");
    asked.on_done = ask_with_it_again;
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &asked.done, 2);
    scene_close(&scene);
}
