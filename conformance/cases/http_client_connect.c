/* How evhttp's client gets its connection: addresses, names, bufferevents. */
#include "http_client.h"

#include <event2/dns.h>
#include <event2/event_compat.h>
#include <event2/http_compat.h>

#define PLAIN "HTTP/1.1 200 OK\r\nContent-Length: 5\r\n\r\nhello"

static void show_peer(struct evhttp_connection *connection, const struct server *server) {
    char *host = NULL;
    ev_uint16_t port = 0;
    evhttp_connection_get_peer(connection, &host, &port);
    say("peer %s, %s", host, port == server_port(server) ? "its port" : "another port");
}

static void show_address(struct evhttp_connection *connection, const struct server *server) {
    const struct sockaddr_in *address =
        (const struct sockaddr_in *)evhttp_connection_get_addr(connection);
    bool same = address && address->sin_family == AF_INET &&
                address->sin_addr.s_addr == server->address.sin_addr.s_addr &&
                address->sin_port == server->address.sin_port;
    say("address %s", !address ? "none" : same ? "of the server" : "another");
}

static void open_named(struct http_scene *scene, const char *name, int family) {
    static const struct answer answer = {.text = PLAIN};
    scene->base = new_base();
    server_open(&scene->server, scene->base, &answer, 1);
    scene->server.quiet = true;
    scene->connection =
        evhttp_connection_base_new(scene->base, NULL, name, server_port(&scene->server));
    CHECK(scene->connection);
    evhttp_connection_set_family(scene->connection, family);
    CHECK(evhttp_connection_get_base(scene->connection) == scene->base);
    CHECK(evhttp_connection_get_bufferevent(scene->connection));
    CHECK(!evhttp_connection_get_server(scene->connection));
}

static void named(const char *name, int family) {
    struct http_scene scene;
    struct asked asked;
    open_named(&scene, name, family);
    say("'%s', %s", name, family == AF_INET ? "IPv4" : family == AF_INET6 ? "IPv6" : "any family");
    show_peer(scene.connection, &scene.server);
    ask_new(&asked, "it");
    CHECK(ask(scene.connection, &asked, EVHTTP_REQ_GET, "/") == 0);
    run_until_count(scene.base, &asked.done, 1);
    scene_close(&scene);
}

CASE(http_client_names) {
    named("127.0.0.1", AF_UNSPEC);
    named("127.0.0.1", AF_INET);
    named("localhost", AF_INET);
}

CASE_DIFFERS(http_client_names_that_are_none, "J51", "told as any other failure to connect") {
    named("127.0.0.1", AF_INET6);
    named("[127.0.0.1]", AF_INET);
    named("127.0.0.1 ", AF_INET);
}

CASE_DIFFERS(http_client_address, "K", "none without a connection, as the header says") {
    struct http_scene scene;
    struct asked asked;
    open_named(&scene, "127.0.0.1", AF_UNSPEC);
    show_address(scene.connection, &scene.server);
    get(&scene, &asked, "it", "/");
    show_address(scene.connection, &scene.server);
    scene_close(&scene);
}

CASE(http_client_evdns) {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    struct evdns_base *dns = evdns_base_new(scene.base, 0);
    CHECK(dns);
    char path[] = "/tmp/ferrevent-hosts-XXXXXX";
    int fd = mkstemp(path);
    CHECK(fd >= 0 && write(fd, "127.0.0.1 server.test\n", 22) == 22);
    close(fd);
    CHECK(evdns_base_load_hosts(dns, path) == 0);
    unlink(path);
    scene.connection =
        evhttp_connection_base_new(scene.base, dns, "server.test", server_port(&scene.server));
    evhttp_connection_set_family(scene.connection, AF_INET);
    get(&scene, &asked[0], "one", "/");
    show_peer(scene.connection, &scene.server);
    evhttp_connection_free(scene.connection);
    scene.connection = NULL;
    evdns_base_free(dns, 0);
    scene_close(&scene);
}

static void show_client(struct http_scene *scene, ev_uint16_t port) {
    struct sockaddr_in at;
    socklen_t length = sizeof at;
    CHECK(getpeername(scene->server.open[0]->fd, (struct sockaddr *)&at, &length) == 0);
    say("from %s, %s", inet_ntoa(at.sin_addr),
        ntohs(at.sin_port) == port ? "the port that was asked for" : "another port");
}

static ev_uint16_t free_port(void) {
    struct sockaddr_in address;
    close(refusing_port(&address));
    return ntohs(address.sin_port);
}

CASE(http_client_local_address) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    evhttp_connection_set_local_address(scene.connection, "127.0.0.9");
    get(&scene, &asked, "it", "/");
    show_client(&scene, 0);
    scene_close(&scene);

    ev_uint16_t port = free_port();
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    evhttp_connection_set_local_address(scene.connection, "127.0.0.1");
    evhttp_connection_set_local_port(scene.connection, port);
    get(&scene, &asked, "it", "/");
    show_client(&scene, port);
    scene_close(&scene);

    port = free_port();
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    evhttp_connection_set_local_port(scene.connection, port);
    get(&scene, &asked, "it", "/");
    show_client(&scene, port);
    scene_close(&scene);
}

static void ask_from(const char *address) {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    evhttp_connection_set_local_address(scene.connection, address);
    ask_new(&asked, "it");
    say("make_request: %d", ask(scene.connection, &asked, EVHTTP_REQ_GET, "/"));
    calm(scene.base);
    say("done %u", asked.done);
    scene_close(&scene);
}

CASE(http_client_local_address_that_is_none) /* libevent leaks the request */ {
    ask_from("192.0.2.1");
    ask_from("nonsense");
}

CASE(http_client_flags) {
    struct http_scene scene;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    for (int flag = 0; flag < 22; flag++)
        say("%x: %d", 1 << flag, evhttp_connection_set_flags(scene.connection, 1 << flag));
    say("0: %d", evhttp_connection_set_flags(scene.connection, 0));
    say("0x38: %d", evhttp_connection_set_flags(scene.connection, 0x38));
    scene_close(&scene);
}

CASE(http_client_reuses_address) /* of the last connection */ {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base,
                ANSWERS({.text = PLAIN, .then = CLOSE}, {.text = PLAIN}));
    scene.connection =
        evhttp_connection_base_new(scene.base, NULL, "localhost", server_port(&scene.server));
    evhttp_connection_set_family(scene.connection, AF_INET);
    CHECK(evhttp_connection_set_flags(scene.connection, EVHTTP_CON_REUSE_CONNECTED_ADDR) == 0);
    get(&scene, &asked[0], "one", "/");
    calm(scene.base);
    get(&scene, &asked[1], "two", "/");
    show_peer(scene.connection, &scene.server);
    scene_close(&scene);
}

static void ask_for(struct http_scene *scene, enum evhttp_cmd_type type, const char *uri) {
    struct asked asked;
    ask_new(&asked, "it");
    say("make_request: %d", ask(scene->connection, &asked, type, uri));
    calm(scene->base);
}

CASE_DIFFERS(http_client_methods_and_targets_that_are_none, "K", "-1") {
    struct http_scene scene;
    scene_open(&scene, ANSWERS({.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN}, {.text = PLAIN},
                               {.text = PLAIN}));
    ask_for(&scene, 0, "/");
    ask_for(&scene, EVHTTP_REQ_GET | EVHTTP_REQ_POST, "/");
    ask_for(&scene, 0x1000, "/");
    ask_for(&scene, EVHTTP_REQ_GET, "");
    ask_for(&scene, EVHTTP_REQ_GET, "/\r\nX: y");
    scene_close(&scene);
}

CASE(http_client_without_a_target) {
    struct http_scene scene;
    scene_open(&scene, ANSWERS({.text = PLAIN}));
    ask_for(&scene, EVHTTP_REQ_GET, NULL);
    scene_close(&scene);
}

CASE_DIFFERS(http_client_without_an_address, "memory safety", "libevent crashes") {
    struct event_base *base = new_base();
    say("made: %d", evhttp_connection_base_new(base, NULL, NULL, 80) != NULL);
    event_base_free(base);
}

CASE_DIFFERS(http_client_without_a_port, "J51", "what fails at once is told from the loop") {
    struct event_base *base = new_base();
    struct evhttp_connection *connection = evhttp_connection_base_new(base, NULL, "127.0.0.1", 0);
    struct asked asked;
    CHECK(connection);
    ask_new(&asked, "it");
    say("make_request: %d", ask(connection, &asked, EVHTTP_REQ_GET, "/"));
    run_until_count(base, &asked.done, 1);
    evhttp_connection_free(connection);
    event_base_free(base);
}

CASE_DIFFERS(http_client_connection_new, "memory safety", "libevent needs event_init") {
    struct evhttp_connection *connection = evhttp_connection_new("127.0.0.1", 80);
    say("made: %d", connection != NULL);
    evhttp_connection_free(connection);
}

CASE(http_client_global_base) /* what event_init made is used without set_base */ {
    struct http_scene scene;
    struct asked asked;
    scene.base = event_init();
    server_open(&scene.server, scene.base, ANSWERS({.text = PLAIN}));
    scene.connection = evhttp_connection_new("127.0.0.1", server_port(&scene.server));
    say("base: %d", evhttp_connection_get_base(scene.connection) != NULL);
    get(&scene, &asked, "it", "/");
    scene_close(&scene);
}

CASE(http_client_set_base) {
    struct http_scene scene;
    struct asked asked;
    struct event_base *global = event_init();
    scene.base = new_base();
    server_open(&scene.server, scene.base, ANSWERS({.text = PLAIN}));
    scene.connection = evhttp_connection_new("127.0.0.1", server_port(&scene.server));
    say("%d", evhttp_connection_get_base(scene.connection) == global);
    evhttp_connection_set_base(scene.connection, scene.base);
    say("%d", evhttp_connection_get_base(scene.connection) == scene.base);
    get(&scene, &asked, "it", "/");
    scene_close(&scene);
    event_base_free(global);
}

CASE(http_client_own_bufferevent) {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base,
                ANSWERS({.text = PLAIN, .then = CLOSE}, {.text = PLAIN}));
    struct bufferevent *bev = bufferevent_socket_new(scene.base, -1, 0);
    scene.connection = evhttp_connection_base_bufferevent_new(scene.base, NULL, bev, "127.0.0.1",
                                                              server_port(&scene.server));
    say("the same %d", evhttp_connection_get_bufferevent(scene.connection) == bev);
    get(&scene, &asked[0], "one", "/");
    calm(scene.base);
    say("the same %d, descriptor %d", evhttp_connection_get_bufferevent(scene.connection) == bev,
        bufferevent_getfd(bev) >= 0);
    get(&scene, &asked[1], "two", "/");
    say("descriptor %d", bufferevent_getfd(bev) >= 0);
    scene_close(&scene);
}

CASE(http_client_deferred_callbacks) /* of a bufferevent of the program's */ {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base,
                ANSWERS({.text = PLAIN}, {.text = PLAIN, .then = CLOSE}));
    struct bufferevent *bev =
        bufferevent_socket_new(scene.base, -1, BEV_OPT_DEFER_CALLBACKS | BEV_OPT_CLOSE_ON_FREE);
    scene.connection = evhttp_connection_base_bufferevent_new(scene.base, NULL, bev, "127.0.0.1",
                                                              server_port(&scene.server));
    for (unsigned i = 0; i < 2; i++) {
        ask_new(&asked[i], i == 0 ? "one" : "two");
        CHECK(ask(scene.connection, &asked[i], EVHTTP_REQ_GET, "/") == 0);
    }
    run_until_count(scene.base, &asked[1].done, 1);
    calm(scene.base);
    scene_close(&scene);
}

CASE(http_client_own_connected_bufferevent) /* which is closed: it must not be */ {
    struct http_scene scene;
    struct asked asked[2];
    scene.base = new_base();
    server_open(&scene.server, scene.base, ANSWERS({.text = PLAIN}, {.text = PLAIN}));
    int fd = socket(AF_INET, SOCK_STREAM, 0);
    CHECK(connect(fd, (struct sockaddr *)&scene.server.address, sizeof scene.server.address) == 0);
    set_nonblocking(fd);
    struct bufferevent *bev = bufferevent_socket_new(scene.base, fd, BEV_OPT_CLOSE_ON_FREE);
    scene.connection = evhttp_connection_base_bufferevent_new(scene.base, NULL, bev, "127.0.0.1",
                                                              server_port(&scene.server));
    get(&scene, &asked[0], "one", "/");
    say("connections %u", scene.server.connections);
    scene_close(&scene);
}

CASE_DIFFERS(http_client_base_freed_first, "memory safety", "libevent crashes") {
    struct http_scene scene;
    struct asked asked;
    scene_open(&scene, ANSWERS({.text = NULL}));
    ask_new(&asked, "it");
    ask(scene.connection, &asked, EVHTTP_REQ_GET, "/");
    run_until_count(scene.base, &scene.server.requests, 1);
    server_close(&scene.server);
    event_base_free(scene.base);
    evhttp_connection_free(scene.connection);
}
