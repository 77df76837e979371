/* Events and the memory that they are in: whose it is, and what becomes of it. */
#include <event2/event.h>

#include <event2/event_compat.h>
#include <event2/event_struct.h>
#include <pthread.h>

#include "loop.h"

static void counted(evutil_socket_t fd, short what, void *count) {
    (void)fd;
    (void)what;
    ++*(unsigned *)count;
}

/* More than a block of the library's, freed in an order of their own, and made again. */
CASE(event_memory_of_many) {
    enum { MANY = 500 };
    struct event_base *base = new_base();
    struct event *events[MANY];
    unsigned called = 0, again = 0;
    for (int i = 0; i < MANY; i++)
        events[i] = new_event(base, -1, 0, counted, &called);
    for (int i = 0; i < MANY; i++)
        CHECK(add_ms(events[i], i % 7) == 0);
    for (int i = 0; i < MANY; i += 3)
        event_free(events[i]);
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_base_dispatch(base);
    say("called %u", called);
    for (int i = 0; i < MANY; i += 3)
        events[i] = new_event(base, -1, EV_PERSIST, counted, &again);
    for (int i = 0; i < MANY; i++)
        event_active(events[i], EV_READ, 1);
    event_base_loop(base, EVLOOP_NONBLOCK);
    say("called %u, the new ones %u", called, again);
    for (int i = 0; i < MANY; i++)
        event_free(events[i * 7 % MANY]);
    say("left %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_base_free(base);
}

struct self {
    struct event *event, *other;
    int left;
};

static void frees_and_makes(evutil_socket_t fd, short what, void *arg) {
    struct self *self = arg;
    struct event_base *base = event_get_base(self->event);
    (void)fd;
    token("called:%x", (unsigned short)what);
    event_free(self->event);
    if (self->other)
        event_free(self->other);
    self->other = NULL;
    if (self->left-- == 0)
        return;
    self->event = new_event(base, -1, 0, frees_and_makes, self);
    self->other = new_event(base, -1, 0, traced, "never");
    event_active(self->other, EV_READ, 1);
    CHECK(add_ms(self->event, 0) == 0);
    event_active(self->event, EV_WRITE, 1);
    event_del(self->other);
}

/* A callback frees its own event, and another one, and makes two in their place. */
CASE(event_memory_changes_hands_in_a_callback) {
    struct event_base *base = new_base();
    struct self self = {NULL, NULL, 5};
    self.event = new_event(base, -1, EV_PERSIST, frees_and_makes, &self);
    event_active(self.event, EV_READ, 1);
    step("loop");
    event_base_dispatch(base);
    say("left %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_base_free(base);
}

/* An event moves to another base, where it works, and is freed before or after the base that it was made with. */
CASE(event_memory_moved_to_another_base) {
    struct event_base *first = new_base(), *second = new_base();
    struct event *early = new_event(first, -1, 0, traced, "early");
    struct event *late = new_event(first, -1, 0, traced, "late");
    struct event *stays = new_event(first, -1, 0, traced, "stays");
    CHECK(event_base_set(second, early) == 0 && event_base_set(second, late) == 0);
    CHECK(add_ms(early, 1) == 0 && add_ms(late, 2) == 0 && add_ms(stays, 1) == 0);
    step("the second");
    event_base_dispatch(second);
    CHECK(add_ms(early, 1) == 0);
    event_free(early);
    step("the first");
    event_base_dispatch(first);
    event_free(stays);
    event_base_free(first);
    CHECK(add_ms(late, 1) == 0);
    struct event *more = new_event(second, -1, 0, traced, "more");
    CHECK(add_ms(more, 2) == 0);
    step("the second");
    event_base_dispatch(second);
    CHECK(event_base_set(second, late) == 0 && add_ms(late, 1) == 0);
    event_free(late);
    step("nothing");
    event_base_dispatch(second);
    event_free(more);
    event_base_free(second);
}

/* An event of event_new is set up anew by event_assign, or by event_set; it is freed all the same. */
CASE(event_memory_assigned_anew) {
    struct event_base *base = new_base(), *other = new_base();
    struct event *events[4];
    for (int i = 0; i < 4; i++)
        events[i] = new_event(base, -1, 0, traced, "old");
    CHECK(add_ms(events[0], 1) == 0 && event_del(events[0]) == 0);
    CHECK(event_assign(events[0], base, -1, 0, traced, "assigned") == 0);
    CHECK(event_assign(events[1], other, -1, 0, traced, "elsewhere") == 0);
    event_set(events[2], -1, 0, traced, "set");
    CHECK(event_base_set(base, events[2]) == 0);
    for (int i = 0; i < 4; i++)
        CHECK(add_ms(events[i], i + 1) == 0);
    step("base");
    event_base_dispatch(base);
    event_free(events[0]);
    step("elsewhere");
    event_base_dispatch(other);
    for (int i = 1; i < 4; i++)
        event_free(events[i]);
    struct event *next = new_event(base, -1, 0, traced, "next");
    CHECK(add_ms(next, 1) == 0);
    step("base");
    event_base_dispatch(base);
    event_free(next);
    event_base_free(base);
    event_base_free(other);
}

/* Idle events may be copied, to and from memory of the program's, and into each other. */
CASE(event_memory_copied) {
    struct event_base *base = new_base();
    struct event *one = new_event(base, -1, 0, traced, "one");
    struct event *two = new_event(base, -1, 0, traced, "two");
    struct event copy = *one;
    CHECK(add_ms(&copy, 1) == 0 && add_ms(one, 2) == 0 && add_ms(two, 3) == 0);
    step("a copy");
    event_base_dispatch(base);
    *two = *one;
    CHECK(add_ms(two, 2) == 0 && add_ms(one, 1) == 0);
    step("one over the other");
    event_base_dispatch(base);
    struct event other;
    CHECK(event_assign(&other, base, -1, 0, traced, "other") == 0);
    *one = other;
    CHECK(add_ms(one, 1) == 0 && add_ms(&other, 2) == 0);
    step("another");
    event_base_dispatch(base);
    event_free(one);
    event_free(two);
    event_base_free(base);
}

/* What is idle may be written over, with anything, before it is assigned anew: here with copies of what is not. */
CASE(event_memory_written_over) {
    struct event_base *base = new_base(), *other = new_base();
    int fd[2];
    unix_pair(fd);
    struct event *timed = new_event(base, -1, EV_PERSIST, traced, "timed");
    struct event *reads = new_event(base, fd[0], EV_READ, traced_drain, "reads");
    struct event *active = new_event(base, -1, 0, traced, "active");
    struct event *events[8];
    for (int i = 0; i < 8; i++)
        events[i] = new_event(i < 5 ? base : other, -1, 0, traced, "old");
    CHECK(add_ms(timed, 100000) == 0 && event_add(reads, NULL) == 0);
    event_active(active, EV_WRITE, 1);
    *events[0] = *events[5] = *timed;
    *events[1] = *events[6] = *reads;
    *events[2] = *events[7] = *active;
    memset(events[3], 0xff, sizeof **events);
    memset(events[4], 0x5b, sizeof **events);
    for (int i = 0; i < 8; i++)
        CHECK(event_assign(events[i], i < 5 ? base : other, -1, 0, traced, i < 5 ? "one" : "two") == 0);
    say("%x %x %x", (unsigned)pending(timed), (unsigned)pending(reads), (unsigned)pending(active));
    for (int i = 0; i < 8; i++) {
        say("%x", (unsigned)pending(events[i]));
        CHECK(add_ms(events[i], i < 4 ? 1 : 2) == 0);
    }
    say("added %d %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED),
        event_base_get_num_events(other, EVENT_BASE_COUNT_ADDED));
    step("other");
    event_base_dispatch(other);
    send_all(fd[1], "x", 1);
    step("base");
    while (pending(events[4]))
        event_base_loop(base, EVLOOP_ONCE);
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    for (int i = 0; i < 8; i++)
        event_free(events[i]);
    event_free(timed);
    step("nothing");
    event_base_dispatch(base);
    event_free(reads);
    event_free(active);
    event_base_free(base);
    event_base_free(other);
    close(fd[0]);
    close(fd[1]);
}

/* Each of several bases has its own events; they are freed in any order, and new bases take their places. */
CASE(event_memory_of_several_bases) {
    unsigned called = 0;
    struct event *old[20];
    for (int round = 0; round < 20; round++) {
        struct event_base *a = new_base(), *b = new_base();
        struct event *ea = new_event(a, -1, 0, counted, &called);
        struct event *eb = new_event(b, -1, 0, counted, &called);
        old[round] = new_event(a, -1, 0, counted, &called);
        CHECK(add_ms(ea, 0) == 0 && add_ms(eb, 0) == 0);
        event_base_dispatch(a);
        event_free(ea);
        event_base_set(b, old[round]);
        event_base_free(a);
        event_base_dispatch(b);
        event_free(eb);
        if (round % 2 == 0) {
            CHECK(add_ms(old[round], 0) == 0);
            event_base_dispatch(b);
            event_free(old[round]);
        } else {
            event_free(old[round]);
        }
        event_base_free(b);
    }
    say("called %u", called);
}

static void logged(int severity, const char *text) {
    (void)severity;
    say("log: %s", text);
}

/* The memory of what event_new has made stays an event's, so that using a freed one is noticed. */
CASE_DIFFERS(event_memory_used_after_event_free, "memory safety",
             "libevent corrupts its memory; ferrevent refuses, with a line in the log") {
    struct event_base *base = new_base();
    struct event *freed = new_event(base, -1, 0, traced, "freed");
    struct event *other = new_event(base, -1, 0, traced, "other");
    CHECK(add_ms(freed, 1) == 0 && add_ms(other, 1) == 0);
    event_free(freed);
    event_set_log_callback(logged);
    say("initialized %d pending %d", event_initialized(freed), pending(freed));
    event_free(freed);
    say("add %d del %d", add_ms(freed, 1), event_del(freed));
    event_active(freed, EV_READ, 1);
    say("base set %d priority %d", event_base_set(base, freed), event_priority_set(freed, 0));
    say("remove timer %d finalize %d", event_remove_timer(freed), event_finalize(0, freed, NULL));
    event_set_log_callback(NULL);
    step("the other");
    event_base_dispatch(base);
    event_free(other);
    event_base_free(base);
}

/* The same when their base went first. */
CASE_DIFFERS(event_memory_freed_twice_after_its_base, "memory safety",
             "libevent corrupts its memory; ferrevent refuses, with a line in the log") {
    struct event_base *base = new_base();
    struct event *freed = new_event(base, -1, 0, traced, "freed");
    struct event *kept = new_event(base, -1, 0, traced, "kept");
    CHECK(add_ms(kept, 1) == 0);
    event_base_free(base);
    event_free(freed);
    event_set_log_callback(logged);
    event_free(freed);
    event_set_log_callback(NULL);
    say("kept %d", pending(kept));
    event_free(kept);
}

/* Initialised anew while it is pending, and freed: the base knows it no longer. */
CASE_DIFFERS(event_memory_assigned_while_pending, "memory safety",
             "libevent's lists go through what is no event any more") {
    struct event_base *base = new_base();
    event_set_log_callback(no_log);
    struct event *lost = new_event(base, -1, 0, traced, "lost");
    struct event *fine = new_event(base, -1, 0, traced, "fine");
    CHECK(add_ms(lost, 1) == 0 && add_ms(fine, 1) == 0);
    CHECK(event_assign(lost, base, -1, 0, traced, "anew") == 0);
    CHECK(add_ms(lost, 2) == 0);
    step("loop");
    event_base_dispatch(base);
    CHECK(add_ms(lost, 1) == 0 && add_ms(fine, 2) == 0);
    CHECK(event_assign(lost, base, -1, 0, traced, "again") == 0);
    event_free(lost);
    struct event *next = new_event(base, -1, 0, traced, "next");
    CHECK(add_ms(next, 3) == 0);
    step("loop");
    event_base_dispatch(base);
    event_free(fine);
    event_free(next);
    say("left %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_base_free(base);
}

/* A copy of what is pending is used as if it were pending too. */
CASE_DIFFERS(event_memory_copied_while_pending, "memory safety",
             "libevent's lists go through the copy; in ferrevent it is idle") {
    struct event_base *base = new_base();
    struct event *timed = new_event(base, -1, 0, traced, "timed");
    struct event *one = new_event(base, -1, 0, traced, "one");
    struct event *two = new_event(base, -1, 0, traced, "two");
    CHECK(add_ms(timed, 1) == 0);
    *one = *two = *timed;
    say("pending %d", pending(one));
    say("del %d", event_del(one));
    say("added %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_free(one);
    CHECK(add_ms(two, 2) == 0);
    step("loop");
    event_base_dispatch(base);
    event_free(two);
    struct event *next = new_event(base, -1, 0, traced, "next");
    struct event *last = new_event(base, -1, 0, traced, "last");
    CHECK(add_ms(next, 1) == 0 && add_ms(last, 2) == 0);
    step("loop");
    event_base_dispatch(base);
    event_free(next);
    event_free(last);
    event_free(timed);
    say("left %d", event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED));
    event_base_free(base);
}

/* ---- Threads ---- */

enum { EACH = 200, THREADS = 4 };

struct worker {
    struct event_base *base;
    struct event *events[EACH];
    unsigned called;
};

static void *makes(void *arg) {
    struct worker *worker = arg;
    for (int i = 0; i < EACH; i++) {
        worker->events[i] = new_event(worker->base, -1, 0, counted, &worker->called);
        if (i % 5 == 0) {
            event_free(worker->events[i]);
            worker->events[i] = new_event(worker->base, -1, 0, counted, &worker->called);
        }
    }
    return NULL;
}

static void *frees(void *arg) {
    struct worker *worker = arg;
    for (int i = 0; i < EACH; i++)
        event_free(worker->events[i]);
    return NULL;
}

/* Threads make events of one base at once, and free those of one another, before and after the base goes. */
CASE(event_memory_in_threads) {
    CHECK(evthread_use_pthreads() == 0);
    for (int base_first = 0; base_first < 2; base_first++) {
        struct event_base *base = new_base();
        struct worker workers[THREADS] = {{0}};
        pthread_t threads[THREADS];
        unsigned called = 0;
        for (int i = 0; i < THREADS; i++) {
            workers[i].base = base;
            CHECK(pthread_create(&threads[i], NULL, makes, &workers[i]) == 0);
        }
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        for (int i = 0; i < THREADS * EACH; i++)
            CHECK(add_ms(workers[i / EACH].events[i % EACH], 0) == 0);
        event_base_dispatch(base);
        for (int i = 0; i < THREADS; i++)
            called += workers[i].called;
        say("called %u", called);
        if (base_first)
            event_base_free(base);
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_create(&threads[i], NULL, frees, &workers[(i + 1) % THREADS]) == 0);
        for (int i = 0; i < THREADS; i++)
            CHECK(pthread_join(threads[i], NULL) == 0);
        if (!base_first)
            event_base_free(base);
    }
    say("all are freed");
}

static int entered[2], go[2];

static void lingers(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    (void)what;
    (void)arg;
    send_all(entered[1], "x", 1);
    await_readable(go[0]);
}

static void *dispatches(void *base) {
    CHECK(event_base_dispatch(base) >= 0);
    return NULL;
}

/*
 * Without locks, while the loop runs: idle events may be made and freed in other threads, which in libevent touches
 * nothing of the base.
 */
CASE(event_memory_in_threads_without_locks) {
    struct event_base *base = new_base();
    struct worker before = {.base = base}, during = {.base = base};
    pthread_t thread;
    unix_pair(entered);
    unix_pair(go);
    makes(&before);
    struct event *first = new_event(base, -1, 0, lingers, NULL);
    event_active(first, EV_READ, 1);
    CHECK(pthread_create(&thread, NULL, dispatches, base) == 0);
    await_readable(entered[0]);
    makes(&during);
    frees(&before);
    send_all(go[1], "x", 1);
    CHECK(pthread_join(thread, NULL) == 0);
    makes(&before);
    for (int i = 0; i < EACH; i++)
        CHECK(add_ms(before.events[i], 0) == 0 && add_ms(during.events[i], 0) == 0);
    event_base_dispatch(base);
    say("called %u %u", before.called, during.called);
    frees(&before);
    event_free(first);
    event_base_free(base);
    frees(&during);
    for (int i = 0; i < 2; i++) {
        close(entered[i]);
        close(go[i]);
    }
}

static void added_share(struct event_base *base, int count) {
    int added = event_base_get_num_events(base, EVENT_BASE_COUNT_ADDED);
    say("%d per mille added", (int)(added * 1000LL / count));
}

/* So many that the library may keep them elsewhere: timers that are added, moved, deleted and freed in various orders, and some
 * that outlive their base. */
CASE(event_memory_of_very_many) {
    const int count = under_valgrind() ? 70000 : 200000;
    struct event_base *base = new_base();
    struct event **events = calloc(count, sizeof *events);
    CHECK(events);
    for (int round = 0; round < 2; round++) {
        for (int i = 0; i < count; i++)
            events[i] = new_event(base, -1, 0, traced, "timer");
        for (int i = 0; i < count; i++)
            CHECK(add_ms(events[i], 100000 + i % 977) == 0);
        for (int i = 0; i < count; i++)
            CHECK(add_ms(events[(i * 7919LL) % count], 50000 + i % 991) == 0);
        for (int i = 0; i < count; i += 3)
            CHECK(event_del(events[(i * 7919LL) % count]) == 0);
        added_share(base, count);
        CHECK(add_ms(events[count / 2], 0) == 0);
        step("loop");
        event_base_loop(base, EVLOOP_ONCE);
        for (int i = 0; i < count; i++)
            if (i % 1000 != round)
                event_free(events[i]);
        added_share(base, count);
        if (round == 0)
            for (int i = 0; i < count; i += 1000)
                event_free(events[i]);
    }
    event_base_free(base);
    for (int i = 1; i < count; i += 1000)
        event_free(events[i]);
    free(events);
}
