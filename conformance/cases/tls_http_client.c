/* evhttp's client over a TLS bufferevent. The server is an SSL object for each connection, which an
 * event of the client's loop works. */
#include "http_client.h"
#include "tls.h"

struct tls_server {
    struct event_base *base;
    struct event *accepting;
    int listener;
    struct sockaddr_in address;
    const struct answer *answers; /* CLOSE says so in TLS, RESET does not */
    unsigned count, next, connections;
    struct tls_connection *open[4];
};

struct tls_connection {
    struct tls_server *server;
    SSL *ssl;
    int fd;
    struct event *readable;
    char taken[4096];
    size_t length;
};

static void close_connection(struct tls_connection *connection) {
    event_free(connection->readable);
    SSL_free(connection->ssl);
    close(connection->fd);
    connection->fd = -1;
    connection->readable = NULL;
    connection->ssl = NULL;
}

static void answer_request(struct tls_connection *connection) {
    struct tls_server *server = connection->server;
    CHECK(server->next < server->count);
    const struct answer *answer = &server->answers[server->next++];
    int length = (int)strlen(answer->text);
    *strchr(connection->taken, '\r') = '\0';
    say("the server reads: %s", connection->taken);
    connection->length = 0;
    CHECK(SSL_write(connection->ssl, answer->text, length) == length);
    if (answer->then == KEEP)
        return;
    if (answer->then == CLOSE)
        SSL_shutdown(connection->ssl);
    close_connection(connection);
}

static void on_tls_bytes(evutil_socket_t fd, short what, void *arg) {
    struct tls_connection *connection = arg;
    (void)fd;
    (void)what;
    if (!SSL_is_init_finished(connection->ssl) && SSL_accept(connection->ssl) != 1)
        return;
    int n = SSL_read(connection->ssl, connection->taken + connection->length,
                     (int)(sizeof connection->taken - 1 - connection->length));
    if (n <= 0) {
        int error = SSL_get_error(connection->ssl, n);
        if (error != SSL_ERROR_WANT_READ)
            close_connection(connection);
        ERR_clear_error();
        return;
    }
    connection->length += (size_t)n;
    connection->taken[connection->length] = '\0';
    if (strstr(connection->taken, "\r\n\r\n"))
        answer_request(connection);
}

static void on_tls_accept(evutil_socket_t fd, short what, void *arg) {
    struct tls_server *server = arg;
    (void)what;
    CHECK(server->connections < COUNT(server->open));
    struct tls_connection *connection = calloc(1, sizeof *connection);
    CHECK(connection);
    connection->server = server;
    connection->fd = accept(fd, NULL, NULL);
    CHECK(connection->fd >= 0);
    set_nonblocking(connection->fd);
    connection->ssl = tls_session(true);
    CHECK(SSL_set_fd(connection->ssl, connection->fd) == 1);
    SSL_set_accept_state(connection->ssl);
    connection->readable =
        event_new(server->base, connection->fd, EV_READ | EV_PERSIST, on_tls_bytes, connection);
    CHECK(connection->readable && event_add(connection->readable, NULL) == 0);
    server->open[server->connections++] = connection;
}

struct tls_http {
    struct event_base *base;
    struct tls_server server;
    struct evhttp_connection *connection;
};

static struct bufferevent *new_client(struct event_base *base) {
    struct bufferevent *bev = bufferevent_openssl_socket_new(
        base, -1, tls_session(false), BUFFEREVENT_SSL_CONNECTING, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bev);
    return bev;
}

static void tls_http_open(struct tls_http *scene, const struct answer *answers, unsigned count) {
    memset(scene, 0, sizeof *scene);
    struct tls_server *server = &scene->server;
    scene->base = server->base = new_base();
    server->answers = answers;
    server->count = count;
    server->listener = tcp_listener(&server->address);
    server->accepting =
        event_new(scene->base, server->listener, EV_READ | EV_PERSIST, on_tls_accept, server);
    CHECK(server->accepting && event_add(server->accepting, NULL) == 0);
    struct bufferevent *bev = new_client(scene->base);
    scene->connection = evhttp_connection_base_bufferevent_new(scene->base, NULL, bev, "127.0.0.1",
                                                               ntohs(server->address.sin_port));
    CHECK(scene->connection && evhttp_connection_get_bufferevent(scene->connection) == bev);
    evhttp_connection_set_closecb(scene->connection, on_close, "connection");
}

static void tls_http_close(struct tls_http *scene) {
    evhttp_connection_free(scene->connection);
    for (unsigned i = 0; i < scene->server.connections; i++) {
        if (scene->server.open[i]->ssl)
            close_connection(scene->server.open[i]);
        free(scene->server.open[i]);
    }
    event_free(scene->server.accepting);
    close(scene->server.listener);
    /* What the bufferevent owns goes in the loop. */
    pass(scene->base);
    event_base_free(scene->base);
    ERR_clear_error();
}

static void tls_get(struct tls_http *scene, const char *name) {
    struct asked asked;
    ask_new(&asked, name);
    CHECK(ask(scene->connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene->base, &asked.done, 1);
    calm(scene->base);
}

#define HELLO "Content-Length: 5\r\n\r\nhello"

CASE(tls_http_client_keeps_its_connection) {
    struct tls_http scene;
    tls_http_open(&scene, ANSWERS({.text = "HTTP/1.1 200 OK\r\n" HELLO},
                                  {.text = "HTTP/1.1 204 No Content\r\n\r\n"}));
    tls_get(&scene, "one");
    tls_get(&scene, "two");
    say("connections %u", scene.server.connections);
    tls_http_close(&scene);
}

CASE(tls_http_client_until_the_end) {
    struct tls_http scene;
    tls_http_open(&scene, ANSWERS({.text = "HTTP/1.1 200 OK\r\n\r\nto the end", .then = CLOSE}));
    tls_get(&scene, "one");
    tls_http_close(&scene);
}

CASE(tls_http_client_until_a_dirty_end) /* which may be an attack */ {
    struct tls_http scene;
    tls_http_open(&scene, ANSWERS({.text = "HTTP/1.1 200 OK\r\n\r\nto the end", .then = RESET}));
    tls_get(&scene, "one");
    tls_http_close(&scene);
}

CASE(tls_http_client_connects_again) /* with the same SSL object */ {
    struct tls_http scene;
    tls_http_open(&scene, ANSWERS({.text = "HTTP/1.1 200 OK\r\nConnection: close\r\n" HELLO},
                                  {.text = "HTTP/1.1 200 OK\r\n" HELLO, .then = CLOSE},
                                  {.text = "HTTP/1.1 204 No Content\r\n\r\n"}));
    tls_get(&scene, "one");
    tls_get(&scene, "two");
    tls_get(&scene, "three");
    say("connections %u", scene.server.connections);
    tls_http_close(&scene);
}

CASE_DIFFERS(tls_http_client_of_a_plain_server, "K", "connecting has failed if the handshake has") {
    struct event_base *base = new_base();
    struct server server;
    struct asked asked;
    server_open(&server, base,
                ANSWERS({.text = "this is not TLS", .then = CLOSE, .at_once = true}));
    server.quiet = true;
    struct evhttp_connection *connection = evhttp_connection_base_bufferevent_new(
        base, NULL, new_client(base), "127.0.0.1", server_port(&server));
    ask_new(&asked, "it");
    CHECK(ask(connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(base, &asked.done, 1);
    evhttp_connection_free(connection);
    server_close(&server);
    pass(base);
    event_base_free(base);
    ERR_clear_error();
}
