/* Other threads that end, wake and change a loop, and the locks of thread.h. */
#include <poll.h>
#include <pthread.h>

#include "loop.h"

struct scene {
    struct event_base *base;
    struct event *event;
    int entered[2]; /* a byte: the callback runs */
    int leave[2];   /* a byte: the callback may return */
    int patience;   /* so many milliseconds it waits for that */
    int returned;   /* it is about to */
    const char *what;
};

static void open_scene(struct scene *scene) {
    memset(scene, 0, sizeof *scene);
    CHECK(evthread_use_pthreads() == 0);
    scene->base = new_base();
    unix_pair(scene->entered);
    unix_pair(scene->leave);
}

static void close_scene(struct scene *scene) {
    event_base_free(scene->base);
    for (int i = 0; i < 2; i++) {
        close(scene->entered[i]);
        close(scene->leave[i]);
    }
}

static void tells(evutil_socket_t fd, short what, void *arg) {
    struct scene *scene = arg;
    (void)fd;
    (void)what;
    send_all(scene->entered[1], "x", 1);
}

static void ends(evutil_socket_t fd, short what, void *arg) {
    struct scene *scene = arg;
    traced(fd, what, "woken");
    event_base_loopbreak(scene->base);
}

/* Acts once the loop runs: it waits then, or is about to. */
static void *acts(void *arg) {
    struct scene *scene = arg;
    struct timeval soon = ms(1);
    await_readable(scene->entered[0]);
    if (strcmp(scene->what, "break") == 0)
        CHECK(event_base_loopbreak(scene->base) == 0);
    else if (strcmp(scene->what, "exit") == 0)
        CHECK(event_base_loopexit(scene->base, NULL) == 0);
    else if (strcmp(scene->what, "exit later") == 0)
        CHECK(event_base_loopexit(scene->base, &soon) == 0);
    else if (strcmp(scene->what, "active") == 0)
        event_active(scene->event, EV_READ, 1);
    else
        CHECK(event_add(scene->event, &soon) == 0);
    return NULL;
}

/* The loop has nothing to do but a timer in 100 seconds: only the other thread can end it. */
static void woken_by(const char *what) {
    struct scene scene;
    pthread_t thread;
    open_scene(&scene);
    scene.what = what;
    struct event *far = new_event(scene.base, -1, 0, traced, "far");
    struct event *first = new_event(scene.base, -1, 0, tells, &scene);
    scene.event = new_event(scene.base, -1, 0, ends, &scene);
    CHECK(add_ms(far, 100000) == 0);
    event_active(first, EV_READ, 1);
    CHECK(pthread_create(&thread, NULL, acts, &scene) == 0);
    step(what);
    int result = event_base_dispatch(scene.base);
    CHECK(pthread_join(thread, NULL) == 0);
    say("result %d exit %d break %d", result, event_base_got_exit(scene.base),
        event_base_got_break(scene.base));
    event_free(far);
    event_free(first);
    event_free(scene.event);
    close_scene(&scene);
}

CASE(thread_loopbreak_wakes_the_loop) {
    woken_by("break");
}

CASE(thread_loopexit_wakes_the_loop) {
    woken_by("exit");
    woken_by("exit later");
}

CASE(thread_event_active_wakes_the_loop) {
    woken_by("active");
}

CASE(thread_event_add_wakes_the_loop) {
    woken_by("add");
}

static void counts(evutil_socket_t fd, short what, void *count) {
    (void)fd;
    (void)what;
    __atomic_add_fetch((unsigned *)count, 1, __ATOMIC_SEQ_CST);
}

static void *dispatches(void *base) {
    CHECK(event_base_loop(base, EVLOOP_NO_EXIT_ON_EMPTY) == 0);
    return NULL;
}

/* Each time the loop has just run a callback and is about to wait: what is activated then is not lost. */
CASE(thread_event_active_just_before_the_loop_waits) {
    CHECK(evthread_use_pthreads() == 0);
    struct event_base *base = new_base();
    pthread_t thread;
    unsigned count = 0, rounds = under_valgrind() ? 200 : 30000;
    struct event *event = new_event(base, -1, 0, counts, &count);
    CHECK(pthread_create(&thread, NULL, dispatches, base) == 0);
    for (unsigned round = 1; round <= rounds; round++) {
        /* Sooner and later, so that it falls into every moment. */
        for (volatile unsigned spin = round % 600; spin; spin--)
            ;
        event_active(event, EV_READ, 1);
        while (__atomic_load_n(&count, __ATOMIC_SEQ_CST) < round)
            sched_yield();
    }
    CHECK(event_base_loopbreak(base) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    event_free(event);
    event_base_free(base);
    say("all arrived");
}

static void lingers(evutil_socket_t fd, short what, void *arg) {
    struct scene *scene = arg;
    struct pollfd leave = {scene->leave[0], POLLIN, 0};
    tells(fd, what, arg);
    poll(&leave, 1, scene->patience);
    __atomic_store_n(&scene->returned, 1, __ATOMIC_SEQ_CST);
}

static void *loops(void *arg) {
    struct scene *scene = arg;
    event_base_dispatch(scene->base);
    return NULL;
}

static void deleted_while_it_runs(short flags, int patience, int (*delete)(struct event *)) {
    struct scene scene;
    pthread_t thread;
    open_scene(&scene);
    scene.patience = patience;
    scene.event = new_event(scene.base, -1, EV_PERSIST | flags, lingers, &scene);
    event_active(scene.event, EV_READ, 1);
    CHECK(pthread_create(&thread, NULL, loops, &scene) == 0);
    await_readable(scene.entered[0]);
    int result = delete(scene.event);
    say("del %d returned %d", result, __atomic_load_n(&scene.returned, __ATOMIC_SEQ_CST));
    send_all(scene.leave[1], "x", 1);
    CHECK(pthread_join(thread, NULL) == 0);
    event_free(scene.event);
    close_scene(&scene);
}

/* The callback stays until it is told to go, or for 50 ms where the caller is to wait for it. */
CASE(thread_event_del_waits_for_the_callback) {
    deleted_while_it_runs(0, 50, event_del);
    deleted_while_it_runs(EV_FINALIZE, 50, event_del_block);
}

CASE(thread_event_del_of_a_finalized_kind_does_not_wait) {
    deleted_while_it_runs(EV_FINALIZE, 5000, event_del);
    deleted_while_it_runs(0, 5000, event_del_noblock);
}

static int made, unmade, held;

static void *make_lock(unsigned type) {
    pthread_mutexattr_t recursive;
    pthread_mutex_t *lock = malloc(sizeof *lock);
    (void)type;
    CHECK(lock && pthread_mutexattr_init(&recursive) == 0);
    CHECK(pthread_mutexattr_settype(&recursive, PTHREAD_MUTEX_RECURSIVE) == 0);
    CHECK(pthread_mutex_init(lock, &recursive) == 0);
    made++;
    return lock;
}

static void unmake_lock(void *lock, unsigned type) {
    (void)type;
    unmade++;
    free(lock);
}

static int take_lock(unsigned mode, void *lock) {
    (void)mode;
    held++;
    return pthread_mutex_lock(lock);
}

static int give_lock(unsigned mode, void *lock) {
    (void)mode;
    held--;
    return pthread_mutex_unlock(lock);
}

/* What the program's own lock functions see of an evbuffer's lock. */
CASE(thread_locks_of_the_program) {
    struct evthread_lock_callbacks callbacks = {EVTHREAD_LOCK_API_VERSION,
                                                EVTHREAD_LOCKTYPE_RECURSIVE,
                                                make_lock,
                                                unmake_lock,
                                                take_lock,
                                                NULL};
    event_set_log_callback(no_log);
    say("incomplete %d", evthread_set_lock_callbacks(&callbacks));
    callbacks.unlock = give_lock;
    say("set %d", evthread_set_lock_callbacks(&callbacks));
    say("again %d", evthread_set_lock_callbacks(&callbacks));
    callbacks.supported_locktypes |= EVTHREAD_LOCKTYPE_READWRITE;
    say("with other types %d", evthread_set_lock_callbacks(&callbacks));
    say("pthreads now %d", evthread_use_pthreads());
    struct evbuffer *buffer = evbuffer_new();
    int before = made;
    say("enable %d made %d", evbuffer_enable_locking(buffer, NULL), made - before);
    evbuffer_lock(buffer);
    say("held %d", held);
    evbuffer_lock(buffer);
    say("held twice %d", held);
    evbuffer_unlock(buffer);
    evbuffer_unlock(buffer);
    CHECK(evbuffer_add(buffer, "x", 1) == 0);
    say("held %d", held);
    before = unmade;
    evbuffer_free(buffer);
    say("unmade %d held %d", unmade - before, held);
}

CASE(thread_callbacks_cannot_be_replaced) {
    struct evthread_lock_callbacks callbacks = {EVTHREAD_LOCK_API_VERSION,
                                                EVTHREAD_LOCKTYPE_RECURSIVE,
                                                make_lock,
                                                unmake_lock,
                                                take_lock,
                                                give_lock};
    event_set_log_callback(no_log);
    CHECK(evthread_use_pthreads() == 0);
    say("locks %d", evthread_set_lock_callbacks(&callbacks));
    say("pthreads again %d", evthread_use_pthreads());
}

CASE(thread_notifiable) {
    struct event_base *base = new_base();
    say("base %d", evthread_make_base_notifiable(base));
    event_base_free(base);
}
