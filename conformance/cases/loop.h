/* What the cases of the event loop, of signals and of timers share. */
#ifndef LOOP_H
#define LOOP_H

#include "case.h"

/* A callback that traces its name (its argument) and, in hexadecimal, why it was called. */
static inline void traced(evutil_socket_t fd, short what, void *name) {
    (void)fd;
    token("%s:%x", (const char *)name, (unsigned short)what);
}

/* The same for a readable descriptor; takes the bytes, so that it is readable no longer. */
static inline void traced_drain(evutil_socket_t fd, short what, void *name) {
    char data[256];
    traced(fd, what, name);
    if (what & EV_READ)
        recv_now(fd, data, sizeof data, NULL);
}

/* A new event; never NULL. */
static inline struct event *new_event(struct event_base *base, int fd, short events,
                                      event_callback_fn callback, void *arg) {
    struct event *event = event_new(base, fd, events, callback, arg);
    CHECK(event);
    return event;
}

/* Everything that event_pending can report. */
static inline int pending(const struct event *event) {
    return event_pending(
        event, EV_TIMEOUT | EV_READ | EV_WRITE | EV_SIGNAL | EV_PERSIST | EV_ET | EV_CLOSED, NULL);
}

static inline struct timeval ms(int count) {
    return (struct timeval){count / 1000, count % 1000 * 1000};
}

static inline int add_ms(struct event *event, int count) {
    struct timeval wait = ms(count);
    return event_add(event, &wait);
}

/* Libevent's log is not compared: the cases that provoke it keep it quiet. */
static inline void no_log(int severity, const char *text) {
    (void)severity;
    (void)text;
}

#endif
