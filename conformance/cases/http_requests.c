/* event2/http.h: what a server makes of requests. */
#include "http_server.h"

#include <event2/bufferevent_struct.h>

CASE(http_requests) {
    struct server server;
    serve(&server);
    exchange(&server, LAST);
    exchange(&server, "GET / HTTP/1.0\r\n\r\n");
    exchange(&server, "GET /a HTTP/1.0\r\nConnection: keep-alive\r\n\r\n" LAST);
    exchange(&server, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: keep-alive\r\n\r\n" LAST);
    exchange(&server, "GET /a HTTP/1.0\r\nConnection: Keep-Alive\r\nHost: x\r\n\r\n"
                      "GET /b HTTP/1.0\r\n\r\n");
    exchange(&server, "GET /a HTTP/1.1\r\nHost: h\r\nConnection: Close\r\n\r\n" LAST);
    exchange(&server, "GET /a?b=c#d HTTP/1.1\r\nHost: h\r\nA: 1\r\nB:2\r\nC:   3   \r\nA: 4\r\n"
                      "D:\r\nE: :\r\n\r\n" LAST);
    exchange(&server, "DELETE /%20%zz HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
    exchange(&server, "POST / HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
    stop(&server);
}

CASE(http_request_bodies) {
    struct server server;
    serve(&server);
    exchange(&server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 5\r\n\r\nhello" LAST);
    exchange(&server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 0\r\n\r\n" LAST);
    exchange(&server, "GET / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" LAST);
    exchange(&server, "DELETE / HTTP/1.1\r\nHost: h\r\nContent-Length: 2\r\n\r\nhi" LAST);
    exchange(&server, "POST / HTTP/1.0\r\nContent-Length: 2\r\n\r\nhi");
    exchange(&server, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "5\r\nhello\r\n00001\r\n!\r\n0\r\n\r\n" LAST);
    exchange(&server, "PUT / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: Chunked\r\n\r\n"
                      "A\r\n0123456789\r\na\r\n0123456789\r\n000\r\n\r\n" LAST);
    exchange(&server, "POST / HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n0\r\n\r\n" LAST);
    stop(&server);
}

/* However the bytes come, the requests are the same. */
CASE(http_requests_byte_by_byte) {
    static const char text[] =
        "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
        "POST /b HTTP/1.1\r\nHost: h\r\nTransfer-Encoding: chunked\r\n\r\n3\r\nabc\r\n1\r\nd\r\n0\r\n\r\n"
        "GET /c HTTP/1.1\r\nHost: h\r\n\r\n" LAST;
    static struct wire wire;
    struct server server;
    serve(&server);
    wire_open(&wire, &server);
    for (size_t i = 0; i + 1 < sizeof text; i++) {
        send_all(wire.fd, text + i, 1);
        pass(server.base);
    }
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

static void show_request(struct server *server, struct evhttp_request *req) {
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    char *address;
    ev_uint16_t port;
    evhttp_connection_get_peer(evcon, &address, &port);
    const struct sockaddr_in *peer = (const void *)evhttp_connection_get_addr(evcon);
    say("peer %s %d %d", address, port != 0,
        peer && peer->sin_family == AF_INET && ntohs(peer->sin_port) == port);
    say("remote %s %d", req->remote_host, req->remote_port == port);
    say("base %d server %d", evhttp_connection_get_base(evcon) == server->base,
        evhttp_connection_get_server(evcon) == server->http);
    say("descriptor %d", bufferevent_getfd(evhttp_connection_get_bufferevent(evcon)) >= 0);
    say("headers %zu body %zu kind %d", req->headers_size, req->body_size, req->kind);
    say("flags %d done %d code %d line %s owned %d", req->flags, req->userdone,
        evhttp_request_get_response_code(req),
        evhttp_request_get_response_code_line(req) ? "?" : "-", evhttp_request_is_owned(req));
    const char *host = evhttp_request_get_host(req);
    say("host %s, again %d", host ? host : "-", host == evhttp_request_get_host(req));
    step("uri");
    token_uri((struct evhttp_uri *)evhttp_request_get_evhttp_uri(req));
    evhttp_send_reply(req, HTTP_OK, NULL, NULL);
    say("done %d code %d line %s", req->userdone, evhttp_request_get_response_code(req),
        evhttp_request_get_response_code_line(req));
}

CASE(http_request_fields) {
    struct server server;
    serve(&server);
    server.reply = show_request;
    exchange(&server, "POST /a/b?c=d HTTP/1.1\r\nHost: bar:99\r\nContent-Length: 3\r\n"
                      "Connection: close\r\n\r\nabc");
    exchange(&server, "POST /a HTTP/1.1\r\nHost: h.h.h\r\nTransfer-Encoding: chunked\r\n"
                      "Connection: close\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    exchange(&server, "GET http://user@Foo.com:80/a/b?c=d HTTP/1.0\r\nHost: bar\r\n\r\n");
    exchange(&server, "GET ftp://host/a HTTP/1.0\r\nHost: bar\r\n\r\n");
    exchange(&server, "GET //host HTTP/1.0\r\n\r\n");
    exchange(&server, "GET / HTTP/1.0\r\n\r\n");
    exchange(&server, "GET /x HTTP/1.0\r\nHost: h:\r\n\r\n");
    exchange(&server, "GET /x HTTP/1.0\r\nHost: [::1]:80\r\n\r\n");
    exchange(&server, "GET /x HTTP/1.0\r\nhost: [::1]\r\n\r\n");
    evhttp_set_allowed_methods(server.http, 0x1ff);
    exchange(&server, "OPTIONS * HTTP/1.0\r\n\r\n");
    exchange(&server, "CONNECT [::1]:443 HTTP/1.0\r\n\r\n");
    stop(&server);
}

static void with_methods(struct server *server, const char *const *methods, size_t count) {
    for (size_t i = 0; i < count; i++) {
        char text[200];
        snprintf(text, sizeof text, "%s /x HTTP/1.1\r\nHost: h\r\n\r\n", methods[i]);
        static struct wire wire;
        unsigned before = server->requests;
        wire_open(&wire, server);
        wire_send(&wire, text);
        wire_until(&wire, "\r\n\r\n", 1);
        wire.text[strcspn(wire.text, "\r")] = 0;
        step(methods[i]);
        token("%u", server->requests - before);
        token_text(wire.text);
        wire_close(&wire);
    }
}

CASE(http_methods) {
    static const char *const methods[] = {
        "GET", "POST", "HEAD", "PUT", "DELETE", "OPTIONS", "TRACE", "PATCH", "MOVE", "get", "FOO",
    };
    struct server server;
    serve(&server);
    with_methods(&server, methods, COUNT(methods));
    evhttp_set_allowed_methods(server.http, 0x1ff);
    with_methods(&server, methods, COUNT(methods));
    evhttp_set_allowed_methods(server.http, EVHTTP_REQ_PATCH);
    with_methods(&server, methods, COUNT(methods));
    evhttp_set_allowed_methods(server.http, 0);
    with_methods(&server, methods, 1);
    stop(&server);
}

CASE(http_limits) {
    struct server server;
    serve(&server);
    evhttp_set_max_headers_size(server.http, 60);
    evhttp_set_max_body_size(server.http, 10);
#define HOST "Host: h\r\nConnection: close\r\n"
    /* 14 + 7 + 17 bytes and the last line. */
    exchange(&server, "GET / HTTP/1.1\r\n" HOST "A: 9012345678901234567\r\n\r\n");
    exchange(&server, "GET / HTTP/1.1\r\nHost: h\r\nA: 4567890123456789012345678901234567890\r\n\r\n" LAST);
    exchange(&server, "GET /012345678901234567890123456789012345678901234567890123456789 HTTP/1.1\r\n");
    exchange(&server, "GET /012345678901234567890123456789012345678901234567890123456789");
    exchange(&server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n01234567890" LAST);
    exchange(&server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 10\r\n\r\n0123456789" LAST);
    exchange(&server, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "5\r\n01234\r\n5\r\n56789\r\n0\r\n\r\n" LAST);
    exchange(&server, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "b\r\n01234567890\r\n0\r\n\r\n" LAST);
    exchange(&server, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\n"
                      "5\r\n01234\r\n6\r\n567890\r\n0\r\n\r\n" LAST);
    exchange(&server, "POST / HTTP/1.1\r\nTransfer-Encoding: chunked\r\n\r\nfffffffff\r\n01234");
    /* None at all. */
    evhttp_set_max_headers_size(server.http, -1);
    evhttp_set_max_body_size(server.http, -1);
    exchange(&server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n01234567890" LAST);
    stop(&server);
}

static void with_limits(struct server *server, struct evhttp_request *req) {
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    (void)server;
    evhttp_connection_set_max_body_size(evcon, 3);
    evhttp_connection_set_max_headers_size(evcon, 45);
    evhttp_send_reply(req, HTTP_OK, NULL, NULL);
}

CASE(http_limits_of_a_connection) {
    struct server server;
    serve(&server);
    server.reply = with_limits;
    exchange(&server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd"
                      "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 4\r\n\r\nabcd");
    exchange(&server, "GET /012345678901234567890123456789 HTTP/1.1\r\nHost: h\r\n\r\n"
                      "GET /012345678901234567890123456789 HTTP/1.1\r\nHost: h\r\n\r\n");
    stop(&server);
}

CASE(http_flags) {
    struct server server;
    serve(&server);
    evhttp_set_max_body_size(server.http, 10);
    say("%d", evhttp_set_flags(server.http, EVHTTP_SERVER_LINGERING_CLOSE) != 0);
    say("%d %d", evhttp_set_flags(server.http, 2) != 0, evhttp_set_flags(server.http, -1) != 0);
    static struct wire wire;
    wire_open(&wire, &server);
    wire_send(&wire, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n0123456789");
    run_for(server.base, 50);
    wire_show(&wire);
    wire_send(&wire, "0");
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    say("%d", evhttp_set_flags(server.http, 0));
    exchange(&server, "POST / HTTP/1.1\r\nHost: h\r\nContent-Length: 11\r\n\r\n");
    stop(&server);
}

CASE(http_expectations) {
    struct server server;
    static struct wire wire;
    serve(&server);
    wire_open(&wire, &server);
#define EXPECTS(what) "POST /a HTTP/1.1\r\nHost: h\r\nExpect: " what "\r\n"
    wire_send(&wire, EXPECTS("100-continue") "Content-Length: 3\r\n\r\n");
    wire_until(&wire, "\r\n\r\n", 1);
    wire_show(&wire);
    wire_send(&wire, "abc");
    wire_until(&wire, "ok", 1);
    wire_show(&wire);
    /* Whoever has sent it does not wait. */
    wire_send(&wire, EXPECTS("100-continue") "Content-Length: 3\r\n\r\nabc");
    wire_until(&wire, "ok", 1);
    wire_show(&wire);
    wire_send(&wire, EXPECTS("100-Continue") "Transfer-Encoding: chunked\r\n\r\n");
    wire_until(&wire, "\r\n\r\n", 1);
    wire_show(&wire);
    wire_send(&wire, "0\r\n\r\n");
    wire_until(&wire, "ok", 1);
    wire_show(&wire);
    wire_send(&wire, EXPECTS("100-continue") "Content-Length: 0\r\n\r\n");
    wire_until(&wire, "ok", 1);
    wire_show(&wire);
    wire_send(&wire, "GET /a HTTP/1.1\r\nHost: h\r\nExpect: 100-continue\r\n\r\n");
    wire_until(&wire, "ok", 1);
    wire_show(&wire);
    wire_send(&wire, EXPECTS("magic") "Content-Length: 3\r\n\r\n");
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    exchange(&server, "POST /a HTTP/1.0\r\nHost: h\r\nExpect: 100-continue\r\nContent-Length: 3\r\n\r\nabc");
    evhttp_set_max_body_size(server.http, 10);
    exchange(&server, EXPECTS("100-continue") "Content-Length: 11\r\n\r\n");
    stop(&server);
}
