/* evhttp's client: requests as they are sent, and answers of every shape. */
#include "http_client.h"

#define EMPTY "HTTP/1.1 200 OK\r\nContent-Length: 0\r\n\r\n"

CASE(http_client_get) /* twice on one connection */ {
    struct http_scene scene;
    struct asked first, second;
    scene_open(&scene,
               ANSWERS({.text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\nX-One: 1\r\n\r\nhello"},
                       {.text = "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n"}));
    get(&scene, &first, "first", "/path?query");
    get(&scene, &second, "second", "/");
    say("connections %u", scene.server.connections);
    scene_close(&scene);
}

struct request {
    enum evhttp_cmd_type type;
    const char *body;
};

/* Sends each, with a header of the program's own, and waits for its answer, which is empty. */
static void send_each(const struct request *requests, size_t count) {
    struct http_scene scene;
    struct answer answers[16];
    CHECK(count <= COUNT(answers));
    for (size_t i = 0; i < count; i++)
        answers[i] = (struct answer){.text = EMPTY};
    scene_open(&scene, answers, (unsigned)count);
    for (size_t i = 0; i < count; i++) {
        struct asked asked;
        struct evhttp_request *request = ask_new(&asked, "it");
        const char *body = requests[i].body;
        if (body)
            evbuffer_add(evhttp_request_get_output_buffer(request), body, strlen(body));
        evhttp_add_header(evhttp_request_get_output_headers(request), "X-Mine", "yes");
        CHECK(ask(scene.connection, &asked, requests[i].type, "/path") == 0);
        run_until_count(scene.base, &asked.done, 1);
    }
    say("connections %u", scene.server.connections);
    scene_close(&scene);
}

CASE(http_client_methods) /* what is sent for each */ {
    static const struct request requests[] = {
        {EVHTTP_REQ_GET, NULL},    {EVHTTP_REQ_POST, NULL},    {EVHTTP_REQ_POST, "a body"},
        {EVHTTP_REQ_HEAD, NULL},   {EVHTTP_REQ_PUT, "p"},      {EVHTTP_REQ_PUT, NULL},
        {EVHTTP_REQ_DELETE, NULL}, {EVHTTP_REQ_OPTIONS, NULL}, {EVHTTP_REQ_TRACE, NULL},
        {EVHTTP_REQ_PATCH, NULL}};
    send_each(requests, COUNT(requests));
}

CASE_DIFFERS(http_client_bodies_of_all_methods, "K", "every body has a length") {
    static const struct request requests[] = {{EVHTTP_REQ_DELETE, "d"},
                                              {EVHTTP_REQ_OPTIONS, "o"},
                                              {EVHTTP_REQ_PATCH, "x"},
                                              {EVHTTP_REQ_GET, "g"},
                                              {EVHTTP_REQ_TRACE, "t"}};
    send_each(requests, COUNT(requests));
}

/* A POST of three bytes with this header, and an empty answer. */
static void post_with(const char *name, const char *value, const char *uri) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = EMPTY}));
    struct evhttp_request *request = ask_new(&asked, "it");
    CHECK(evhttp_add_header(evhttp_request_get_output_headers(request), name, value) == 0);
    evbuffer_add(evhttp_request_get_output_buffer(request), "abc", 3);
    say("make_request: %d", ask(scene.connection, &asked, EVHTTP_REQ_POST, uri));
    run_until_count(scene.base, &asked.done, 1);
    calm(scene.base);
    scene_close(&scene);
}

CASE(http_client_own_headers) /* those that the program sets are not set by the library */ {
    static const char *const headers[][2] = {
        {"Host", "example.com"},        {"Connection", "close"},      {"Content-Length", "3"},
        {"Content-Type", "text/plain"}, {"connection", "keep-alive"}, {"Proxy-Connection", "close"},
        {"Accept-Encoding", "gzip"},    {"Keep-Alive", "5"},          {"Expect", "200-ok"}};
    for (size_t i = 0; i < COUNT(headers); i++)
        post_with(headers[i][0], headers[i][1], "/");
}

CASE_DIFFERS(http_client_own_coding, "K", "no length beside a coding") {
    post_with("Transfer-Encoding", "chunked", "/");
}

CASE_DIFFERS(http_client_blanks_in_targets, "K", "blanks in what is asked for are coded") {
    post_with("X", "y", "/a b c");
}

static void changed(struct asked *asked, int what) {
    struct evhttp_request *request = asked->request;
    if (what == 0)
        request->minor = 0;
    if (what == 1)
        evbuffer_add(evhttp_request_get_output_buffer(request), "late", 4);
    if (what == 2)
        evhttp_add_header(evhttp_request_get_output_headers(request), "X", "late");
}

CASE(http_client_changed_after_asking) /* what counts is what is there when it is sent */ {
    for (int what = 0; what < 3; what++) {
        struct http_scene scene;
        struct asked asked;
        scene_open(&scene, ANSWERS({.text = EMPTY, .then = CLOSE}));
        ask_new(&asked, "it");
        CHECK(ask(scene.connection, &asked, EVHTTP_REQ_POST, "/") == 0);
        changed(&asked, what);
        run_until_count(scene.base, &asked.done, 1);
        calm(scene.base);
        scene_close(&scene);
    }
}

static void answer_each(const struct answer *answers, size_t count) {
    for (size_t i = 0; i < count; i++) {
        struct http_scene scene;
        struct asked asked;
        scene_open(&scene, &answers[i], 1);
        scene.server.quiet = true;
        say("answer %zu", i);
        get(&scene, &asked, "it", "/");
        calm(scene.base);
        say("ended by the client: %u", scene.server.ends);
        scene_close(&scene);
    }
}

CASE(http_client_bodies) /* how the end of the body is found */ {
    static const struct answer answers[] = {
        {.text = "HTTP/1.1 200 OK\r\n\r\nuntil the end", .then = CLOSE},
        {.text = "HTTP/1.0 200 OK\r\n\r\nuntil the end", .then = CLOSE},
        {.text = "HTTP/1.0 200 OK\r\nConnection: keep-alive\r\nContent-Length: 3\r\n\r\nabc"},
        {.text = "HTTP/1.1 200 OK\r\nConnection: close\r\nContent-Length: 3\r\n\r\nabc"},
        {.text = "HTTP/1.1 200 OK\r\nConnection: Close\r\n\r\nabc", .then = CLOSE},
        {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n"},
        {.text = "HTTP/1.1 204 No Content\r\n\r\n"},
        {.text = "HTTP/1.1 304 Not Modified\r\nContent-Length: 10\r\n\r\n"},
        {.text = "HTTP/1.1 205 Reset\r\nContent-Length: 0\r\n\r\n"},
        {.text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"},
        {.text = "HTTP/1.1 101 Switching\r\nUpgrade: x\r\n\r\n"},
        {.text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nab", .then = CLOSE},
        {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nab", .then = CLOSE},
        {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n",
         .then = CLOSE},
        {.text = "HTTP/1.1 200 OK\r\nContent-Le", .then = CLOSE},
        {.text = NULL, .then = CLOSE},
        {.text = NULL, .then = RESET},
        {.text = "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello", .piecewise = true},
        {.text = "HTTP/1.1 200 OK\r\nTransfer-Encoding: "
                 "chunked\r\n\r\n3\r\nabc\r\n2\r\nde\r\n0\r\n\r\n",
         .piecewise = true}};
    answer_each(answers, COUNT(answers));
}

CASE_DIFFERS(http_client_connections_that_end, "K",
             "an old server's, and one with bytes to spare") {
    static const struct answer answers[] = {
        {.text = "HTTP/1.0 200 OK\r\nContent-Length: 3\r\n\r\nabc"},
        {.text = "HTTP/1.1 204 No Content\r\nContent-Length: 3\r\n\r\nabc"},
        {.text = "HTTP/1.1 200 OK\r\nContent-Length: 3\r\n\r\nabcde"},
        {.text = "HTTP/1.1 200 OK\r\nConnection: keep-alive, close\r\nContent-Length: 0\r\n\r\n"}};
    answer_each(answers, COUNT(answers));
}

CASE_DIFFERS(http_client_interim_answers, "K", "those that are not final are none") {
    static const struct answer answers[] = {
        {.text = "HTTP/1.1 102 Processing\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nhi"},
        {.text = "HTTP/1.1 103 Early Hints\r\nLink: x\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"},
        {.text = "HTTP/1.1 100 Continue\r\nX: y\r\n\r\nHTTP/1.1 204 No Content\r\n\r\n"}};
    answer_each(answers, COUNT(answers));
}

#define TEN(text) text text text text text text text text text text
#define CONTINUE "HTTP/1.1 100 Continue\r\n\r\n"
#define HUNDRED_CONTINUE TEN(TEN(CONTINUE))

CASE(http_client_many_interim_answers) /* a hundred are taken */ {
    static const struct answer answers[] = {{.text = HUNDRED_CONTINUE EMPTY},
                                            {.text = HUNDRED_CONTINUE EMPTY}};
    answer_each(answers, COUNT(answers));
}

CASE_DIFFERS(http_client_too_many_interim_answers, "K", "no more than a hundred are taken") {
    static const struct answer answers[] = {{.text = HUNDRED_CONTINUE CONTINUE EMPTY}};
    answer_each(answers, COUNT(answers));
}

/* Libevent's fixed releases drop the trailer too. */
CASE_DIFFERS(http_client_trailers, "CVE-2026-63379", "what follows the chunks is no header") {
    static const struct answer answers[] = {
        {.text =
             "HTTP/1.1 200 OK\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\nX: 1\r\n\r\n"}};
    answer_each(answers, COUNT(answers));
}

static void expect(const struct answer *answers, unsigned count) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, answers, count);
    struct evhttp_request *request = ask_new(&asked, "it");
    evhttp_request_set_header_cb(request, asked_head);
    evhttp_request_set_chunked_cb(request, asked_chunk);
    evhttp_add_header(evhttp_request_get_output_headers(request), "Expect", "100-continue");
    evbuffer_add(evhttp_request_get_output_buffer(request), "abc", 3);
    say("make_request: %d", ask(scene.connection, &asked, EVHTTP_REQ_POST, "/"));
    run_until_count(scene.base, &asked.done, 1);
    calm(scene.base);
    scene_close(&scene);
}

CASE(http_client_expects_continue) /* the body waits until the server wants it */ {
    expect(ANSWERS({.text = "HTTP/1.1 100 Continue\r\n\r\n"},
                   {.text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}));
    expect(ANSWERS(
        {.text = "HTTP/1.1 100 Continue\r\n\r\n"},
        {.text = "HTTP/1.1 100 Continue\r\n\r\nHTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nok"}));
    expect(ANSWERS({.text = "HTTP/1.1 100 Continue\r\n\r\n", .then = CLOSE}));
}

CASE_DIFFERS(http_client_expects_in_vain, "K", "a connection that waits for a body is not kept") {
    expect(ANSWERS({.text = "HTTP/1.1 417 No\r\nContent-Length: 2\r\n\r\nno"}));
    expect(ANSWERS({.text = "HTTP/1.1 200 OK\r\nContent-Length: 2\r\n\r\nno"}));
}

CASE(http_client_connect_method) /* after which the connection is the program's */ {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = "HTTP/1.1 200 Connected\r\n\r\n"}));
    ask_new(&asked, "it");
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_CONNECT, "host:80") == 0);
    run_until_count(scene.base, &asked.done, 1);
    calm(scene.base);
    say("ended by the client: %u", scene.server.ends);
    connection_end(scene.server.open[0], CLOSE);
    calm(scene.base);
    scene_close(&scene);
}
