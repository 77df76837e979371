/* event2/http.h: clients that leave, and time that passes. */
#include "http_watched.h"

CASE(http_answers_come_later) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = keep;
    ask(&server, &wire, GET("/a") GET("/b"));
    run_for(server.base, 50);
    say("requests %u", server.requests);
    answer(server.kept);
    run_until_count(server.base, &server.requests, 2);
    answer(server.kept);
    wire_until(&wire, "ok", 2);
    wire_show(&wire);
    wire_close(&wire);
    run_until_count(server.base, &server.seen, 1);
    stop(&server);
}

/* The client goes while its request is being worked on: that is noticed when the answer is sent. */
CASE(http_clients_that_leave) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = keep;
    say("-- closed");
    ask(&server, &wire, GET("/a"));
    wire_close(&wire);
    run_for(server.base, 50);
    say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
    answer(server.kept);
    run_until_count(server.base, &server.seen, 1);
    say("-- reset");
    ask(&server, &wire, GET("/a"));
    event_free(wire.readable);
    close_with_reset(wire.fd);
    run_for(server.base, 50);
    say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
    answer(server.kept);
    run_until_count(server.base, &server.seen, 2);
    say("-- nothing more to say, but to hear");
    ask(&server, &wire, GET("/a"));
    shutdown(wire.fd, SHUT_WR);
    run_for(server.base, 50);
    answer(server.kept);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

CASE_DIFFERS(http_clients_that_have_said_all, "K", "all that was asked for is answered") {
    struct server server;
    static struct wire wire;
    serve(&server);
    server.reply = keep;
    ask(&server, &wire, GET("/a") GET("/b"));
    shutdown(wire.fd, SHUT_WR);
    run_for(server.base, 50);
    answer(server.kept);
    run_until_count(server.base, &server.requests, 2);
    answer(server.kept);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

CASE(http_clients_that_leave_before_they_ask) {
    static const char *const begun[] = {
        "", "GET /a HTTP/1.1\r\nHo", "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc",
        "POST /a HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc",
    };
    static struct wire wire;
    struct server server;
    serve(&server);
    for (size_t i = 0; i < COUNT(begun); i++) {
        wire_open(&wire, &server);
        wire_send(&wire, begun[i]);
        shutdown(wire.fd, SHUT_WR);
        wire_to_end(&wire);
        wire_show(&wire);
        wire_close(&wire);
    }
    wire_open(&wire, &server);
    wire_send(&wire, GET("/a"));
    shutdown(wire.fd, SHUT_WR);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

/* The client goes in the middle of a reply: the request is the program's until it ends that. */
CASE(http_clients_that_leave_in_the_middle) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = keep;
    ask(&server, &wire, GET("/a"));
    evhttp_send_reply_start(server.kept, HTTP_OK, NULL);
    struct evbuffer *body = evbuffer_new();
    evbuffer_add(body, "x", 1);
    evhttp_send_reply_chunk(server.kept, body);
    wire_until(&wire, "x", 1);
    event_free(wire.readable);
    close_with_reset(wire.fd);
    while (server.seen == 0) {
        evbuffer_add(body, "x", 1);
        evhttp_send_reply_chunk(server.kept, body);
        pass(server.base);
    }
    say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
    evbuffer_add(body, "x", 1);
    evhttp_send_reply_chunk(server.kept, body);
    say("left %d", evbuffer_get_length(body) > 0);
    evhttp_send_reply_end(server.kept);
    evbuffer_free(body);
    stop(&server);
}

/* The same, while the program has nothing to send: the end is noticed as soon as a part has been sent. */
CASE(http_clients_that_leave_a_silent_reply) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = keep;
    for (int how = 0; how < 3; how++) {
        unsigned before = server.seen;
        ask(&server, &wire, GET("/a"));
        evhttp_send_reply_start(server.kept, HTTP_OK, NULL);
        struct evbuffer *body = evbuffer_new();
        evbuffer_add(body, "x", 1);
        evhttp_send_reply_chunk(server.kept, body);
        wire_until(&wire, "x", 1);
        event_free(wire.readable);
        if (how == 0)
            close(wire.fd);
        else if (how == 1)
            close_with_reset(wire.fd);
        else
            shutdown(wire.fd, SHUT_WR);
        run_until_count(server.base, &server.seen, before + 1);
        say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
        evhttp_send_reply_end(server.kept);
        evbuffer_free(body);
        if (how == 2)
            close(wire.fd);
    }
    stop(&server);
}

static void show_enabled(struct server *server, struct evhttp_request *req) {
    struct bufferevent *bev =
        evhttp_connection_get_bufferevent(evhttp_request_get_connection(req));
    (void)server;
    say("reading %d", (bufferevent_get_enabled(bev) & EV_READ) != 0);
    bufferevent_enable(bev, EV_READ | EV_WRITE);
    server->kept = req;
}

/* Until it is answered nothing is read, unless the program wants that: then it stays so. */
CASE(http_reading_while_a_request_waits) {
    static struct wire wire;
    struct server server;
    serve(&server);
    server.reply = show_enabled;
    ask(&server, &wire, GET("/a"));
    run_for(server.base, 20);
    struct bufferevent *bev =
        evhttp_connection_get_bufferevent(evhttp_request_get_connection(server.kept));
    say("reading %d", (bufferevent_get_enabled(bev) & EV_READ) != 0);
    answer(server.kept);
    wire_until(&wire, "ok", 1);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

CASE(http_timeouts) {
    static const char *const begun[] = {
        "", "GET /a HTTP/1.1\r\nHo", "POST /a HTTP/1.1\r\nContent-Length: 9\r\n\r\nabc", GET("/a"),
    };
    static struct wire wire;
    struct timeval timeout = {0, 50000};
    struct server server;
    serve(&server);
    evhttp_set_timeout_tv(server.http, &timeout);
    for (size_t i = 0; i < COUNT(begun); i++) {
        wire_open(&wire, &server);
        wire_send(&wire, begun[i]);
        wire_to_end(&wire);
        wire_show(&wire);
        wire_close(&wire);
    }
    /* None while the program works. */
    server.reply = keep;
    ask(&server, &wire, GET("/a"));
    run_for(server.base, 120);
    say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
    answer(server.kept);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    /* No more for new connections. */
    evhttp_set_timeout_tv(server.http, NULL);
    server.reply = NULL;
    wire_open(&wire, &server);
    run_for(server.base, 120);
    say("ended %d", wire.ended);
    evhttp_set_timeout(server.http, 1);
    wire_close(&wire);
    stop(&server);
}

/* A client that does not read. */
CASE(http_write_timeout) {
    static struct wire wire;
    struct timeval timeout = {0, 50000};
    struct server server;
    serve(&server);
    server.reply = keep;
    size_t length = 32 << 20;
    char *bytes = calloc(1, length);
    for (int parts = 0; parts < 2; parts++) {
        ask(&server, &wire, GET("/a"));
        event_del(wire.readable);
        evhttp_connection_set_timeout_tv(evhttp_request_get_connection(server.kept), &timeout);
        struct evbuffer *body = evbuffer_new();
        evbuffer_add(body, bytes, length);
        if (parts) {
            evhttp_send_reply_start(server.kept, HTTP_OK, NULL);
            evhttp_send_reply_chunk(server.kept, body);
        } else
            evhttp_send_reply(server.kept, HTTP_OK, NULL, body);
        run_until_count(server.base, &server.seen, (unsigned)parts + 1);
        if (parts) {
            say("connection %d", evhttp_request_get_connection(server.kept) != NULL);
            evhttp_send_reply_end(server.kept);
        }
        evbuffer_free(body);
        wire_close(&wire);
    }
    free(bytes);
    stop(&server);
}
