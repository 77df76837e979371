/* event2/listener.h: LEV_OPT_THREADSAFE. */
#include <poll.h>
#include <pthread.h>

#include "listener.h"

struct scene {
    struct event_base *base;
    struct evconnlistener *listener;
    struct sockaddr_in address;
    struct accepted accepted;
    int entered[2]; /* a byte: the callback runs */
    int done[2];    /* a byte: the other thread has done what it wanted */
    void (*act)(struct scene *scene);
};

static void acts_within(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                        int length, void *arg) {
    struct scene *scene = arg;
    struct pollfd done = {scene->done[0], POLLIN, 0};
    (void)listener;
    (void)address;
    (void)length;
    scene->accepted.fd[scene->accepted.count++] = fd;
    send_all(scene->entered[1], "x", 1);
    token("done while the callback runs: %d", poll(&done, 1, 2000));
    event_base_loopbreak(scene->base);
}

static void *other(void *arg) {
    struct scene *scene = arg;
    await_readable(scene->entered[0]);
    scene->act(scene);
    send_all(scene->done[1], "x", 1);
    return NULL;
}

static void meanwhile(const char *name, void (*act)(struct scene *)) {
    struct scene scene = {.act = act};
    pthread_t thread;
    CHECK(evthread_use_pthreads() == 0);
    scene.base = new_base();
    unix_pair(scene.entered);
    unix_pair(scene.done);
    scene.listener = listen_on(scene.base, &scene.accepted, LEV_OPT_THREADSAFE, &scene.address);
    int fd = evconnlistener_get_fd(scene.listener);
    evconnlistener_set_cb(scene.listener, acts_within, &scene);
    int client = connect_to(&scene.address);
    CHECK(pthread_create(&thread, NULL, other, &scene) == 0);
    step(name);
    CHECK(event_base_dispatch(scene.base) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    if (scene.listener)
        evconnlistener_free(scene.listener);
    say("open %d", fd_is_open(fd));
    close(client);
    close_accepted(&scene.accepted);
    event_base_free(scene.base);
    for (int i = 0; i < 2; i++) {
        close(scene.entered[i]);
        close(scene.done[i]);
    }
}

static void asks(struct scene *scene) {
    CHECK(evconnlistener_get_fd(scene->listener) >= 0);
    CHECK(evconnlistener_get_base(scene->listener) == scene->base);
}

static void sets(struct scene *scene) {
    evconnlistener_set_error_cb(scene->listener, fails);
}

static void disables(struct scene *scene) {
    evconnlistener_disable(scene->listener);
}

static void frees(struct scene *scene) {
    evconnlistener_free(scene->listener);
    scene->listener = NULL;
}

CASE(listener_asked_while_its_callback_runs_elsewhere) {
    meanwhile("asked", asks);
    meanwhile("set", sets);
}
CASE(listener_freed_while_its_callback_runs_elsewhere) {
    meanwhile("freed", frees);
}

CASE_DIFFERS(listener_disabled_while_its_callback_runs_elsewhere, "no deadlock",
             "libevent's callback and evconnlistener_disable wait for each other for ever") {
    meanwhile("disabled", disables);
}

static void *accepting(void *arg) {
    CHECK(event_base_dispatch(arg) >= 0);
    return NULL;
}

static void counts(struct evconnlistener *listener, evutil_socket_t fd, struct sockaddr *address,
                   int length, void *arg) {
    (void)listener;
    (void)address;
    (void)length;
    close(fd);
    __atomic_add_fetch((unsigned *)arg, 1, __ATOMIC_SEQ_CST);
}

/* Whether the free comes before the callback, within it or after it is left to chance. */
CASE_DIFFERS(listener_freed_by_another_thread_while_connections_come, "no deadlock",
             "in libevent the free and the callback wait for each other now and then, for ever") {
    CHECK(evthread_use_pthreads() == 0);
    struct event_base *base = new_base();
    struct event *keeps = new_event(base, -1, EV_PERSIST, traced, "keeps");
    unsigned count = 0;
    pthread_t thread;
    CHECK(add_ms(keeps, 100000) == 0);
    CHECK(pthread_create(&thread, NULL, accepting, base) == 0);
    for (int round = 0; round < 200; round++) {
        struct accepted accepted = {0};
        struct sockaddr_in address;
        struct evconnlistener *listener = listen_on(
            base, &accepted, LEV_OPT_THREADSAFE | LEV_OPT_DISABLED, &address);
        evconnlistener_set_cb(listener, counts, &count);
        CHECK(evconnlistener_enable(listener) == 0);
        close(connect_to(&address));
        if (round % 4 == 0)
            while (__atomic_load_n(&count, __ATOMIC_SEQ_CST) == 0)
                sched_yield();
        evconnlistener_free(listener);
        __atomic_store_n(&count, 0, __ATOMIC_SEQ_CST);
    }
    CHECK(event_base_loopbreak(base) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    event_free(keeps);
    event_base_free(base);
    say("ended");
}
