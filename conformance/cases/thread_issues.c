/* Deadlocks and endless loops that were reported to libevent, by the numbers of the reports. */
#include <poll.h>
#include <pthread.h>

#include "loop.h"

struct scene {
    struct event_base *base;
    struct event *keeps; /* so that the loop does not end */
    pthread_t thread;
};

static void *dispatches(void *base) {
    CHECK(event_base_dispatch(base) >= 0);
    return NULL;
}

static void tells(evutil_socket_t fd, short what, void *told) {
    (void)fd;
    (void)what;
    send_all(*(int *)told, "x", 1);
}

/* Returns when the loop runs: an event_base_loopbreak before is forgotten when it begins. */
static void begin(struct scene *scene) {
    int told[2];
    CHECK(evthread_use_pthreads() == 0);
    unix_pair(told);
    scene->base = new_base();
    struct event *begun = new_event(scene->base, -1, 0, tells, &told[1]);
    event_active(begun, EV_READ, 1);
    scene->keeps = new_event(scene->base, -1, EV_PERSIST, traced, "keeps");
    CHECK(add_ms(scene->keeps, 100000) == 0);
    CHECK(pthread_create(&scene->thread, NULL, dispatches, scene->base) == 0);
    await_readable(told[0]);
    event_free(begun); /* waits for its callback */
    close(told[0]);
    close(told[1]);
}

static void end(struct scene *scene) {
    CHECK(event_base_loopbreak(scene->base) == 0);
    CHECK(pthread_join(scene->thread, NULL) == 0);
    event_free(scene->keeps);
    event_base_free(scene->base);
}

static unsigned rounds(unsigned count) {
    return under_valgrind() ? count / 10 : count;
}

static unsigned load(unsigned *count) {
    return __atomic_load_n(count, __ATOMIC_SEQ_CST);
}

static void count_up(unsigned *count) {
    __atomic_add_fetch(count, 1, __ATOMIC_SEQ_CST);
}

static void echoes(struct bufferevent *bev, void *count) {
    CHECK(bufferevent_write_buffer(bev, bufferevent_get_input(bev)) == 0);
    count_up(count);
}

static void written(struct bufferevent *bev, void *count) {
    (void)bev;
    (void)count;
}

static struct bufferevent *echo_server(struct scene *scene, int fd[2], unsigned *count,
                                       int options) {
    unix_pair(fd);
    struct bufferevent *bev = bufferevent_socket_new(
        scene->base, fd[0], BEV_OPT_THREADSAFE | BEV_OPT_CLOSE_ON_FREE | options);
    CHECK(bev);
    bufferevent_setcb(bev, echoes, written, NULL, count);
    CHECK(bufferevent_enable(bev, EV_READ | EV_WRITE) == 0);
    return bev;
}

/* A thread frees a bufferevent whose callback is due in the loop, with the lock that it wants. */
static void freed_while_busy(int options) {
    struct scene scene;
    unsigned count = 0;
    begin(&scene);
    for (unsigned round = 0; round < rounds(1000); round++) {
        int fd[2];
        struct bufferevent *bev = echo_server(&scene, fd, &count, options);
        send_all(fd[1], "abc", 3);
        for (volatile unsigned spin = round % 50 * 100; spin; spin--)
            ;
        bufferevent_free(bev);
        close(fd[1]);
    }
    end(&scene);
    say("ended");
}

CASE(issue_512_bufferevent_freed_while_its_callback_is_due) {
    freed_while_busy(0);
}

CASE(issue_1311_bufferevent_freed_while_its_deferred_callback_is_due) {
    freed_while_busy(BEV_OPT_DEFER_CALLBACKS);
    freed_while_busy(BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS);
}

/* A thread disables and enables a bufferevent while the loop works on it. */
CASE(issue_105_bufferevent_disabled_while_the_loop_works_on_it) {
    struct scene scene;
    unsigned count = 0;
    int fd[2];
    char data[4096];
    begin(&scene);
    struct bufferevent *bev = echo_server(&scene, fd, &count, 0);
    for (unsigned round = 0; round < rounds(2000); round++) {
        ssize_t sent = send(fd[1], "abc", 3, MSG_NOSIGNAL);
        CHECK(sent == 3 || errno == EAGAIN);
        CHECK(bufferevent_disable(bev, EV_READ | EV_WRITE) == 0);
        CHECK(bufferevent_enable(bev, EV_READ | EV_WRITE) == 0);
        recv_now(fd[1], data, sizeof data, NULL);
    }
    bufferevent_free(bev);
    close(fd[1]);
    end(&scene);
    say("ended");
}

struct busy {
    unsigned calls, late;
    bool deleted;
};

static void is_busy(evutil_socket_t fd, short what, void *arg) {
    struct busy *busy = arg;
    (void)fd;
    (void)what;
    if (__atomic_load_n(&busy->deleted, __ATOMIC_SEQ_CST))
        count_up(&busy->late);
    count_up(&busy->calls);
}

/* The callback is due again and again: it does not run any more once event_del has returned. */
CASE(issue_225_no_call_after_event_del_of_a_busy_event) {
    struct scene scene;
    struct busy busy = {0};
    int fd[2];
    begin(&scene);
    unix_pair(fd);
    send_all(fd[1], "x", 1);
    struct event *event = new_event(scene.base, fd[0], EV_READ | EV_PERSIST, is_busy, &busy);
    for (unsigned round = 0; round < rounds(200); round++) {
        unsigned before = load(&busy.calls);
        __atomic_store_n(&busy.deleted, false, __ATOMIC_SEQ_CST);
        CHECK(event_add(event, NULL) == 0);
        while (load(&busy.calls) == before)
            sched_yield();
        CHECK(event_del(event) == 0);
        __atomic_store_n(&busy.deleted, true, __ATOMIC_SEQ_CST);
    }
    say("late calls %u", busy.late);
    event_free(event);
    end(&scene);
    close(fd[0]);
    close(fd[1]);
}

struct crossing {
    struct event *other;
    unsigned calls;
    int entered[2], go[2];
};

static void deletes_the_other(evutil_socket_t fd, short what, void *arg) {
    struct crossing *crossing = arg;
    struct pollfd go = {crossing->go[0], POLLIN, 0};
    (void)fd;
    (void)what;
    send_all(crossing->entered[1], "x", 1);
    CHECK(poll(&go, 1, 5000) == 1);
    CHECK(event_del(crossing->other) == 0);
    count_up(&crossing->calls);
}

static void *deletes_own(void *event) {
    CHECK(event_del(event) == 0);
    return NULL;
}

CASE(event_del_in_a_callback_while_another_thread_deletes_the_callbacks_event) {
    struct scene scene;
    struct crossing crossing = {0};
    pthread_t thread;
    begin(&scene);
    unix_pair(crossing.entered);
    unix_pair(crossing.go);
    crossing.other = new_event(scene.base, -1, EV_PERSIST, traced, "other");
    CHECK(add_ms(crossing.other, 100000) == 0);
    struct event *first = new_event(scene.base, -1, 0, deletes_the_other, &crossing);
    event_active(first, EV_READ, 1);
    await_readable(crossing.entered[0]);
    /* Waits for the callback, which deletes an event of the same base meanwhile. */
    CHECK(pthread_create(&thread, NULL, deletes_own, first) == 0);
    send_all(crossing.go[1], "x", 1);
    CHECK(pthread_join(thread, NULL) == 0);
    say("calls %u, other pending %d", load(&crossing.calls), pending(crossing.other));
    event_free(first);
    event_free(crossing.other);
    end(&scene);
    for (int i = 0; i < 2; i++) {
        close(crossing.entered[i]);
        close(crossing.go[i]);
    }
}

#define UNLOCKED                                                                                   \
    (BEV_OPT_THREADSAFE | BEV_OPT_CLOSE_ON_FREE | BEV_OPT_DEFER_CALLBACKS |                        \
     BEV_OPT_UNLOCK_CALLBACKS)

/* What each of two that write to each other knows. */
struct mutual {
    struct bufferevent *other;
    pthread_mutex_t *mutex; /* the program's own, which both callbacks and writers take; or NULL */
    unsigned taken;
};

static void writes_to_the_other(struct bufferevent *bev, void *arg) {
    struct mutual *mutual = arg;
    struct evbuffer *input = bufferevent_get_input(bev);
    size_t length = evbuffer_get_length(input);
    if (mutual->mutex)
        pthread_mutex_lock(mutual->mutex);
    CHECK(evbuffer_drain(input, length) == 0);
    CHECK(bufferevent_write(mutual->other, "abcdef", 6) == 0);
    if (mutual->mutex)
        pthread_mutex_unlock(mutual->mutex);
    __atomic_add_fetch(&mutual->taken, (unsigned)length, __ATOMIC_SEQ_CST);
}

/* Takes what comes, for as long as it comes. */
static size_t drained(int fd) {
    char data[4096];
    return recv_now(fd, data, sizeof data, NULL);
}

static void two_write_to_each_other(int options) {
    struct scene scene[2];
    struct bufferevent *bev[2];
    struct mutual mutual[2] = {{0}};
    int fd[2][2];
    unsigned total = rounds(2000) * 3;
    for (int i = 0; i < 2; i++) {
        begin(&scene[i]);
        unix_pair(fd[i]);
        bev[i] = bufferevent_socket_new(scene[i].base, fd[i][0], options);
        CHECK(bev[i]);
    }
    for (int i = 0; i < 2; i++) {
        mutual[i].other = bev[!i];
        bufferevent_setcb(bev[i], writes_to_the_other, NULL, NULL, &mutual[i]);
        CHECK(bufferevent_enable(bev[i], EV_READ | EV_WRITE) == 0);
    }
    for (unsigned sent = 0; sent < total; sent += 3) {
        send_all(fd[0][1], "abc", 3);
        send_all(fd[1][1], "abc", 3);
        drained(fd[0][1]);
        drained(fd[1][1]);
        while (load(&mutual[0].taken) < sent || load(&mutual[1].taken) < sent) {
            drained(fd[0][1]);
            drained(fd[1][1]);
        }
    }
    for (int i = 0; i < 2; i++)
        while (load(&mutual[i].taken) < total)
            drained(fd[i][1]);
    say("taken %d %d", load(&mutual[0].taken) == total, load(&mutual[1].taken) == total);
    for (int i = 0; i < 2; i++)
        bufferevent_free(bev[i]);
    for (int i = 0; i < 2; i++) {
        end(&scene[i]);
        close(fd[i][1]);
    }
}

/* Two threads, each in the callback of its bufferevent, write to the other's. */
CASE(issue_1361_and_1750_two_that_write_to_each_other) {
    two_write_to_each_other(UNLOCKED);
}

struct sender {
    struct bufferevent *bev;
    pthread_mutex_t *mutex;
    unsigned count;
};

static void *sends(void *arg) {
    struct sender *sender = arg;
    for (unsigned i = 0; i < sender->count; i++) {
        pthread_mutex_lock(sender->mutex);
        CHECK(bufferevent_write(sender->bev, "abcd", 4) == 0);
        pthread_mutex_unlock(sender->mutex);
    }
    return NULL;
}

/* Threads write under a mutex of the program's, which the read callback takes too. */
CASE(issue_1670_writes_under_a_mutex_that_the_callback_takes) {
    struct scene scene;
    struct mutual mutual = {0};
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[3];
    struct sender sender = {.mutex = &mutex, .count = rounds(3000)};
    int fd[2];
    begin(&scene);
    unix_pair(fd);
    sender.bev = bufferevent_socket_new(scene.base, fd[0], UNLOCKED);
    CHECK(sender.bev);
    mutual.other = sender.bev;
    mutual.mutex = &mutex;
    bufferevent_setcb(sender.bev, writes_to_the_other, NULL, NULL, &mutual);
    CHECK(bufferevent_enable(sender.bev, EV_READ | EV_WRITE) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, sends, &sender) == 0);
    size_t sent = 0, got = 0, least = 3 * (size_t)sender.count * 4;
    while (got < least) {
        if (sent < 3000 && write(fd[1], "x", 1) == 1)
            sent++;
        got += drained(fd[1]);
    }
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    say("all came");
    bufferevent_free(sender.bev);
    end(&scene);
    close(fd[1]);
}

/* Threads write to one end of a pair, whose callbacks run in the loop: coturn's threads talk so. */
CASE(threads_write_to_one_end_of_a_pair) {
    struct scene scene;
    struct bufferevent *pair[2];
    pthread_mutex_t mutex = PTHREAD_MUTEX_INITIALIZER;
    pthread_t threads[3];
    struct sender sender = {.mutex = &mutex, .count = rounds(3000)};
    unsigned received = 0;
    begin(&scene);
    CHECK(bufferevent_pair_new(scene.base, UNLOCKED, pair) == 0);
    struct mutual mutual = {.other = pair[1]};
    sender.bev = pair[0];
    bufferevent_setcb(pair[1], writes_to_the_other, NULL, NULL, &mutual);
    CHECK(bufferevent_enable(pair[1], EV_READ) == 0);
    for (int i = 0; i < 3; i++)
        CHECK(pthread_create(&threads[i], NULL, sends, &sender) == 0);
    for (int i = 0; i < 3; i++)
        pthread_join(threads[i], NULL);
    while (received < 3 * sender.count * 4)
        received = load(&mutual.taken);
    say("all came");
    bufferevent_free(pair[0]);
    bufferevent_free(pair[1]);
    end(&scene);
}
