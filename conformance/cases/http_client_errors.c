/* evhttp's client: the connection ends while a request is being written. */
#include "http_client.h"

enum { LARGE = 8000000 };

/* A body that no socket buffer holds. The server reads a little of it, answers early, if at all,
 * and closes. */
static void cut_short(int flags, const char *answer) {
    struct http_scene scene;
    struct asked asked;
    char some[100], *body = calloc(1, LARGE);
    scene_open(&scene, NULL, 0);
    event_del(scene.server.accepting);
    CHECK(body && evhttp_connection_set_flags(scene.connection, flags) == 0);
    evbuffer_add(evhttp_request_get_output_buffer(ask_new(&asked, "it")), body, LARGE);
    free(body);
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_POST, "/") == 0);
    calm(scene.base);
    int fd = accept_one(scene.server.listener);
    calm(scene.base);
    CHECK(recv(fd, some, sizeof some, 0) == sizeof some);
    if (answer) {
        send_all(fd, answer, strlen(answer));
        calm(scene.base);
    }
    close(fd);
    run_until_count(scene.base, &asked.done, 1);
    scene_close(&scene);
}

#define EARLY "HTTP/1.1 413 Too Large\r\nContent-Length: 2\r\n\r\nno"

CASE(http_client_cut_short) {
    cut_short(0, NULL);
    cut_short(0, EARLY);
}

CASE(http_client_reads_on_write_error) /* if it is told to */ {
    cut_short(EVHTTP_CON_READ_ON_WRITE_ERROR, NULL);
    cut_short(EVHTTP_CON_READ_ON_WRITE_ERROR, EARLY);
}

CASE(http_client_goes_on_after_an_error) /* on a new connection */ {
    struct http_scene scene;
    struct asked asked[2];
    scene_open(&scene, ANSWERS({.text = NULL, .then = RESET}, {.text = EARLY}));
    for (unsigned i = 0; i < 2; i++) {
        ask_new(&asked[i], i == 0 ? "one" : "two");
        CHECK(ask(scene.connection, &asked[i], EVHTTP_REQ_PUT, "/") == 0);
    }
    run_until_count(scene.base, &asked[1].done, 1);
    say("connections %u", scene.server.connections);
    scene_close(&scene);
}
