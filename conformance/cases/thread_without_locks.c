/* A base that was made without evthread_use_pthreads(), used by a thread that is not its loop's. */
#include <poll.h>
#include <pthread.h>

#include "loop.h"

static unsigned lines;

static void counts_lines(int severity, const char *text) {
    (void)severity;
    lines += strstr(text, "evthread_use_pthreads") != NULL;
}

static void nothing(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
}

static int entered[2], go[2];

/* Tells that it runs, and holds the loop still until it may go on. */
static void lingers(evutil_socket_t fd, short what, void *arg) {
    struct pollfd may_go = {go[0], POLLIN, 0};
    (void)fd;
    (void)what;
    (void)arg;
    send_all(entered[1], "x", 1);
    CHECK(poll(&may_go, 1, 5000) == 1);
}

static void *dispatches(void *base) {
    CHECK(event_base_dispatch(base) >= 0);
    return NULL;
}

/* The callback holds the loop still meanwhile, so that it is no race here. */
CASE_DIFFERS(issues_309_1066_1127_1761_use_from_another_thread_without_locks, "no locks",
             "libevent goes ahead; without such luck its lists are corrupted, and it spins or aborts") {
    struct event_base *base = new_base();
    struct timeval now = {0, 0};
    pthread_t thread;
    int fd[2];
    unix_pair(fd);
    unix_pair(entered);
    unix_pair(go);
    event_set_log_callback(counts_lines);
    struct event *first = new_event(base, -1, 0, lingers, NULL);
    struct event *reader = new_event(base, fd[0], EV_READ, traced, "reader");
    struct event *timer = new_event(base, -1, 0, traced, "timer");
    say("before the loop %d", add_ms(timer, 1));
    event_active(first, EV_READ, 1);
    CHECK(pthread_create(&thread, NULL, dispatches, base) == 0);
    await_readable(entered[0]);
    say("del of an idle one %d", event_del(reader));
    say("lines in the log %u", lines);
    say("add %d", event_add(reader, NULL));
    say("del of a pending one %d", event_del(timer));
    say("once %d", event_base_once(base, -1, EV_TIMEOUT, nothing, NULL, &now));
    say("lines in the log %u", lines);
    step("the loop goes on");
    send_all(go[1], "x", 1);
    CHECK(pthread_join(thread, NULL) == 0);
    say("after the loop %d %d", event_add(reader, NULL), event_del(reader));
    event_set_log_callback(NULL);
    event_free(first);
    event_free(reader);
    event_free(timer);
    event_base_free(base);
    for (int i = 0; i < 2; i++) {
        close(fd[i]);
        close(entered[i]);
        close(go[i]);
    }
}
