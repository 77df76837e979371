/* What the cases of socket bufferevents share: one of them on a unix socket, and its peer. */
#ifndef BUFFEREVENT_H
#define BUFFEREVENT_H

#include "case.h"

struct scene {
    struct event_base *base;
    struct end a; /* the bufferevent, traced without a name */
    int peer;     /* the other end of its socket */
};

/* `options` go to the constructor beside BEV_OPT_CLOSE_ON_FREE. */
static inline void open_scene(struct scene *scene, int options) {
    int fd[2];
    scene->base = new_base();
    unix_pair(fd);
    watch_new(&scene->a, "", scene->base, fd[0], options | BEV_OPT_CLOSE_ON_FREE);
    scene->peer = fd[1];
}

static inline void close_peer(struct scene *scene) {
    CHECK(close(scene->peer) == 0);
    scene->peer = -1;
}

/* Frees what is still there; a case that freed the bufferevent sets a.bev to NULL. */
static inline void close_scene(struct scene *scene) {
    if (scene->a.bev)
        bufferevent_free(scene->a.bev);
    if (scene->peer >= 0)
        close_peer(scene);
    event_base_free(scene->base);
}

/* Sends letters from the plain descriptor `fd`. */
static inline void send_letters(int fd, size_t length) {
    char data[16384];
    CHECK(length <= sizeof data);
    for (size_t i = 0; i < length; i++)
        data[i] = (char)('a' + i % 26);
    send_all(fd, data, length);
}

static inline struct timeval milliseconds(int count) {
    return (struct timeval){count / 1000, count % 1000 * 1000};
}

#endif
