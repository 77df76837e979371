/* Whole transfers: large ones, many at a time, through every kind of descriptor, from threads. */
#include "bufferevent.h"

#include <pthread.h>
#include <termios.h>

enum { LARGE = 5 * 1024 * 1024 };

/* From one bufferevent to another, written in uneven pieces. */
static void transfer(int fd[2], int options) {
    struct event_base *base = new_base();
    struct end from, to;
    char *data = malloc(LARGE);
    CHECK(data);
    fill(data, LARGE, 7);
    watch_new(&from, "from", base, fd[0], options | BEV_OPT_CLOSE_ON_FREE);
    watch_new(&to, "to", base, fd[1], options | BEV_OPT_CLOSE_ON_FREE);
    from.quiet = to.quiet = true;
    to.drain = true;
    CHECK(bufferevent_enable(to.bev, EV_READ) == 0);
    size_t sent = 0;
    for (size_t piece = 1; sent < LARGE; piece = piece * 3 + 1) {
        size_t length = piece % 100000 < LARGE - sent ? piece % 100000 : LARGE - sent;
        CHECK(bufferevent_write(from.bev, data + sent, length) == 0);
        sent += length;
    }
    run_until_bytes(base, &to.received, LARGE);
    run_until_count(base, &from.writes, 1);
    say("got %zu, the same %d", to.received, to.hash == hash_bytes(HASH_START, data, LARGE));
    say("left %zu, write callbacks with an empty output %d", out_length(from.bev),
        from.writes >= 1);
    bufferevent_free(from.bev);
    step("the end");
    to.quiet = false;
    run_until_count(base, &to.events, 1);
    bufferevent_free(to.bev);
    event_base_free(base);
    free(data);
}

CASE(large_transfer_over_unix_sockets) {
    int fd[2];
    unix_pair(fd);
    transfer(fd, 0);
}

CASE(large_transfer_over_tcp) {
    int fd[2];
    tcp_pair(fd);
    transfer(fd, 0);
}

CASE(large_transfer_with_deferred_callbacks) {
    int fd[2];
    tcp_pair(fd);
    transfer(fd, BEV_OPT_DEFER_CALLBACKS);
}

CASE(large_transfer_with_locks) {
    int fd[2];
    CHECK(evthread_use_pthreads() == 0);
    unix_pair(fd);
    transfer(fd, BEV_OPT_THREADSAFE | BEV_OPT_DEFER_CALLBACKS | BEV_OPT_UNLOCK_CALLBACKS);
}

static void echo(struct end *end) {
    CHECK(bufferevent_write_buffer(end->bev, bufferevent_get_input(end->bev)) == 0);
}

static void echo_many(bool tcp, int options) {
    enum { COUNT = 200, LENGTH = 5000 };
    struct event_base *base = new_base();
    static struct end server[COUNT], client[COUNT];
    static char data[LENGTH];
    unsigned same = 0;
    for (int i = 0; i < COUNT; i++) {
        int fd[2];
        if (tcp)
            tcp_pair(fd);
        else
            unix_pair(fd);
        watch_new(&server[i], "", base, fd[0], options | BEV_OPT_CLOSE_ON_FREE);
        watch_new(&client[i], "", base, fd[1], options | BEV_OPT_CLOSE_ON_FREE);
        server[i].quiet = client[i].quiet = true;
        server[i].on_read = echo;
        client[i].drain = true;
        CHECK(bufferevent_enable(server[i].bev, EV_READ) == 0);
        CHECK(bufferevent_enable(client[i].bev, EV_READ) == 0);
        fill(data, LENGTH, (unsigned)i);
        CHECK(bufferevent_write(client[i].bev, data, LENGTH) == 0);
    }
    for (int i = 0; i < COUNT; i++) {
        run_until_bytes(base, &client[i].received, LENGTH);
        fill(data, LENGTH, (unsigned)i);
        same += client[i].received == LENGTH &&
                client[i].hash == hash_bytes(HASH_START, data, LENGTH);
        bufferevent_free(client[i].bev);
    }
    for (int i = 0; i < COUNT; i++) {
        run_until_count(base, &server[i].events, 1);
        CHECK(server[i].flags == (BEV_EVENT_READING | BEV_EVENT_EOF));
        bufferevent_free(server[i].bev);
    }
    say("echoed %u", same);
    event_base_free(base);
}

CASE(two_hundred_unix_echoes) {
    echo_many(false, 0);
}

CASE(two_hundred_tcp_echoes) {
    echo_many(true, 0);
}

CASE(two_hundred_deferred_echoes) {
    echo_many(false, BEV_OPT_DEFER_CALLBACKS);
}

CASE(back_pressure_by_watermarks) {
    struct scene s;
    open_scene(&s, 0);
    char *data = malloc(200000), *got = malloc(200000);
    CHECK(data && got);
    fill(data, 200000, 3);
    size_t sent = 0, taken = 0, most = 0;
    bufferevent_setcb(s.a.bev, NULL, NULL, on_event, &s.a);
    bufferevent_setwatermark(s.a.bev, EV_READ, 0, 3000);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    while (taken < 200000) {
        if (sent < 200000) {
            ssize_t n = send(s.peer, data + sent, 200000 - sent, MSG_NOSIGNAL);
            CHECK(n > 0 || errno == EAGAIN);
            sent += n > 0 ? (size_t)n : 0;
        }
        settle(s.base);
        if (in_length(s.a.bev) > most)
            most = in_length(s.a.bev);
        taken += bufferevent_read(s.a.bev, got + taken, 2000);
    }
    say("never more than %zu, the same %d", most, memcmp(data, got, taken) == 0);
    free(data);
    free(got);
    close_scene(&s);
}

CASE(proxy_between_two_connections) {
    struct event_base *base = new_base();
    struct end left, right;
    char got[64];
    int a[2], b[2];
    unix_pair(a);
    unix_pair(b);
    watch_new(&left, "left", base, a[0], BEV_OPT_CLOSE_ON_FREE);
    watch_new(&right, "right", base, b[0], BEV_OPT_CLOSE_ON_FREE);
    CHECK(bufferevent_enable(left.bev, EV_READ) == 0);
    CHECK(bufferevent_enable(right.bev, EV_READ) == 0);
    send_letters(a[1], 20);
    step("in");
    settle(base);
    CHECK(bufferevent_read_buffer(left.bev, bufferevent_get_output(right.bev)) == 0);
    step("out");
    settle(base);
    say("came through %zu", recv_now(b[1], got, sizeof got, NULL));
    close(b[1]);
    step("end");
    settle(base);
    bufferevent_free(left.bev);
    bufferevent_free(right.bev);
    close(a[1]);
    event_base_free(base);
}

CASE(reading_from_a_pipe) {
    struct event_base *base = new_base();
    struct end a;
    int fd[2];
    CHECK(pipe(fd) == 0);
    set_nonblocking(fd[0]);
    watch_new(&a, "", base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    CHECK(bufferevent_enable(a.bev, EV_READ) == 0);
    CHECK(write(fd[1], "some text", 9) == 9);
    step("text");
    settle(base);
    close(fd[1]);
    step("closed");
    settle(base);
    bufferevent_free(a.bev);
    event_base_free(base);
}

CASE(writing_to_a_pipe) {
    struct event_base *base = new_base();
    struct end a;
    char got[64];
    int fd[2];
    CHECK(pipe(fd) == 0);
    set_nonblocking(fd[1]);
    watch_new(&a, "", base, fd[1], BEV_OPT_CLOSE_ON_FREE);
    write_letters(a.bev, 12);
    step("written");
    settle(base);
    say("arrived %zd", read(fd[0], got, sizeof got));
    close(fd[0]);
    write_letters(a.bev, 12);
    step("closed");
    settle(base);
    say("held %zu", out_length(a.bev));
    bufferevent_free(a.bev);
    event_base_free(base);
}

CASE(a_terminal) {
    struct event_base *base = new_base();
    struct end a;
    struct termios raw;
    char got[64];
    int master = posix_openpt(O_RDWR | O_NOCTTY | O_NONBLOCK);
    CHECK(master >= 0 && grantpt(master) == 0 && unlockpt(master) == 0);
    int slave = open(ptsname(master), O_RDWR | O_NOCTTY | O_NONBLOCK);
    CHECK(slave >= 0 && tcgetattr(slave, &raw) == 0);
    cfmakeraw(&raw);
    CHECK(tcsetattr(slave, TCSANOW, &raw) == 0);
    watch_new(&a, "", base, slave, BEV_OPT_CLOSE_ON_FREE);
    CHECK(bufferevent_enable(a.bev, EV_READ) == 0);
    trace_merge(true);
    CHECK(write(master, "typed", 5) == 5);
    step("typed");
    run_until_count(base, &a.reads, 1);
    settle(base);
    write_letters(a.bev, 11);
    step("shown");
    run_until_count(base, &a.writes, 1);
    await_readable(master);
    say("arrived %zd", read(master, got, sizeof got));
    bufferevent_free(a.bev);
    settle(base);
    close(master);
    event_base_free(base);
}

struct writer {
    struct bufferevent *bev;
    int count;
};

static void *write_from_thread(void *arg) {
    struct writer *writer = arg;
    for (int i = 0; i < writer->count; i++)
        CHECK(bufferevent_write(writer->bev, "0123456789", 10) == 0);
    return NULL;
}

CASE(writing_from_other_threads) {
    enum { THREADS = 4, COUNT = 2000 };
    struct event_base *base;
    struct end from, to;
    pthread_t thread[THREADS];
    int fd[2];
    CHECK(evthread_use_pthreads() == 0);
    base = new_base();
    unix_pair(fd);
    watch_new(&from, "from", base, fd[0], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);
    watch_new(&to, "to", base, fd[1], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);
    from.quiet = to.quiet = to.drain = true;
    CHECK(bufferevent_enable(to.bev, EV_READ) == 0);
    struct writer writer = {from.bev, COUNT};
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_create(&thread[i], NULL, write_from_thread, &writer) == 0);
    run_until_bytes(base, &to.received, THREADS * COUNT * 10);
    for (int i = 0; i < THREADS; i++)
        CHECK(pthread_join(thread[i], NULL) == 0);
    say("got %zu", to.received);
    bufferevent_free(from.bev);
    bufferevent_free(to.bev);
    event_base_free(base);
}

static void *write_after_a_while(void *arg) {
    struct writer *writer = arg;
    struct timespec while_the_loop_waits = {0, 30 * 1000 * 1000};
    nanosleep(&while_the_loop_waits, NULL);
    CHECK(bufferevent_write(writer->bev, "wake up", 7) == 0);
    return NULL;
}

static void break_loop(struct end *end) {
    CHECK(event_base_loopbreak(bufferevent_get_base(end->bev)) == 0);
}

CASE(a_write_from_another_thread_wakes_the_loop) {
    struct event_base *base;
    struct end from, to;
    pthread_t thread;
    int fd[2];
    CHECK(evthread_use_pthreads() == 0);
    base = new_base();
    unix_pair(fd);
    watch_new(&from, "from", base, fd[0], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);
    watch_new(&to, "to", base, fd[1], BEV_OPT_CLOSE_ON_FREE | BEV_OPT_THREADSAFE);
    from.quiet = true;
    to.on_read = break_loop;
    CHECK(bufferevent_enable(to.bev, EV_READ) == 0);
    struct writer writer = {from.bev, 1};
    CHECK(pthread_create(&thread, NULL, write_after_a_while, &writer) == 0);
    step("loop");
    /* Without a timer: nothing else would end the wait. */
    CHECK(event_base_dispatch(base) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    bufferevent_free(from.bev);
    bufferevent_free(to.bev);
    event_base_free(base);
}

static void *free_from_thread(void *arg) {
    bufferevent_free(arg);
    return NULL;
}

CASE(freeing_from_another_thread) /* 60 */
{
    struct scene s;
    pthread_t thread;
    CHECK(evthread_use_pthreads() == 0);
    open_scene(&s, BEV_OPT_THREADSAFE);
    int fd = bufferevent_getfd(s.a.bev);
    CHECK(bufferevent_enable(s.a.bev, EV_READ) == 0);
    settle(s.base);
    CHECK(pthread_create(&thread, NULL, free_from_thread, s.a.bev) == 0);
    CHECK(pthread_join(thread, NULL) == 0);
    s.a.bev = NULL;
    send_letters(s.peer, 5);
    settle(s.base);
    say("callbacks %u, open %d", s.a.reads + s.a.events, fd_is_open(fd));
    close_scene(&s);
}
