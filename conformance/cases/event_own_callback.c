/* What an event does to itself in its own callback: each three of these in a row. */
#include "loop.h"

enum { DEL, ADD, ACTIVATE, ADD_TIMED, REMOVE_TIMER, OPERATIONS };

static const char *const operations[] = {"del", "add", "active", "add timed", "remove timer"};

/* The kinds of event, and what event_active says of each that it does not wait for. */
struct kind {
    const char *name;
    short what, activated;
    bool timed; /* added with a timeout */
};

static const struct kind kinds[] = {
    {"signal", EV_SIGNAL | EV_PERSIST, EV_READ, false},
    {"signal once", EV_SIGNAL, EV_READ, false},
    {"timer", 0, EV_SIGNAL, true},
    {"persistent timer", EV_PERSIST, EV_SIGNAL, true},
    {"descriptor once", EV_READ, EV_WRITE, false},
    {"descriptor", EV_READ | EV_PERSIST, EV_WRITE, false},
    {"descriptor once, timed", EV_READ, EV_WRITE, true},
    {"descriptor, timed", EV_READ | EV_PERSIST, EV_WRITE, true},
};

struct walk {
    const struct kind *kind;
    int sequence[3];
    unsigned at;     /* in which call */
    unsigned series; /* how many calls come in one go */
    unsigned calls;
    struct event *event;
    int descriptors[2];
};

static bool is_signal(const struct walk *walk) {
    return walk->kind->what & EV_SIGNAL;
}

static void operate(struct walk *walk, int operation) {
    const struct timeval far = {100, 0};
    if (operation == DEL)
        CHECK(event_del(walk->event) == 0);
    if (operation == ADD)
        CHECK(event_add(walk->event, NULL) == 0);
    if (operation == ACTIVATE)
        event_active(walk->event, walk->kind->activated, 1);
    if (operation == ADD_TIMED)
        CHECK(event_add(walk->event, &far) == 0);
    if (operation == REMOVE_TIMER)
        CHECK(event_remove_timer(walk->event) == 0);
}

static void walks(evutil_socket_t fd, short what, void *arg) {
    struct walk *walk = arg;
    char data[8];
    token("(%x %x", (unsigned)what, (unsigned)pending(walk->event));
    if (!is_signal(walk) && fd >= 0)
        recv_now(fd, data, sizeof data, NULL);
    if (++walk->calls == walk->at)
        for (int i = 0; i < 3; i++) {
            operate(walk, walk->sequence[i]);
            token("%x", (unsigned)pending(walk->event));
        }
    token("%x)", (unsigned)pending(walk->event));
    if (walk->calls == 8)
        CHECK(event_del(walk->event) == 0);
}

/* Whether ferrevent decides otherwise than libevent about what comes of this, in one of these:
 * - event_add of an event that is active and not added;
 * - a persistent event that was deleted gets its timeout back;
 * - event_remove_timer of a signal event that is active, or has calls to come;
 * - event_active between the calls of a series.
 * Then it is not walked. Cases of their own show these. */
static bool is_decided(const struct walk *walk) {
    bool persists = walk->kind->what & EV_PERSIST;
    bool interval = persists && !is_signal(walk) && walk->kind->timed;
    bool added = persists, timed = persists && walk->kind->timed, active = false, lost = false;
    bool calls_to_come = is_signal(walk) && walk->series > walk->at;
    if (!is_signal(walk) && !(walk->kind->what & EV_READ))
        added = false;
    for (int i = 0; i < 3; i++) {
        int operation = walk->sequence[i];
        if ((operation == ADD || operation == ADD_TIMED) && active && !added && !timed)
            return true;
        if (operation == REMOVE_TIMER && is_signal(walk) && timed && (active || calls_to_come))
            return true;
        if (operation == ACTIVATE && (lost || calls_to_come))
            return true;
        if (operation == DEL) {
            lost = interval;
            added = timed = active = calls_to_come = false;
        }
        if (operation == ADD)
            added = walk->kind->what & (EV_READ | EV_SIGNAL);
        if (operation == ACTIVATE)
            active = true;
        if (operation == ADD_TIMED) {
            added = walk->kind->what & (EV_READ | EV_SIGNAL);
            timed = true;
            interval = persists && !is_signal(walk);
            lost = false;
        }
        if (operation == REMOVE_TIMER)
            timed = false;
    }
    return false;
}

static void walk_one(struct walk *walk) {
    const struct timeval now = {0, 0}, far = {50, 0};
    const struct kind *kind = walk->kind;
    struct event_base *base = new_base();
    bool timer = !(kind->what & (EV_SIGNAL | EV_READ));
    unix_pair(walk->descriptors);
    evutil_socket_t fd = is_signal(walk) ? SIGUSR1 : timer ? -1 : walk->descriptors[0];
    walk->event = new_event(base, fd, kind->what, walks, walk);
    walk->calls = 0;
    CHECK(event_add(walk->event, timer ? &now : kind->timed ? &far : NULL) == 0);
    say("%s: %s, %s, %s", kind->name, operations[walk->sequence[0]], operations[walk->sequence[1]],
        operations[walk->sequence[2]]);
    step("calls");
    if (walk->series > 1)
        event_active(walk->event, kind->what & (EV_SIGNAL | EV_READ), (short)walk->series);
    else if (is_signal(walk))
        raise(SIGUSR1);
    else if (!timer)
        CHECK(write(walk->descriptors[1], "x", 1) == 1);
    settle(base);
    say("%u, then %x", walk->calls, (unsigned)pending(walk->event));
    event_free(walk->event);
    event_base_free(base);
    for (int i = 0; i < 2; i++)
        CHECK(close(walk->descriptors[i]) == 0);
}

/* All sequences in the call `at` of `series`. */
static void walk_all(const struct kind *kind, unsigned at, unsigned series) {
    for (int code = 0; code < OPERATIONS * OPERATIONS * OPERATIONS; code++) {
        struct walk walk = {.kind = kind, .at = at, .series = series};
        walk.sequence[0] = code / OPERATIONS / OPERATIONS;
        walk.sequence[1] = code / OPERATIONS % OPERATIONS;
        walk.sequence[2] = code % OPERATIONS;
        if (!is_decided(&walk))
            walk_one(&walk);
    }
}

CASE(event_changes_itself_in_its_callback) {
    for (size_t i = 0; i < sizeof kinds / sizeof *kinds; i++)
        walk_all(&kinds[i], 1, 1);
}

CASE(signal_event_changes_itself_between_its_calls) {
    for (unsigned at = 1; at <= 3; at++)
        for (int i = 0; i < 2; i++)
            walk_all(&kinds[i], at, 3);
}

CASE(descriptor_event_changes_itself_once_activated) {
    for (size_t i = 4; i < sizeof kinds / sizeof *kinds; i++)
        walk_all(&kinds[i], 1, 3);
}

static void walk_these(const int (*sequences)[3], size_t count, unsigned at, unsigned series) {
    for (size_t i = 0; i < count; i++) {
        struct walk walk = {.kind = &kinds[0], .at = at, .series = series};
        memcpy(walk.sequence, sequences[i], sizeof walk.sequence);
        walk_one(&walk);
    }
}

CASE_DIFFERS(signal_event_activated_between_its_calls, "K",
             "event_active between a signal's calls is another call, and event_del ends them after it too") {
    static const int sequences[][3] = {{REMOVE_TIMER, REMOVE_TIMER, ACTIVATE},
                                       {ACTIVATE, ACTIVATE, ADD},
                                       {REMOVE_TIMER, ACTIVATE, DEL},
                                       {ACTIVATE, DEL, ADD},
                                       {ACTIVATE, DEL, ACTIVATE}};
    for (unsigned at = 1; at <= 2; at++)
        walk_these(sequences, sizeof sequences / sizeof *sequences, at, 3);
}

CASE_DIFFERS(signal_event_whose_timer_is_removed_while_it_is_active, "K",
             "event_remove_timer of a signal event takes the timeout away, and changes nothing about its calls") {
    static const int sequences[][3] = {{ADD_TIMED, ACTIVATE, REMOVE_TIMER}, {ACTIVATE, ADD_TIMED, REMOVE_TIMER}};
    static const int between[][3] = {{ADD_TIMED, REMOVE_TIMER, DEL}};
    walk_these(sequences, sizeof sequences / sizeof *sequences, 1, 1);
    walk_these(between, 1, 1, 3);
}
