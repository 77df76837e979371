/* Taking out what is about to run: what is left keeps its turn, and can still be taken out itself. */
#include "loop.h"

#include <event2/bufferevent.h>

enum { GONE = 20, LAST = 30 };

static struct event *first, *gone[GONE], *last[LAST];
static struct bufferevent *between;

static void delete_most(evutil_socket_t fd, short what, void *name) {
    traced(fd, what, name);
    for (int i = 0; i < GONE; i++)
        CHECK(event_del(gone[i]) == 0);
    for (int i = 0; i < LAST; i++)
        event_active(last[i], EV_WRITE, 1);
    bufferevent_disable(between, EV_READ);
    event_del(last[3]);
    event_del(last[11]);
}

static void read_between(struct bufferevent *bev, void *name) {
    token("%s:%zu", (const char *)name, evbuffer_get_length(bufferevent_get_input(bev)));
}

/* Events in front of a bufferevent that is ready, and behind it: most are taken out, then the bufferevent, then others. */
CASE(gaps_in_what_is_about_to_run) {
    struct event_base *base = new_base();
    int data[2];
    static char names[LAST][8];
    unix_pair(data);
    struct event *deleter = new_event(base, -1, 0, delete_most, "deleter");
    first = new_event(base, -1, 0, traced, "first");
    for (int i = 0; i < GONE; i++)
        gone[i] = new_event(base, -1, 0, traced, "gone");
    for (int i = 0; i < LAST; i++) {
        snprintf(names[i], sizeof names[i], "last%d", i);
        last[i] = new_event(base, -1, 0, traced, names[i]);
    }
    between = bufferevent_socket_new(base, data[0], 0);
    CHECK(between);
    bufferevent_setcb(between, read_between, NULL, NULL, "between");
    CHECK(bufferevent_enable(between, EV_READ) == 0);
    for (int round = 0; round < 3; round++) {
        event_active(deleter, EV_WRITE, 1);
        event_active(first, EV_WRITE, 1);
        for (int i = 0; i < GONE; i++)
            event_active(gone[i], EV_WRITE, 1);
        send_all(data[1], "x", 1);
        step("round");
        settle(base);
        CHECK(bufferevent_enable(between, EV_READ) == 0);
        step("enabled");
        settle(base);
    }
    for (int i = 0; i < GONE; i++)
        event_free(gone[i]);
    for (int i = 0; i < LAST; i++)
        event_free(last[i]);
    event_free(first);
    event_free(deleter);
    bufferevent_free(between);
    event_base_free(base);
    close(data[0]);
    close(data[1]);
}

static void demote_and_disable(evutil_socket_t fd, short what, void *name) {
    traced(fd, what, name);
    event_active(last[0], EV_WRITE, 1);
    bufferevent_priority_set(between, 2); /* refused by libevent, as it is about to run */
    bufferevent_disable(between, EV_READ);
}

/* It is taken out of the queue that it stands in, and nothing else is. */
CASE(gaps_of_a_bufferevent_that_changes_its_priority) {
    struct event_base *base = new_base();
    int data[2];
    unix_pair(data);
    CHECK(event_base_priority_init(base, 3) == 0);
    struct event *demoter = new_event(base, -1, 0, demote_and_disable, "demoter");
    last[0] = new_event(base, -1, 0, traced, "low");
    CHECK(event_priority_set(last[0], 2) == 0);
    between = bufferevent_socket_new(base, data[0], 0);
    CHECK(between);
    bufferevent_setcb(between, read_between, NULL, NULL, "between");
    CHECK(bufferevent_enable(between, EV_READ) == 0);
    send_all(data[1], "x", 1);
    event_active(demoter, EV_WRITE, 1);
    step("disabled");
    settle(base);
    CHECK(bufferevent_enable(between, EV_READ) == 0);
    step("enabled");
    settle(base);
    event_free(demoter);
    event_free(last[0]);
    bufferevent_free(between);
    event_base_free(base);
    close(data[0]);
    close(data[1]);
}

/* One waits at the front and is not run, while others come and go behind it. */
CASE(gaps_behind_one_that_waits) {
    struct event_base *base = new_base();
    struct event *others[2];
    first = new_event(base, -1, 0, traced, "first");
    others[0] = new_event(base, -1, 0, traced, "even");
    others[1] = new_event(base, -1, 0, traced, "odd");
    event_active(first, EV_WRITE, 1);
    event_active(others[0], EV_WRITE, 1);
    for (int i = 1; i < 10000; i++) {
        event_active(others[i % 2], EV_WRITE, 1);
        CHECK(event_del(others[(i + 1) % 2]) == 0);
    }
    say("active %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ACTIVE));
    step("loop");
    settle(base);
    event_free(first);
    event_free(others[0]);
    event_free(others[1]);
    event_base_free(base);
}
