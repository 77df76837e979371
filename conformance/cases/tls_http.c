/* event2/http.h over event2/bufferevent_ssl.h: a server whose connections are secured. */
#include "http_server.h"
#include "tls.h"

struct maker {
    SSL_CTX *context;
    bool over; /* TLS stands on a bufferevent of its own */
};

static struct bufferevent *secured(struct event_base *base, void *arg) {
    struct maker *maker = arg;
    SSL *ssl = SSL_new(maker->context);
    CHECK(ssl);
    if (!maker->over)
        return bufferevent_openssl_socket_new(base, -1, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                              BEV_OPT_CLOSE_ON_FREE);
    struct bufferevent *below = bufferevent_socket_new(base, -1, BEV_OPT_CLOSE_ON_FREE);
    return bufferevent_openssl_filter_new(base, below, ssl, BUFFEREVENT_SSL_ACCEPTING,
                                          BEV_OPT_CLOSE_ON_FREE);
}

struct client {
    struct wire wire; /* only the text, and whether it has ended */
    struct bufferevent *bev;
};

static void client_readable(struct bufferevent *bev, void *arg) {
    struct client *client = arg;
    struct wire *wire = &client->wire;
    wire->length += bufferevent_read(bev, wire->text + wire->length,
                                     sizeof wire->text - 1 - wire->length);
    wire->text[wire->length] = 0;
}

static void client_event(struct bufferevent *bev, short what, void *arg) {
    struct client *client = arg;
    if (what & BEV_EVENT_CONNECTED)
        return;
    client_readable(bev, arg);
    client->wire.ended = true;
}

/* As exchange(), by TLS. */
static void exchange_secured(struct server *server, const char *text) {
    static struct client client;
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_port = htons(server->port)};
    address.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    memset(&client, 0, sizeof client);
    client.wire.base = server->base;
    client.bev = bufferevent_openssl_socket_new(server->base, -1, tls_session(false),
                                                BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    bufferevent_openssl_set_allow_dirty_shutdown(client.bev, 1);
    bufferevent_setcb(client.bev, client_readable, NULL, client_event, &client);
    bufferevent_enable(client.bev, EV_READ | EV_WRITE);
    bufferevent_write(client.bev, text, strlen(text));
    CHECK(bufferevent_socket_connect(client.bev, (struct sockaddr *)&address, sizeof address) == 0);
    wire_to_end(&client.wire);
    wire_show(&client.wire);
    bufferevent_free(client.bev);
}

CASE(tls_http_server) {
    struct maker maker = {tls_context(true), false};
    struct server server;
    serve(&server);
    evhttp_set_bevcb(server.http, secured, &maker);
    exchange_secured(&server, LAST);
    exchange_secured(&server, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                              "GET /b HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
    exchange_secured(&server, "nonsense\r\n\r\n");
    stop(&server);
    SSL_CTX_free(maker.context);
}

CASE_DIFFERS(tls_http_server_over_a_bufferevent, "K",
    "what TLS has handed on is sent before the socket is closed") {
    struct maker maker = {tls_context(true), true};
    struct server server;
    serve(&server);
    evhttp_set_bevcb(server.http, secured, &maker);
    exchange_secured(&server, "POST /a HTTP/1.1\r\nHost: h\r\nContent-Length: 3\r\n\r\nabc"
                              "GET /b HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
    stop(&server);
    SSL_CTX_free(maker.context);
}

/* What is no TLS is no request. */
CASE(tls_http_server_without_tls) {
    struct maker maker = {tls_context(true), false};
    struct server server;
    serve(&server);
    evhttp_set_bevcb(server.http, secured, &maker);
    static struct wire wire;
    wire_open(&wire, &server);
    wire_send(&wire, LAST);
    wire_to_end(&wire);
    say("requests %u", server.requests);
    wire_close(&wire);
    exchange_secured(&server, LAST);
    stop(&server);
    SSL_CTX_free(maker.context);
}
