/* The macros of event.h, event_compat.h and util.h, which are the same functions under other names, and queues that
 * programs make of their structs. */
#include "loop.h"

#include <event2/event_compat.h>
#include <event2/event_struct.h>
#include <sys/queue.h>

CASE(macros_of_timers) {
    struct event_base *base = new_base();
    struct event *made = evtimer_new(base, traced, "made"), assigned;
    struct timeval wait = ms(1), deadline;
    memset(&assigned, 0, sizeof assigned);
    say("initialized %d %d", evtimer_initialized(made) != 0, evtimer_initialized(&assigned) != 0);
    say("assign %d", evtimer_assign(&assigned, base, traced, "assigned"));
    say("initialized %d", evtimer_initialized(&assigned) != 0);
    say("events %x %x fd %d", event_get_events(made), event_get_events(&assigned),
        (int)event_get_fd(made));
    say("add %d", evtimer_add(made, &wait));
    say("pending %x", evtimer_pending(made, &deadline));
    step("loop");
    say("result %d", event_base_dispatch(base));
    say("add %d", evtimer_add(&assigned, &wait));
    say("del %d", evtimer_del(&assigned));
    say("pending %x", evtimer_pending(&assigned, NULL));
    event_free(made);
    event_base_free(base);
}

CASE(macros_of_signals) {
    struct event_base *base = new_base();
    struct event *made = evsignal_new(base, SIGUSR1, traced, "made"), assigned;
    memset(&assigned, 0, sizeof assigned);
    say("initialized %d %d", evsignal_initialized(made) != 0, evsignal_initialized(&assigned) != 0);
    say("assign %d", evsignal_assign(&assigned, base, SIGUSR2, traced, "assigned"));
    say("events %x %x", event_get_events(made), event_get_events(&assigned));
    say("signal %d %d", EVENT_SIGNAL(made) == SIGUSR1, event_get_signal(&assigned) == SIGUSR2);
    say("add %d %d", evsignal_add(made, NULL), evsignal_add(&assigned, NULL));
    say("pending %x %x", evsignal_pending(made, NULL), evsignal_pending(&assigned, NULL));
    raise(SIGUSR1);
    raise(SIGUSR2);
    step("first");
    pass(base);
    say("del %d", evsignal_del(&assigned));
    say("pending %x %x", evsignal_pending(made, NULL), evsignal_pending(&assigned, NULL));
    event_free(made);
    event_base_free(base);
}

CASE(macros_of_user_events) {
    struct event_base *base = new_base();
    struct event *made = evuser_new(base, traced, "made"), assigned;
    memset(&assigned, 0, sizeof assigned);
    say("initialized %d %d", evuser_initialized(made) != 0, evuser_initialized(&assigned) != 0);
    say("events %x fd %d", event_get_events(made), (int)event_get_fd(made));
    evuser_trigger(made);
    say("pending %x", evuser_pending(made, NULL));
    step("loop");
    say("result %d", event_base_dispatch(base));
    evuser_trigger(made);
    say("del %d", evuser_del(made));
    say("pending %x", evuser_pending(made, NULL));
    event_free(made);
    event_base_free(base);
}

CASE(macros_of_old_names) {
    struct event_base *base = event_init();
    struct event timer, signals, reader;
    struct timeval wait = ms(1), deadline;
    int fd[2];
    CHECK(base);
    unix_pair(fd);
    memset(&timer, 0, sizeof timer);
    memset(&signals, 0, sizeof signals);
    memset(&reader, 0, sizeof reader);
    say("initialized %d %d", timeout_initialized(&timer) != 0, signal_initialized(&signals) != 0);
    timeout_set(&timer, traced, "timer");
    evsignal_set(&signals, SIGUSR1, traced, "signal");
    event_set(&reader, fd[0], EV_READ | EV_PERSIST, traced_drain, "reader");
    say("initialized %d %d", timeout_initialized(&timer) != 0, signal_initialized(&signals) != 0);
    say("events %x %x", event_get_events(&timer), event_get_events(&signals));
    say("descriptor %d signal %d", EVENT_FD(&reader) == fd[0], EVENT_SIGNAL(&signals) == SIGUSR1);
    say("add %d %d", timeout_add(&timer, &wait), signal_add(&signals, NULL));
    say("pending %x %x", timeout_pending(&timer, &deadline), signal_pending(&signals, NULL));
    step("loop");
    event_loop(EVLOOP_ONCE);
    say("add %d", timeout_add(&timer, &wait));
    say("del %d %d", timeout_del(&timer), signal_del(&signals));
    say("pending %x %x", timeout_pending(&timer, NULL), signal_pending(&signals, NULL));
    event_base_free(base);
    close(fd[0]);
    close(fd[1]);
}

/* A program may have its events in queues of its own, and find its structs from them. */
struct item {
    TAILQ_ENTRY(item) next;
    struct event event;
};
TAILQ_HEAD(items, item);

static void finds_its_item(evutil_socket_t fd, short what, void *event) {
    (void)fd;
    struct item *item =
        (struct item *)(void *)((char *)event - evutil_offsetof(struct item, event));
    token("%x own=%d", (unsigned short)what, event_get_callback_arg(&item->event) == event);
}

CASE(macros_of_queues) {
    struct event_base *base = new_base();
    struct items items = TAILQ_HEAD_INITIALIZER(items);
    struct item some[3], *item;
    for (int i = 0; i < 3; i++) {
        CHECK(event_assign(&some[i].event, base, -1, 0, finds_its_item, &some[i].event) == 0);
        TAILQ_INSERT_TAIL(&items, &some[i], next);
    }
    TAILQ_FOREACH(item, &items, next) event_active(&item->event, EV_READ, 1);
    step("loop");
    event_base_dispatch(base);
    event_base_free(base);
}
