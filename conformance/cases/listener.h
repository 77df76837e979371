/* What the cases of listeners share. */
#ifndef LISTENER_H
#define LISTENER_H

#include <event2/listener.h>

#include "loop.h"

/* What a listener's callbacks saw; their argument. */
struct accepted {
    unsigned count, errors;
    int fd[8]; /* of the first connections */
    int error; /* errno in the last error callback */
    void (*then)(struct evconnlistener *listener, struct accepted *accepted);
};

static inline void accepts(struct evconnlistener *listener, evutil_socket_t fd,
                           struct sockaddr *address, int length, void *arg) {
    struct accepted *accepted = arg;
    (void)address;
    (void)length;
    CHECK(accepted->count < sizeof accepted->fd / sizeof *accepted->fd);
    accepted->fd[accepted->count++] = fd;
    token("accepted");
    if (accepted->then)
        accepted->then(listener, accepted);
}

static inline void fails(struct evconnlistener *listener, void *arg) {
    struct accepted *accepted = arg;
    accepted->error = EVUTIL_SOCKET_ERROR();
    accepted->errors++;
    if (accepted->then)
        accepted->then(listener, accepted);
}

static inline void close_accepted(struct accepted *accepted) {
    for (unsigned i = 0; i < accepted->count; i++)
        close(accepted->fd[i]);
    accepted->count = 0;
}

/* A listener on a free loopback port; never NULL. `address` gets the port. */
static inline struct evconnlistener *listen_on(struct event_base *base, struct accepted *accepted,
                                               unsigned flags, struct sockaddr_in *address) {
    socklen_t length = sizeof *address;
    memset(address, 0, sizeof *address);
    address->sin_family = AF_INET;
    address->sin_addr.s_addr = htonl(INADDR_LOOPBACK);
    struct evconnlistener *listener =
        evconnlistener_new_bind(base, accepts, accepted, flags | LEV_OPT_CLOSE_ON_FREE, -1,
                                (struct sockaddr *)address, sizeof *address);
    CHECK(listener);
    CHECK(getsockname(evconnlistener_get_fd(listener), (struct sockaddr *)address, &length) == 0);
    return listener;
}

/* A blocking socket that is connected to `address`. */
static inline int connect_to(const struct sockaddr_in *address) {
    int fd = socket(AF_INET, SOCK_STREAM | SOCK_CLOEXEC, 0);
    CHECK(fd >= 0);
    CHECK(connect(fd, (const struct sockaddr *)address, sizeof *address) == 0);
    return fd;
}

#endif
