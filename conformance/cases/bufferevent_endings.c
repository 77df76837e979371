/* The calls of our own header, event2/ferrevent.h: endings and pipes. libevent has nothing to compare
 * them with. */
#include <dlfcn.h>

#include "../../crates/capi/include/event2/ferrevent.h"
#include "bufferevent.h"

/* Found at run time: the program is linked to libevent. */
#define FIND(name) __typeof__(name) *name##_ = (__typeof__(name) *)dlsym(RTLD_DEFAULT, #name)

#define OURS "a function that libevent does not have"

static void take_until_end(struct scene *scene, size_t *got, bool *eof) {
    char data[16384];
    for (int i = 0; i < 2000 && !*eof; i++) {
        pass(scene->base);
        *got += recv_now(scene->peer, data, sizeof data, eof);
    }
}

CASE_DIFFERS(ending_after_everything_is_sent, "own", OURS) {
    struct scene s;
    size_t got = 0;
    bool eof = false;
    FIND(ferrevent_bufferevent_finish);
    open_scene(&s, 0);
    trace_merge(true);
    bufferevent_enable(s.a.bev, EV_READ);
    write_letters(s.a.bev, 1000000);
    step("finish");
    int first = ferrevent_bufferevent_finish_(s.a.bev, NULL);
    token("%d", first);
    token("%d", ferrevent_bufferevent_finish_(s.a.bev, NULL));
    take_until_end(&s, &got, &eof);
    settle(s.base);
    say("peer has %zu, the end %d, enabled %d", got, eof, bufferevent_get_enabled(s.a.bev));
    send_letters(s.peer, 5);
    step("reading goes on");
    settle(s.base);
    close_scene(&s);
}

static enum bufferevent_filter_result add_end(struct evbuffer *src, struct evbuffer *dst,
                                              ev_ssize_t limit, enum bufferevent_flush_mode mode,
                                              void *arg) {
    (void)limit;
    (void)arg;
    size_t length = evbuffer_get_length(src);
    evbuffer_remove_buffer(src, dst, length);
    if (mode == BEV_FINISHED)
        evbuffer_add(dst, "!", 1);
    return length > 0 && mode != BEV_FINISHED ? BEV_OK : BEV_NEED_MORE;
}

CASE_DIFFERS(freed_when_drained_through_a_filter, "own", OURS) {
    struct scene s;
    size_t got = 0;
    bool eof = false;
    FIND(ferrevent_bufferevent_free_when_drained);
    open_scene(&s, 0);
    int fd = bufferevent_getfd(s.a.bev);
    struct bufferevent *filter =
        bufferevent_filter_new(s.a.bev, NULL, add_end, BEV_OPT_CLOSE_ON_FREE, NULL, NULL);
    watch(&s.a, "", filter);
    s.a.quiet = true;
    write_letters(filter, 1000000);
    say("%d", ferrevent_bufferevent_free_when_drained_(filter, NULL));
    s.a.bev = NULL;
    take_until_end(&s, &got, &eof);
    settle(s.base);
    say("peer has %zu, the end %d, open %d", got, eof, fd_is_open(fd));
    close_scene(&s);
}

CASE_DIFFERS(freed_when_the_patience_ends, "own", OURS) {
    struct scene s;
    struct timeval soon = milliseconds(30);
    FIND(ferrevent_bufferevent_free_when_drained);
    open_scene(&s, 0);
    int fd = bufferevent_getfd(s.a.bev);
    write_letters(s.a.bev, 4000000);
    s.a.quiet = true;
    say("%d", ferrevent_bufferevent_free_when_drained_(s.a.bev, &soon));
    s.a.bev = NULL;
    say("loop %d", event_base_dispatch(s.base));
    say("open %d", fd_is_open(fd));
    close_scene(&s);
}

CASE_DIFFERS(pipe_between_two_sockets, "own", OURS) {
    struct scene s;
    struct end b;
    int fd[2];
    size_t sent = 0, got = 0, most = 0;
    bool eof = false;
    char data[4096];
    FIND(ferrevent_bufferevent_pipe);
    open_scene(&s, 0);
    unix_pair(fd);
    watch_new(&b, "b.", s.base, fd[0], BEV_OPT_CLOSE_ON_FREE);
    b.quiet = true;
    say("%d", ferrevent_bufferevent_pipe_(s.a.bev, b.bev, 32768));
    bufferevent_enable(s.a.bev, EV_READ);
    memset(data, 'x', sizeof data);
    for (int i = 0; i < 200000 && !eof; i++) {
        if (sent < 2000000) {
            ssize_t n = write(s.peer, data, sizeof data);
            sent += n > 0 ? (size_t)n : 0;
            if (sent >= 2000000)
                shutdown(s.peer, SHUT_WR);
        }
        pass(s.base);
        size_t held = in_length(s.a.bev) + out_length(b.bev);
        most = held > most ? held : most;
        if (i % 50 == 0 || sent >= 2000000)
            got += recv_now(fd[1], data, sizeof data, &eof);
    }
    say("all %d, the end %d, at most twice the limit %d", got == sent, eof, most < 65536);
    say("end of the pipe %d", ferrevent_bufferevent_pipe_(s.a.bev, NULL, 0));
    bufferevent_free(b.bev);
    close(fd[1]);
    close_scene(&s);
}
