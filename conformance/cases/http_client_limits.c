/* Answers that evhttp's client does not take: too long ones, and those that are none. */
#include "http_client.h"

enum { UNSET = -2 };

static void limited(const char *name, const struct answer *answer, ev_ssize_t head, ev_ssize_t body,
                    bool chunks) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, answer, 1);
    scene.server.quiet = true;
    if (head != UNSET)
        evhttp_connection_set_max_headers_size(scene.connection, head);
    if (body != UNSET)
        evhttp_connection_set_max_body_size(scene.connection, body);
    ask_new(&asked, name);
    if (chunks)
        evhttp_request_set_chunked_cb(asked.request, asked_chunk);
    asked.quiet_chunks = true;
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &asked.done, 1);
    if (chunks)
        say("%zu in chunks", asked.chunked);
    scene_close(&scene);
}

CASE(http_client_max_headers_size) /* of the lines without their ends: 15 and 17 bytes */ {
    struct answer a = {.text = "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"};
    static const ev_ssize_t sizes[] = {-1, 0, 2, 14, 15, 16, 31, 32, 33, 35, 36, 37, 38, 39, 1000};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        say("%d", (int)sizes[i]);
        limited("it", &a, sizes[i], UNSET, false);
    }
    struct answer b = {.text = "HTTP/1.1 200 OK\r\nX: ", .letters = 500};
    limited("endless", &b, 100, UNSET, false);
    struct answer c = {.text = "HTTP/1.1 200 ", .letters = 500};
    limited("endless first line", &c, 100, UNSET, false);
}

CASE_DIFFERS(http_client_endless_framing, "K",
             "the lines of a trailer are a head's, and a size ends") {
    struct answer d = {
        .text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: ",
        .letters = 500};
    limited("endless trailer", &d, 100, UNSET, false);
    struct answer e = {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n",
                       .letters = 500};
    limited("endless chunk size", &e, 100, UNSET, false);
}

CASE(http_client_max_body_size) {
    struct answer length = {.text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"},
                  chunked = {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                                     "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
                  end = {.text = "HTTP/1.1 200 OK\r\n\r\nhello", .then = CLOSE},
                  endless = {.text = "HTTP/1.1 200 OK\r\n\r\n", .letters = 500};
    static const ev_ssize_t sizes[] = {-1, 0, 2, 4, 5, 6};
    for (size_t i = 0; i < COUNT(sizes); i++) {
        say("%d", (int)sizes[i]);
        limited("length", &length, UNSET, sizes[i], false);
        limited("chunked", &chunked, UNSET, sizes[i], false);
        limited("until the end", &end, UNSET, sizes[i], false);
        limited("length", &length, UNSET, sizes[i], true);
        limited("chunked", &chunked, UNSET, sizes[i], true);
    }
    limited("endless", &endless, UNSET, 100, false);
    limited("endless", &endless, UNSET, 100, true);
    struct answer big = {.text = "HTTP/1.1 200 OK\r\nContent-Length: 99999999999999999999\r\n\r\n",
                         .then = CLOSE},
                  big2 = {.text =
                              "HTTP/1.1 200 OK\r\nContent-Length: 9223372036854775807\r\n\r\nabc",
                          .then = CLOSE};
    limited("huge", &big, UNSET, UNSET, false);
    limited("largest", &big2, UNSET, UNSET, false);
    struct answer
        bigchunk =
            {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nffffffffffffffff\r\nabc",
             .then = CLOSE},
        bigchunk2 =
            {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n7fffffffffffffff\r\nabc",
             .then = CLOSE},
        big3 = {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                        "chunked\r\n\r\n1\r\na\r\n7fffffffffffffff\r\nabc",
                .then = CLOSE};
    limited("huge chunk", &bigchunk, UNSET, UNSET, false);
    limited("largest chunk", &bigchunk2, UNSET, UNSET, false);
    limited("largest second chunk", &big3, UNSET, UNSET, false);
}

/* Debian's two releases of libevent 2.1.12 take different ones of these. */
CASE_DIFFERS(http_client_hostile, "K", "what can be read in two ways is not read") {
    static const char *const heads[] = {
        "HTTP/1.1\r\n\r\n",
        "HTTP/1.1 200\r\n\r\n",
        "HTTP/1.1 200 \r\n\r\n",
        "HTTP/1.1  200 OK\r\n\r\n",
        "HTTP/1.1 20 OK\r\n\r\n",
        "HTTP/1.1 2000 OK\r\n\r\n",
        "HTTP/1.1 -1 OK\r\n\r\n",
        "HTTP/1.1 0 OK\r\n\r\n",
        "HTTP/1.1 99 OK\r\n\r\n",
        "HTTP/1.1 999 OK\r\n\r\n",
        "HTTP/1.1 abc OK\r\n\r\n",
        "HTTP/2.0 200 OK\r\n\r\n",
        "HTTP/1.2 200 OK\r\n\r\n",
        "HTTP/0.9 200 OK\r\n\r\n",
        "http/1.1 200 OK\r\n\r\n",
        "ICY 200 OK\r\n\r\n",
        "nonsense\r\n\r\n",
        "\r\n\r\n",
        "\r\nHTTP/1.1 200 OK\r\n\r\n",
        "HTTP/1.1 200 OK\n\n",
        "HTTP/1.1 200 OK\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\n: empty\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX : y\r\n\r\n",
        "HTTP/1.1 200 OK\r\n folded: first\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: y\r\n z\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX:\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX: a\rb\r\n\r\n",
        "HTTP/1.1 200 OK\r\nX:  a  \r\n\r\n",
        "HTTP/1.1 200 OK\r\nX:\ta\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3\r\nContent-Length: 2\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: +3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: -3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3x\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length:\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nContent-Length: 3, 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: gzip, chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\nContent-Length: "
        "3\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: identity\r\nContent-Length: 3\r\n\r\nabc",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\nx\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n0x3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n-3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3;a=b\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabcx0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\nabc\n0\n\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nno colon\r\n\r\n",
        "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n folded\r\n\r\n",
        "HTTP/1.0 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n",
        "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\nabc",
        "HTTP/1.1 100 Continue\r\n\r\n",
        "HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nConnection: CLOSE\r\nContent-Length: 0\r\n\r\n",
        "HTTP/1.1 200 OK\r\nContent-Length: 03\r\n\r\nabc",
    };
    for (size_t i = 0; i < COUNT(heads); i++) {
        struct answer answer = {.text = heads[i], .then = CLOSE};
        step("answer");
        token_text(heads[i]);
        limited("it", &answer, UNSET, UNSET, false);
    }
}
CASE_DIFFERS(http_client_zero_bytes, "K", "a value is not cut at a zero byte") {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = NULL}));
    ask_new(&asked, "it");
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &scene.server.requests, 1);
    static const char bytes[] = "HTTP/1.1 200 OK\r\nX: a\0b\r\nContent-Length: 0\r\n\r\n";
    send_all(scene.server.open[0]->fd, bytes, sizeof bytes - 1);
    run_until_count(scene.base, &asked.done, 1);
    scene_close(&scene);
}
