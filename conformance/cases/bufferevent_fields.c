/* The public fields of struct bufferevent, which programs read and write. */
#include "bufferevent.h"

#include <event2/bufferevent_struct.h>

CASE(fields_show_the_buffers_and_the_state) {
    struct scene s;
    open_scene(&s, 0);
    struct bufferevent *bev = s.a.bev;
    say("buffers %d %d", bev->input == bufferevent_get_input(bev),
        bev->output == bufferevent_get_output(bev));
    say("callbacks %d %d %d, argument %d", bev->readcb == on_read, bev->writecb == on_write,
        bev->errorcb == on_event, bev->cbarg == &s.a);
    say("enabled %d", bev->enabled);
    CHECK(bufferevent_enable(bev, EV_READ) == 0);
    say("enabled %d", bev->enabled);
    CHECK(bufferevent_disable(bev, EV_WRITE) == 0);
    say("enabled %d", bev->enabled);
    bufferevent_setwatermark(bev, EV_READ, 1, 2);
    bufferevent_setwatermark(bev, EV_WRITE, 3, 4);
    say("marks %zu %zu %zu %zu", bev->wm_read.low, bev->wm_read.high, bev->wm_write.low,
        bev->wm_write.high);
    struct timeval read = {1, 2}, write = {3, 4};
    CHECK(bufferevent_set_timeouts(bev, &read, &write) == 0);
    say("timeouts %ld.%06ld %ld.%06ld", (long)bev->timeout_read.tv_sec,
        (long)bev->timeout_read.tv_usec, (long)bev->timeout_write.tv_sec,
        (long)bev->timeout_write.tv_usec);
    CHECK(bufferevent_set_timeouts(bev, NULL, NULL) == 0);
    say("timeouts %ld.%06ld %ld.%06ld", (long)bev->timeout_read.tv_sec,
        (long)bev->timeout_read.tv_usec, (long)bev->timeout_write.tv_sec,
        (long)bev->timeout_write.tv_usec);
    close_scene(&s);
}

CASE(fields_hold_the_descriptor_and_the_base) {
    struct scene s;
    open_scene(&s, 0);
    struct bufferevent *bev = s.a.bev;
    say("base %d", bev->ev_base == s.base);
    say("events' descriptors %d %d", event_get_fd(&bev->ev_read) == bufferevent_getfd(bev),
        event_get_fd(&bev->ev_write) == bufferevent_getfd(bev));
    int fd = bufferevent_getfd(bev);
    CHECK(bufferevent_setfd(bev, -1) == 0);
    say("without one %d %d", (int)event_get_fd(&bev->ev_read), (int)event_get_fd(&bev->ev_write));
    CHECK(bufferevent_setfd(bev, fd) == 0);
    say("again %d %d", event_get_fd(&bev->ev_read) == fd, event_get_fd(&bev->ev_write) == fd);
    close_scene(&s);
}

static void other_read(struct bufferevent *bev, void *arg) {
    (void)arg;
    token("other%zu", in_length(bev));
}

static void other_write(struct bufferevent *bev, void *arg) {
    (void)arg;
    token("other-write%zu", out_length(bev));
}

CASE(callbacks_are_taken_from_the_fields_when_they_run) {
    struct scene s;
    open_scene(&s, 0);
    struct bufferevent *bev = s.a.bev;
    CHECK(bufferevent_enable(bev, EV_READ) == 0);
    send_letters(s.peer, 3);
    step("set by the function");
    settle(s.base);
    bev->readcb = other_read;
    bev->writecb = other_write;
    send_letters(s.peer, 3);
    write_letters(bev, 5);
    step("set in the field");
    settle(s.base);
    bev->readcb = NULL;
    bev->writecb = NULL;
    send_letters(s.peer, 3);
    write_letters(bev, 5);
    step("cleared in the field");
    settle(s.base);
    say("input %zu, output %zu", in_length(bev), out_length(bev));
    close_scene(&s);
}
