/* Random walks: events are added, deleted, activated and freed, in and outside of callbacks, and each library must call
 * the same ones in the same order. Time stands still unless a walk moves it, so that nothing depends on how fast the
 * machine is. A case prints a hash for each walk; with CASE_SEED set it prints that walk alone, with all that happens.
 *
 * The walks keep clear of what is different on purpose, and of what has no fixed order: descriptors that are ready
 * together with a signal, and equal deadlines. */
#include "loop.h"

#include <event2/event_struct.h>
#include <stdarg.h>

enum { EVENTS = 12, WALKS = 60, STEPS = 40 };

/* What a walk is about. */
enum { ON_DESCRIPTORS = 1, ON_SIGNALS = 2, WITH_PRIORITIES = 4, WITH_EDGES = 8, WITH_LIMITS = 16 };

/* ---- The clock ---- */

static int64_t now_us;

/* These take the place of libc's, in libevent and in ferrevent too. */
int clock_gettime(clockid_t clock, struct timespec *time) {
    int64_t now = now_us + (clock == CLOCK_REALTIME ? 5000000000000 : 1000000000);
    *time = (struct timespec){now / 1000000, now % 1000000 * 1000};
    return 0;
}

int gettimeofday(struct timeval *restrict time, void *restrict zone) {
    (void)zone;
    int64_t now = now_us + 5000000000000;
    *time = (struct timeval){now / 1000000, now % 1000000};
    return 0;
}

/* ---- A walk ---- */

struct walker {
    struct event *event;
    struct event memory; /* in which every other one is */
    short what;
    int calls;
    bool had_timeout;  /* libevent does not forget it */
    bool active_alone; /* it was activated while it was not added, and has not run since */
    char name[8];
};

static struct {
    struct event_base *base;
    unsigned about;
    struct walker walkers[EVENTS];
    int fd[2];
    int calls, budget, onces;
    uint64_t random, hash;
    unsigned odd;
    bool raised; /* and the loop may not have seen it */
    bool aloud;
} walk;

static unsigned below(unsigned limit) {
    walk.random ^= walk.random << 13;
    walk.random ^= walk.random >> 7;
    walk.random ^= walk.random << 17;
    return (unsigned)((walk.random >> 11) % limit);
}

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...) {
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    walk.hash = hash_bytes(walk.hash, text, strlen(text));
    if (walk.aloud)
        fputs(text, stdout);
}

/* No two waits are equal, nor multiples of small numbers. */
static struct timeval wait_below(unsigned limit) {
    walk.odd = (walk.odd + 367) % 997;
    return (struct timeval){0, below(limit) * 1000 + walk.odd};
}

static int waits(const struct walker *walker) {
    return walker->what & (EV_READ | EV_WRITE | EV_CLOSED | EV_SIGNAL);
}

static void note_pending(const struct walker *walker) {
    struct timeval deadline = {0, 0};
    int kinds = event_pending(
        walker->event, EV_TIMEOUT | EV_READ | EV_WRITE | EV_SIGNAL | EV_CLOSED, &deadline);
    note("<%x", (unsigned)kinds);
    int64_t left = deadline.tv_sec * INT64_C(1000000) + deadline.tv_usec - 5000000000000 - now_us;
    /* What is active only for its timeout has no deadline worth telling. */
    if (kinds & EV_TIMEOUT && left > 0 && !walker->active_alone)
        note("@%lld", (long long)left);
    note(">");
}

static void act(bool inside);

static void called(evutil_socket_t fd, short what, void *arg) {
    struct walker *walker = arg;
    (void)fd;
    note(" [%s:%x", walker->name, (unsigned short)what);
    walker->active_alone = false;
    if (++walk.calls > walk.budget) {
        note("!");
        event_base_loopbreak(walk.base);
    } else {
        for (unsigned left = below(4); left > 0; left--)
            act(true);
    }
    note("]");
}

static void called_once(evutil_socket_t fd, short what, void *arg) {
    (void)fd;
    note(" [once %d:%x]", (int)(intptr_t)arg, (unsigned short)what);
    if (++walk.calls > walk.budget)
        event_base_loopbreak(walk.base);
}

static bool is_own(const struct walker *walker) {
    return walker->event == &walker->memory;
}

static void make(struct walker *walker) {
    static const short kinds[] = {EV_READ,           EV_WRITE,  EV_READ | EV_WRITE,
                                  EV_READ | EV_CLOSED, EV_CLOSED};
    unsigned index = (unsigned)(walker - walk.walkers), choice = below(10);
    int fd = -1;
    walker->what = below(2) ? EV_PERSIST : 0;
    if (walk.about & ON_DESCRIPTORS && choice < 5) {
        fd = walk.fd[0];
        walker->what |= kinds[below(walk.about & WITH_EDGES ? 5 : 3)];
        if (walk.about & WITH_EDGES)
            walker->what |= EV_ET;
    } else if (walk.about & ON_SIGNALS && choice < 6) {
        fd = below(2) ? SIGUSR1 : SIGUSR2;
        walker->what |= EV_SIGNAL;
    }
    walker->had_timeout = walker->active_alone = false;
    snprintf(walker->name, sizeof walker->name, "%c", (int)('a' + index));
    note(" make %s %x", walker->name, (unsigned short)walker->what);
    if (below(2)) {
        walker->event = &walker->memory;
        memset(&walker->memory, 0, sizeof walker->memory);
        CHECK(event_assign(walker->event, walk.base, fd, walker->what, called, walker) == 0);
    } else {
        walker->event = new_event(walk.base, fd, walker->what, called, walker);
    }
    if (walk.about & WITH_PRIORITIES && below(2))
        note("=%d", event_priority_set(walker->event, (int)below(4)));
}

static void unmake(struct walker *walker) {
    if (is_own(walker))
        CHECK(event_del(walker->event) == 0);
    else
        event_free(walker->event);
}

/* It waits for all that it is about; something that is active may only seem to. */
static bool is_added(const struct walker *walker) {
    int wanted = waits(walker) ? waits(walker) : EV_TIMEOUT;
    return (event_pending(walker->event, 0xff, NULL) & wanted) == wanted;
}

static void add(struct walker *walker, const struct timeval *wait) {
    /* libevent does not add what is active and not added. */
    bool idle = event_pending(walker->event, 0xff, NULL) == 0;
    if (waits(walker) && (walker->active_alone || (!idle && !is_added(walker))))
        return;
    walker->had_timeout |= wait != NULL;
    note(" add %s%s=%d", walker->name, wait ? " timed" : "", event_add(walker->event, wait));
    note_pending(walker);
}

static void del(struct walker *walker) {
    note(" del %s=%d", walker->name, event_del(walker->event));
    walker->active_alone = false;
    note_pending(walker);
    if (!walker->had_timeout)
        return;
    if (!is_own(walker))
        event_free(walker->event);
    make(walker);
}

static void activate(struct walker *walker) {
    static const short kinds[] = {EV_READ, EV_WRITE, EV_TIMEOUT, EV_READ | EV_WRITE, EV_CLOSED};
    short what = waits(walker) & EV_SIGNAL ? EV_SIGNAL : kinds[below(5)];
    walker->active_alone |= what & EV_TIMEOUT || !is_added(walker);
    /* With more calls of a signal, libevent writes to a dead stack frame if the event goes in its callback. */
    event_active(walker->event, what, 1);
    note(" activate %s %x", walker->name, (unsigned short)what);
}

static void advance(bool inside) {
    unsigned by = below(30) * 1000;
    now_us += by;
    note(" advance %u", by);
    /* Otherwise libevent goes on with the time at which the pass began. */
    if (inside)
        CHECK(event_base_update_cache_time(walk.base) == 0);
}

static void act_on_the_base(void) {
    struct timeval wait = wait_below(20);
    switch (below(8)) {
    case 0:
        note(" added %d active %d",
             event_base_get_num_events(walk.base, EVENT_BASE_COUNT_ADDED),
             event_base_get_num_events(walk.base, EVENT_BASE_COUNT_ACTIVE));
        break;
    case 1:
        note(" exit %d", event_base_got_exit(walk.base));
        note(" break %d", event_base_got_break(walk.base));
        break;
    case 2:
        if (below(3) == 0)
            note(" loopexit=%d", event_base_loopexit(walk.base, below(2) ? &wait : NULL));
        break;
    case 3:
        if (below(4) == 0)
            note(" loopbreak=%d", event_base_loopbreak(walk.base));
        break;
    case 4:
        if (below(2))
            note(" loopcontinue=%d", event_base_loopcontinue(walk.base));
        break;
    case 5:
        if (walk.about & ON_SIGNALS)
            event_base_active_by_signal(walk.base, below(2) ? SIGUSR1 : SIGUSR2);
        else
            event_base_active_by_fd(walk.base, walk.fd[0], below(2) ? EV_READ : EV_WRITE);
        note(" by number");
        break;
    default:
        walk.onces++;
        note(" once %d=%d", walk.onces,
             event_base_once(walk.base, -1, EV_TIMEOUT, called_once,
                             (void *)(intptr_t)walk.onces, &wait));
    }
}

static void act(bool inside) {
    struct walker *walker = &walk.walkers[below(EVENTS)];
    struct timeval wait = wait_below(40), none = wait_below(1);
    char bytes[64];
    switch (below(16)) {
    case 0:
    case 1:
        add(walker, NULL);
        break;
    case 2:
    case 3:
    case 4:
        add(walker, &wait);
        break;
    case 5:
        add(walker, &none);
        break;
    case 6:
    case 7:
        del(walker);
        break;
    case 8:
        if (!inside || below(3) == 0)
            activate(walker);
        break;
    case 9:
        if (walk.about & WITH_PRIORITIES)
            note(" priority %s=%d", walker->name,
                 event_priority_set(walker->event, (int)below(4)));
        break;
    case 10:
        if (walk.about & ON_DESCRIPTORS) {
            note(" send %d", (int)write(walk.fd[1], "x", 1));
        } else if (walk.about & ON_SIGNALS && !inside && !walk.raised) {
            note(" raise %d", raise(below(2) ? SIGUSR1 : SIGUSR2));
            walk.raised = true;
        }
        break;
    case 11:
        if (walk.about & ON_DESCRIPTORS)
            note(" read %d", (int)recv_now(walk.fd[0], bytes, sizeof bytes, NULL));
        break;
    case 12:
        /* In libevent this takes the calls of an active signal event away. */
        if (!(waits(walker) & EV_SIGNAL))
            note(" remove timer of %s=%d", walker->name, event_remove_timer(walker->event));
        note_pending(walker);
        break;
    case 13:
        unmake(walker);
        make(walker);
        break;
    case 14:
        advance(inside);
        break;
    default:
        act_on_the_base();
    }
}

static void open_base(void) {
    struct event_config *config = event_config_new();
    struct timeval interval = {0, 20000};
    CHECK(config);
    if (walk.about & WITH_LIMITS)
        CHECK(event_config_set_max_dispatch_interval(config, below(2) ? &interval : NULL,
                                                     1 + (int)below(4), (int)below(2)) == 0);
    walk.base = event_base_new_with_config(config);
    event_config_free(config);
    CHECK(walk.base);
    if (walk.about & WITH_PRIORITIES)
        CHECK(event_base_priority_init(walk.base, 1 + (int)below(4)) == 0);
}

static void loop(void) {
    /* While there is a timer, libevent and ferrevent look at the clock in each pass. */
    struct event *far = new_event(walk.base, -1, 0, traced, "far");
    struct timeval wait = {100000, 0};
    CHECK(event_add(far, &wait) == 0);
    walk.calls = 0;
    walk.budget = 8 + (int)below(30);
    note("\n  loop");
    note(" =%d", event_base_loop(walk.base, EVLOOP_NONBLOCK | (below(2) ? EVLOOP_ONCE : 0)));
    walk.raised &= event_base_got_break(walk.base) ||
                   event_base_get_num_events(walk.base, EVENT_BASE_COUNT_ACTIVE) > 0;
    event_free(far);
}

static uint64_t walk_with(unsigned about, uint64_t seed) {
    memset(&walk, 0, sizeof walk);
    walk.about = about;
    walk.random = seed * 0x9e3779b97f4a7c15 + 88172645463325252;
    walk.hash = HASH_START;
    walk.aloud = getenv("CASE_SEED") != NULL;
    for (int i = 0; i < 10; i++)
        below(2);
    unix_pair(walk.fd);
    open_base();
    for (int i = 0; i < EVENTS; i++)
        make(&walk.walkers[i]);
    for (int i = 0; i < STEPS; i++) {
        note("\n%d:", i);
        for (unsigned left = 1 + below(4); left > 0; left--)
            act(false);
        if (below(3))
            loop();
    }
    for (int i = 0; i < EVENTS; i++)
        unmake(&walk.walkers[i]);
    event_base_free(walk.base);
    close(walk.fd[0]);
    close(walk.fd[1]);
    note("\n");
    return walk.hash;
}

static void walks(unsigned about) {
    event_set_log_callback(no_log);
    signal(SIGUSR1, SIG_IGN);
    signal(SIGUSR2, SIG_IGN);
    if (getenv("CASE_SEED")) {
        walk_with(about, strtoull(getenv("CASE_SEED"), NULL, 10));
        return;
    }
    int count = under_valgrind() ? WALKS / 10 : WALKS;
    for (int seed = 1; seed <= count; seed++)
        say("%d %016llx", seed, (unsigned long long)walk_with(about, (uint64_t)seed));
}

CASE(random_timers) {
    walks(0);
}

CASE(random_timers_with_priorities) {
    walks(WITH_PRIORITIES | WITH_LIMITS);
}

CASE(random_descriptors) {
    walks(ON_DESCRIPTORS);
}

CASE(random_descriptors_with_priorities) {
    walks(ON_DESCRIPTORS | WITH_PRIORITIES);
}

CASE(random_edges) {
    struct event_base *base = new_base();
    bool edges = event_base_get_features(base) & EV_FEATURE_ET;
    event_base_free(base);
    if (edges)
        walks(ON_DESCRIPTORS | WITH_EDGES);
}

CASE(random_signals) {
    walks(ON_SIGNALS);
}

CASE(random_signals_with_priorities) {
    walks(ON_SIGNALS | WITH_PRIORITIES);
}
