/* event2/listener.h: connections that are accepted, and the flags. */
#include "listener.h"

CASE(listener_accepts) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, 0, &address);
    say("base %d, open %d", evconnlistener_get_base(listener) == base,
        fd_is_open(evconnlistener_get_fd(listener)));
    int client[3];
    for (int i = 0; i < 3; i++)
        client[i] = connect_to(&address);
    step("all that wait, in one pass");
    run_until_count(base, &accepted.count, 1);
    say("%u", accepted.count);
    for (int i = 0; i < 3; i++)
        close(client[i]);
    close_accepted(&accepted);
    evconnlistener_free(listener);
    event_base_free(base);
}

static void shows_peer(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                       int length, void *arg) {
    struct accepted *accepted = arg;
    (void)listener;
    accepted->fd[accepted->count++] = fd;
    struct sockaddr_storage peer;
    socklen_t known = sizeof peer;
    CHECK(getpeername(fd, (struct sockaddr *)&peer, &known) == 0);
    say("family %d length %d the peer's %d", address->sa_family, length,
        (socklen_t)length == known && memcmp(&peer, address, known) == 0);
}

CASE(listener_tells_the_peers_address) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct sockaddr_un path;
    socklen_t length;
    struct evconnlistener *four = listen_on(base, &accepted, 0, &address);
    evconnlistener_set_cb(four, shows_peer, &accepted);
    int client = connect_to(&address);
    run_until_count(base, &accepted.count, 1);
    int fd = unix_listener(&path, &length);
    struct evconnlistener *local =
        evconnlistener_new(base, shows_peer, &accepted, LEV_OPT_CLOSE_ON_FREE, 0, fd);
    CHECK(local);
    int other = socket(AF_UNIX, SOCK_STREAM, 0);
    CHECK(connect(other, (struct sockaddr *)&path, length) == 0);
    run_until_count(base, &accepted.count, 2);
    close(client);
    close(other);
    close_accepted(&accepted);
    evconnlistener_free(four);
    evconnlistener_free(local);
    event_base_free(base);
}

static void show_flags(unsigned flags) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, flags, &address);
    int fd = evconnlistener_get_fd(listener), client = connect_to(&address);
    step("flags");
    token("%x", flags);
    run_until_count(base, &accepted.count, 1);
    say("listener nonblocking %d cloexec %d; connection nonblocking %d cloexec %d",
        (fcntl(fd, F_GETFL) & O_NONBLOCK) != 0, fcntl(fd, F_GETFD),
        (fcntl(accepted.fd[0], F_GETFL) & O_NONBLOCK) != 0, fcntl(accepted.fd[0], F_GETFD));
    close(client);
    close_accepted(&accepted);
    evconnlistener_free(listener);
    say("closed %d", !fd_is_open(fd));
    event_base_free(base);
}

CASE(listener_blocking_and_inherited_sockets) {
    show_flags(0);
    show_flags(LEV_OPT_LEAVE_SOCKETS_BLOCKING);
    show_flags(LEV_OPT_CLOSE_ON_EXEC);
    show_flags(LEV_OPT_LEAVE_SOCKETS_BLOCKING | LEV_OPT_CLOSE_ON_EXEC);
}

static int option(int fd, int level, int name) {
    int value = -1;
    socklen_t length = sizeof value;
    CHECK(getsockopt(fd, level, name, &value, &length) == 0);
    return value;
}

CASE(listener_socket_options) {
    static const unsigned flags[] = {0, LEV_OPT_REUSEABLE, LEV_OPT_REUSEABLE_PORT,
                                     LEV_OPT_DEFERRED_ACCEPT};
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        struct sockaddr_in address;
        struct evconnlistener *listener = listen_on(base, &accepted, flags[i], &address);
        int fd = evconnlistener_get_fd(listener);
        say("%x: address %d port %d keepalive %d deferred %d", flags[i],
            option(fd, SOL_SOCKET, SO_REUSEADDR), option(fd, SOL_SOCKET, SO_REUSEPORT),
            option(fd, SOL_SOCKET, SO_KEEPALIVE), option(fd, IPPROTO_TCP, TCP_DEFER_ACCEPT) > 0);
        evconnlistener_free(listener);
    }
    struct sockaddr_in6 six = {.sin6_family = AF_INET6, .sin6_addr = in6addr_loopback};
    for (int only = 0; only < 2; only++) {
        struct evconnlistener *listener = evconnlistener_new_bind(
            base, accepts, &accepted, LEV_OPT_CLOSE_ON_FREE | (only ? LEV_OPT_BIND_IPV6ONLY : 0), -1,
            (struct sockaddr *)&six, sizeof six);
        CHECK(listener);
        say("v6 only %d", option(evconnlistener_get_fd(listener), IPPROTO_IPV6, IPV6_V6ONLY));
        evconnlistener_free(listener);
    }
    event_base_free(base);
}

/* What the kind of socket does not know is an error. */
CASE(listener_options_of_other_families) {
    static const unsigned flags[] = {0, LEV_OPT_BIND_IPV6ONLY, LEV_OPT_DEFERRED_ACCEPT};
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in four = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    /* An address without a name: the kernel chooses one. */
    struct sockaddr_un unnamed = {.sun_family = AF_UNIX};
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        unsigned all = flags[i] | LEV_OPT_CLOSE_ON_FREE;
        struct evconnlistener *one = evconnlistener_new_bind(
            base, accepts, &accepted, all, -1, (struct sockaddr *)&four, sizeof four);
        int error = errno;
        struct evconnlistener *other =
            evconnlistener_new_bind(base, accepts, &accepted, all, -1, (struct sockaddr *)&unnamed,
                                    sizeof unnamed.sun_family);
        say("%x: IPv4 %d%s unix %d%s", flags[i], one != NULL,
            !one && error == ENOPROTOOPT ? " no such option" : "", other != NULL,
            !other && errno == EOPNOTSUPP ? " not supported" : "");
        if (one)
            evconnlistener_free(one);
        if (other)
            evconnlistener_free(other);
    }
    event_base_free(base);
}

CASE(listener_port_is_shared) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct evconnlistener *first = listen_on(base, &accepted, LEV_OPT_REUSEABLE_PORT, &address);
    struct evconnlistener *second =
        evconnlistener_new_bind(base, accepts, &accepted, LEV_OPT_REUSEABLE_PORT | LEV_OPT_CLOSE_ON_FREE,
                                -1, (struct sockaddr *)&address, sizeof address);
    say("shared %d", second != NULL);
    struct evconnlistener *third = evconnlistener_new_bind(
        base, accepts, &accepted, LEV_OPT_CLOSE_ON_FREE, -1, (struct sockaddr *)&address, sizeof address);
    say("without the flag %d", third != NULL);
    say("in use %d", EVUTIL_SOCKET_ERROR() == EADDRINUSE);
    int client[4];
    for (int i = 0; i < 4; i++)
        client[i] = connect_to(&address);
    step("each is accepted by one of them");
    run_until_count(base, &accepted.count, 4);
    for (int i = 0; i < 4; i++)
        close(client[i]);
    close_accepted(&accepted);
    evconnlistener_free(first);
    evconnlistener_free(second);
    event_base_free(base);
}

CASE(listener_deferred_accept) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address;
    struct evconnlistener *listener = listen_on(base, &accepted, LEV_OPT_DEFERRED_ACCEPT, &address);
    int client = connect_to(&address);
    step("before there is data");
    run_for(base, 20);
    say("%u", accepted.count);
    send_all(client, "x", 1);
    step("after");
    run_until_count(base, &accepted.count, 1);
    close(client);
    close_accepted(&accepted);
    evconnlistener_free(listener);
    event_base_free(base);
}

CASE(listener_refused) {
    struct event_base *base = new_base();
    struct accepted accepted = {0};
    struct sockaddr_in address = {.sin_family = AF_INET, .sin_addr.s_addr = htonl(INADDR_LOOPBACK)};
    struct sockaddr *any = (struct sockaddr *)&address;
    int fd[2];
    say("backlog 0 with bind %d",
        evconnlistener_new_bind(base, accepts, &accepted, 0, 0, any, sizeof address) != NULL);
    address.sin_addr.s_addr = htonl(0xc0000201); /* 192.0.2.1 is nobody's */
    say("an address of somebody else %d",
        evconnlistener_new_bind(base, accepts, &accepted, 0, -1, any, sizeof address) != NULL);
    say("%d", EVUTIL_SOCKET_ERROR() == EADDRNOTAVAIL);
    address.sin_family = AF_APPLETALK;
    say("no such family %d",
        evconnlistener_new_bind(base, accepts, &accepted, 0, -1, any, sizeof address) != NULL);
    /* Something that cannot listen. */
    CHECK(pipe(fd) == 0);
    say("a pipe %d", evconnlistener_new(base, accepts, &accepted, 0, 5, fd[0]) != NULL);
    say("not closed %d", fd_is_open(fd[0]));
    close(fd[0]);
    close(fd[1]);
    event_base_free(base);
}

CASE(listener_of_a_bound_socket) {
    static const int backlogs[] = {-1, 1, 5};
    for (size_t i = 0; i < 3; i++) {
        struct event_base *base = new_base();
        struct accepted accepted = {0};
        struct sockaddr_in address;
        int fd = refusing_port(&address);
        struct evconnlistener *listener =
            evconnlistener_new(base, accepts, &accepted, 0, backlogs[i], fd);
        CHECK(listener);
        say("the same descriptor %d", evconnlistener_get_fd(listener) == fd);
        int client = connect_to(&address);
        step("accepts");
        run_until_count(base, &accepted.count, 1);
        evconnlistener_free(listener);
        /* Without LEV_OPT_CLOSE_ON_FREE it stays the program's. */
        say("open %d", fd_is_open(fd));
        close(fd);
        close(client);
        close_accepted(&accepted);
        event_base_free(base);
    }
}
