/* A child of fork that uses its parent's base without event_reinit: the parent is not disturbed. */
#include <sys/wait.h>

#include "loop.h"

static unsigned lines;

static void counts_lines(int severity, const char *text) {
    (void)severity;
    lines += strstr(text, "fork") != NULL;
}

struct scene {
    struct event_base *base;
    struct event *reader, *timer, *signal;
    int fd[2];
    int end[2]; /* its end is seen when the parent has finished */
};

/* Runs `act` in a child, and then sees whether the parent's events are all there. */
static void forked(const char *name, void (*act)(struct scene *scene)) {
    struct scene scene;
    int status;
    event_set_log_callback(counts_lines);
    scene.base = new_base();
    unix_pair(scene.fd);
    CHECK(pipe(scene.end) == 0);
    scene.reader = new_event(scene.base, scene.fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    scene.signal = new_event(scene.base, SIGUSR1, EV_SIGNAL | EV_PERSIST, traced, "signal");
    scene.timer = new_event(scene.base, -1, 0, traced, "timer");
    CHECK(event_add(scene.reader, NULL) == 0 && event_add(scene.signal, NULL) == 0);
    pass(scene.base);
    pid_t child = fork();
    CHECK(child >= 0);
    if (child == 0) {
        close(scene.end[1]);
        step(name);
        act(&scene);
        say("lines in the log %u", lines);
        _exit(0);
    }
    CHECK(waitpid(child, &status, 0) == child);
    say("status %d", status);
    step("parent without news");
    pass(scene.base);
    send_all(scene.fd[1], "x", 1);
    step("parent reads");
    event_base_loop(scene.base, EVLOOP_ONCE);
    raise(SIGUSR1);
    step("parent's signal");
    event_base_loop(scene.base, EVLOOP_ONCE);
    CHECK(add_ms(scene.timer, 1) == 0);
    step("parent's timer");
    event_base_loop(scene.base, EVLOOP_ONCE);
    say("lines in the log %u", lines);
    event_set_log_callback(NULL);
    event_free(scene.reader);
    event_free(scene.signal);
    event_free(scene.timer);
    event_base_free(scene.base);
    for (int i = 0; i < 2; i++) {
        close(scene.fd[i]);
        close(scene.end[i]);
    }
}

static void loops(struct scene *scene) {
    CHECK(add_ms(scene->timer, 1) == 0);
    event_base_loop(scene->base, EVLOOP_ONCE);
    raise(SIGUSR1);
    event_base_loop(scene->base, EVLOOP_ONCE);
}

static void deletes(struct scene *scene) {
    event_del(scene->reader);
    event_del(scene->signal);
    pass(scene->base);
}

static void frees(struct scene *scene) {
    event_free(scene->reader);
    event_free(scene->signal);
    event_base_free(scene->base);
}

static void adds(struct scene *scene) {
    int fd[2];
    unix_pair(fd);
    send_all(fd[1], "x", 1);
    struct event *event = new_event(scene->base, fd[0], EV_READ | EV_PERSIST, traced, "child's");
    CHECK(event_add(event, NULL) == 0);
    /* The parent must not hear of it while the descriptor is open elsewhere. */
    if (fork() == 0) {
        char byte;
        ssize_t nothing = read(scene->end[0], &byte, 1);
        _exit((int)nothing);
    }
}

static void changes(struct scene *scene) {
    event_del(scene->reader);
    struct event *writer =
        new_event(scene->base, scene->fd[0], EV_WRITE | EV_PERSIST, traced, "child's");
    CHECK(event_add(writer, NULL) == 0);
    event_base_loop(scene->base, EVLOOP_ONCE | EVLOOP_NONBLOCK);
}

static void bufferevents(struct scene *scene) {
    int fd[2];
    struct end end;
    unix_pair(fd);
    send_all(fd[1], "abc", 3);
    watch_new(&end, "", scene->base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    CHECK(bufferevent_enable(end.bev, EV_READ) == 0);
    run_until_count(scene->base, &end.reads, 1);
    bufferevent_free(end.bev);
}

CASE_DIFFERS(fork_child_loops_without_reinit, "fork",
             "libevent does not notice, and shares the parent's epoll instance") {
    forked("child", loops);
}

CASE_DIFFERS(fork_child_deletes_without_reinit, "fork",
             "libevent does not notice, and shares the parent's epoll instance") {
    forked("child", deletes);
}

CASE_DIFFERS(fork_child_frees_without_reinit, "fork",
             "libevent does not notice, and shares the parent's epoll instance") {
    forked("child", frees);
}

CASE(fork_child_adds_without_reinit) {
    forked("child", adds);
}

CASE_DIFFERS(fork_child_changes_without_reinit, "fork",
             "libevent does not notice, and shares the parent's epoll instance") {
    forked("child", changes);
}

CASE_DIFFERS(fork_child_uses_bufferevents_without_reinit, "fork",
             "libevent does not notice, and shares the parent's epoll instance") {
    forked("child", bufferevents);
}

/* What cannot be watched any more is told, and the rest goes on. libevent's poll and select take any number, and
 * notice when they wait. */
CASE_DIFFERS_OFF_EPOLL(fork_reinit_with_a_closed_descriptor, "closed descriptor",
                       "libevent's poll and select take any number, and notice at the next wait") {
    struct event_base *base = new_base();
    int fd[2], number;
    unix_pair(fd);
    /* A number that the new instance does not get. */
    CHECK((number = fcntl(fd[0], F_DUPFD, 200)) >= 200);
    struct event *gone = new_event(base, number, EV_READ | EV_PERSIST, traced, "gone");
    struct event *reader = new_event(base, fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    CHECK(event_add(gone, NULL) == 0 && event_add(reader, NULL) == 0);
    close(number);
    event_set_log_callback(no_log);
    say("reinit %d", event_reinit(base));
    event_del(gone);
    send_all(fd[1], "x", 1);
    step("the other");
    pass(base);
    say("reinit %d", event_reinit(base));
    event_free(gone);
    event_free(reader);
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}
