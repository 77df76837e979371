/* event2/http.h: paths, virtual hosts and what servers are bound to. */
#include "http_server.h"

static void on_named(struct evhttp_request *req, void *name) {
    say("%s: %s of %s", (const char *)name, evhttp_request_get_uri(req),
        evhttp_request_get_host(req));
    evhttp_send_reply(req, HTTP_OK, NULL, NULL);
}

/* Asks for a path on a host, and shows the first line of the answer. */
static void get(struct server *server, const char *path, const char *host) {
    static struct wire wire;
    char text[400];
    snprintf(text, sizeof text, "GET %s HTTP/1.1\r\nHost: %s\r\nConnection: close\r\n\r\n", path, host);
    step("get");
    token_text(path);
    token_text(host);
    wire_open(&wire, server);
    wire_send(&wire, text);
    wire_to_end(&wire);
    wire.text[strcspn(wire.text, "\r")] = 0;
    say("< %s", wire.text);
    wire_close(&wire);
}

static void set(struct server *server, const char *path) {
    say("set %s %d", path, evhttp_set_cb(server->http, path, on_named, (void *)path));
}

CASE(http_paths) {
    static const char *const paths[] = {"/a", "/a", "/b c", "/d%20", "/", "*", "/p+q", "/x/y"};
    static const char *const asked[] = {
        "/a", "/a?x=/b", "/a#f", "/%61", "/b%20c", "/b+c", "/d%20", "/d%2520", "/", "http://q/a",
        "*", "/A", "/a/", "/p+q", "/x/y", "/x", "/x/y/z", "/a%zz", "//x/a", "/none",
    };
    struct server server;
    serve(&server);
    evhttp_set_gencb(server.http, NULL, NULL);
    exchange(&server, "GET /no<t>&%3c HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
    for (size_t i = 0; i < COUNT(paths); i++)
        set(&server, paths[i]);
    for (size_t i = 0; i < COUNT(asked); i++)
        get(&server, asked[i], "h");
    say("del %d %d %d", evhttp_del_cb(server.http, "/a"), evhttp_del_cb(server.http, "/a"),
        evhttp_del_cb(server.http, "/zz"));
    get(&server, "/a", "h");
    evhttp_set_gencb(server.http, on_named, "general");
    get(&server, "/a", "h");
    get(&server, "/x/y", "h");
    stop(&server);
}

CASE_DIFFERS(http_path_with_a_zero_byte, "K", "it is no other path's") {
    struct server server;
    serve(&server);
    evhttp_set_gencb(server.http, NULL, NULL);
    set(&server, "/a");
    get(&server, "/a%00b", "h");
    stop(&server);
}

CASE(http_virtual_hosts) {
    struct server server;
    serve(&server);
    evhttp_set_gencb(server.http, on_named, "main");
    struct evhttp *wide = evhttp_new(NULL), *narrow = evhttp_new(server.base), *plain = evhttp_new(NULL);
    evhttp_set_gencb(wide, on_named, "wide");
    evhttp_set_gencb(narrow, on_named, "narrow");
    evhttp_set_gencb(plain, on_named, "plain");
    say("%d %d %d", evhttp_add_virtual_host(server.http, "*.example.com", wide),
        evhttp_add_virtual_host(wide, "foo.example.com", narrow),
        evhttp_add_virtual_host(server.http, "plain", plain));
    say("again %d", evhttp_add_virtual_host(server.http, "other", plain));
    static const char *const hosts[] = {
        "bar.example.com", "FOO.EXAMPLE.com", "example.com", "plain", "plain:80", "plain:",
        "plain.x", ".example.com", "foo.example.com.x", "[::1]:80",
    };
    for (size_t i = 0; i < COUNT(hosts); i++)
        get(&server, "/", hosts[i]);
    get(&server, "http://plain/", "nothing");
    get(&server, "http://nothing/", "plain");
    say("removed %d %d", evhttp_remove_virtual_host(server.http, plain),
        evhttp_remove_virtual_host(server.http, plain));
    get(&server, "/", "plain");
    static const char *const patterns[] = {"pl*n", "a*b*c", "a?b", "*c"};
    static const char *const names[] = {"pln", "plaaaan", "abbcc", "aXbYc", "ac", "axbc", "a.b"};
    for (size_t i = 0; i < COUNT(patterns); i++) {
        say("pattern %s %d", patterns[i], evhttp_add_virtual_host(server.http, patterns[i], plain));
        for (size_t j = 0; j < COUNT(names); j++)
            get(&server, "/", names[j]);
        evhttp_remove_virtual_host(server.http, plain);
    }
    evhttp_free(plain);
    stop(&server);
}

CASE_DIFFERS(http_virtual_hosts_that_end_anyhow, "K", "a star at the end stands for anything, too") {
    struct server server;
    serve(&server);
    evhttp_set_gencb(server.http, on_named, "main");
    struct evhttp *host = evhttp_new(NULL);
    evhttp_set_gencb(host, on_named, "host");
    evhttp_add_virtual_host(server.http, "example.*", host);
    get(&server, "/", "example.com");
    get(&server, "/", "example.");
    get(&server, "/", "other");
    stop(&server);
}

CASE(http_aliases) {
    struct server server;
    serve(&server);
    evhttp_set_gencb(server.http, on_named, "main");
    struct evhttp *host = evhttp_new(NULL);
    evhttp_set_gencb(host, on_named, "host");
    say("%d", evhttp_add_virtual_host(server.http, "host", host));
    say("%d %d %d", evhttp_add_server_alias(host, "alias"), evhttp_add_server_alias(host, "alias"),
        evhttp_add_server_alias(server.http, "main"));
    get(&server, "/", "host");
    get(&server, "/", "alias");
    get(&server, "/", "ALIAS:1");
    get(&server, "/", "alias.x");
    get(&server, "/", "main");
    say("%d %d %d", evhttp_remove_server_alias(host, "alias"),
        evhttp_remove_server_alias(host, "alias"), evhttp_remove_server_alias(host, "alias"));
    get(&server, "/", "alias");
    say("%d", evhttp_remove_server_alias(host, "main"));
    stop(&server);
}

static void on_main(struct evhttp_request *req, void *server) {
    struct evhttp_connection *evcon = evhttp_request_get_connection(req);
    say("main's %d", evhttp_connection_get_server(evcon) == ((struct server *)server)->http);
    evhttp_send_reply(req, HTTP_OK, NULL, NULL);
}

/* What is set for a virtual host does not count, but its callbacks do. */
CASE(http_settings_of_a_virtual_host) {
    struct server server;
    serve(&server);
    struct evhttp *host = evhttp_new(NULL);
    evhttp_set_gencb(host, on_main, &server);
    evhttp_set_allowed_methods(host, EVHTTP_REQ_GET);
    evhttp_set_default_content_type(host, "v/v");
    evhttp_set_default_content_type(server.http, "m/m");
    say("%d", evhttp_add_virtual_host(server.http, "v", host));
    exchange(&server, "POST / HTTP/1.1\r\nHost: v\r\nConnection: close\r\n\r\n");
    exchange(&server, "GET / HTTP/1.1\r\nHost: m\r\nConnection: close\r\n\r\n");
    evhttp_set_gencb(host, NULL, NULL);
    exchange(&server, "GET / HTTP/1.1\r\nHost: v\r\nConnection: close\r\n\r\n");
    stop(&server);
}

static void on_bound(struct evhttp_bound_socket *bound, void *counter) {
    ++*(unsigned *)counter;
    say("bound %d %d", evhttp_bound_socket_get_fd(bound) >= 0,
        evconnlistener_get_fd(evhttp_bound_socket_get_listener(bound)) ==
            evhttp_bound_socket_get_fd(bound));
}

static unsigned count_bound(struct server *server) {
    unsigned count = 0;
    evhttp_foreach_bound_socket(server->http, on_bound, &count);
    return count;
}

static void never(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                  int length, void *arg) {
    (void)listener, (void)address, (void)length, (void)arg;
    say("the listener's own callback");
    close(fd);
}

CASE(http_bound_sockets) {
    struct server server;
    struct sockaddr_in address;
    event_set_log_callback(ignore_log);
    serve(&server);
    say("%u", count_bound(&server));
    say("%d %d", evhttp_bind_socket(server.http, "127.0.0.1", 0), evhttp_bind_socket(server.http, NULL, 0));
    say("%d %d", evhttp_bind_socket(server.http, "999.1.1.1", 0), evhttp_bind_socket(server.http, "", 0));
    say("taken %d", evhttp_bind_socket_with_handle(server.http, "127.0.0.1", server.port) != NULL);
    say("localhost %d", evhttp_bind_socket(server.http, "localhost", 0));
    int fd = tcp_listener(&address);
    say("%d", evhttp_accept_socket(server.http, fd));
    server.port = ntohs(address.sin_port);
    exchange(&server, LAST);
    fd = tcp_listener(&address);
    struct evhttp_bound_socket *bound = evhttp_accept_socket_with_handle(server.http, fd);
    say("%d", evhttp_bound_socket_get_fd(bound) == fd);
    server.port = ntohs(address.sin_port);
    exchange(&server, LAST);
    say("%u", count_bound(&server));
    evhttp_del_accept_socket(server.http, bound);
    say("open %d, %u", fd_is_open(fd), count_bound(&server));
    stop(&server);
}

CASE(http_bound_listeners) {
    struct server server;
    serve(&server);
    struct sockaddr_in any = {.sin_family = AF_INET};
    any.sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    for (int owned = 0; owned < 2; owned++) {
        struct evconnlistener *listener = evconnlistener_new_bind(
            server.base, never, NULL, owned ? LEV_OPT_CLOSE_ON_FREE : 0, -1,
            (struct sockaddr *)&any, sizeof any);
        int fd = evconnlistener_get_fd(listener);
        struct evhttp_bound_socket *bound = evhttp_bind_listener(server.http, listener);
        say("%d %d", evhttp_bound_socket_get_listener(bound) == listener,
            evhttp_bound_socket_get_fd(bound) == fd);
        server.port = port_of(fd);
        exchange(&server, LAST);
        evhttp_del_accept_socket(server.http, bound);
        say("open %d", fd_is_open(fd));
        if (!owned)
            close(fd);
    }
    stop(&server);
}

/* The descriptors of a server are closed with it. */
CASE(http_servers_close_their_sockets) {
    struct server server;
    serve(&server);
    struct evhttp_bound_socket *bound = evhttp_bind_socket_with_handle(server.http, "127.0.0.1", 0);
    int fd = evhttp_bound_socket_get_fd(bound);
    say("close on exec %d, non-blocking %d", (fcntl(fd, F_GETFD) & FD_CLOEXEC) != 0,
        (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0);
    evhttp_free(server.http);
    server.http = NULL;
    say("open %d", fd_is_open(fd));
    stop(&server);
}

static void show_peer(struct server *server, struct evhttp_request *req) {
    (void)server;
    say("%s %d", req->remote_host, req->remote_port);
    evhttp_send_reply(req, HTTP_OK, NULL, NULL);
}

/* A client on a unix socket whose name is longer than an address of the internet. */
CASE_DIFFERS(http_unix_socket, "CVE-2026-63388", "the address is no address of the internet") {
    struct server server;
    struct sockaddr_un address, own = {.sun_family = AF_UNIX};
    static struct wire wire;
    socklen_t length;
    memset(&server, 0, sizeof server);
    server.base = new_base();
    server.http = evhttp_new(server.base);
    server.reply = show_peer;
    evhttp_set_gencb(server.http, on_request, &server);
    CHECK(evhttp_accept_socket(server.http, unix_listener(&address, &length)) == 0);
    int fd = socket(AF_UNIX, SOCK_STREAM | SOCK_CLOEXEC, 0);
    /* An abstract name of 100 bytes. */
    snprintf(own.sun_path + 1, sizeof own.sun_path - 1, "%099d", (int)getpid());
    CHECK(bind(fd, (struct sockaddr *)&own, offsetof(struct sockaddr_un, sun_path) + 100) == 0);
    CHECK(connect(fd, (struct sockaddr *)&address, length) == 0);
    wire_of(&wire, server.base, fd);
    wire_send(&wire, LAST);
    wire_to_end(&wire);
    wire_show(&wire);
    wire_close(&wire);
    stop(&server);
}

CASE(http_start) {
    CHECK(event_init());
    event_set_log_callback(ignore_log);
    struct evhttp *http = evhttp_start("127.0.0.1", 0);
    say("%d", http != NULL);
    evhttp_free(http);
    say("%d", evhttp_start("1.2.3.4.5", 0) != NULL);
}

struct maker {
    struct server *server;
    unsigned made;
    int options;
    bool refuse;
};

static struct bufferevent *make_bufferevent(struct event_base *base, void *arg) {
    struct maker *maker = arg;
    maker->made++;
    say("make %u %d", maker->made, base == maker->server->base);
    if (maker->refuse)
        return NULL;
    return bufferevent_socket_new(base, -1, maker->options);
}

CASE(http_bufferevents_of_the_program) {
    struct server server;
    serve(&server);
    static const int options[] = {BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS, 0};
    struct maker maker = {&server, 0, 0, false};
    evhttp_set_bevcb(server.http, make_bufferevent, &maker);
    for (size_t i = 0; i < COUNT(options); i++) {
        maker.options = options[i];
        exchange(&server, "GET / HTTP/1.1\r\nHost: h\r\n\r\n" LAST);
        /* The same number of a descriptor again. */
        exchange(&server, LAST);
    }
    maker.refuse = true;
    exchange(&server, LAST);
    evhttp_set_bevcb(server.http, NULL, NULL);
    exchange(&server, LAST);
    stop(&server);
}
