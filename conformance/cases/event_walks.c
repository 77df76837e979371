/* Random walks over the memory of events: two bases, events of event_new and of event_assign, which move between the bases
 * while they are idle, are copied, swapped, set up anew, finalized and freed, in and outside of callbacks; and bases that are
 * freed with events pending. Both libraries must call the same, and say the same of each event.
 *
 * As in loop_random.c time stands still unless a walk moves it, and a case prints a hash for each walk; with CASE_SEED set it
 * prints that walk alone, with all that happens. What is different on purpose is left out. */
#include "loop.h"

#include <event2/event_struct.h>
#include <pthread.h>
#include <stdarg.h>

enum { ITEMS = 150, WALKS = 30, STEPS = 300, BASES = 2 };

/* ---- The clock ---- */

static _Thread_local int64_t now_us;

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

struct item {
    struct event *event;
    bool own; /* in memory of the program's */
    int base;
    int fd;
    short what;
    bool had_timeout;  /* libevent does not forget it */
    bool active_alone; /* it was activated while it was not added, and has not run since */
    unsigned made;
    uint64_t random; /* for what it does in its own callback */
};

static _Thread_local struct {
    struct event_base *bases[BASES];
    const struct timeval *shared[BASES][2];
    struct item items[ITEMS];
    int fd[2];
    bool odd_times; /* odd timeouts; what runs together then has no order, and acts on itself only */
    int running;    /* the base whose loop runs, or -1 */
    int calls, budget;
    uint64_t random, hash, sum;
    unsigned odd;
    bool aloud;
} walk;

static unsigned next_below(uint64_t *random, unsigned limit) {
    *random ^= *random << 13;
    *random ^= *random >> 7;
    *random ^= *random << 17;
    return (unsigned)((*random >> 11) % limit);
}

static unsigned below(unsigned limit) { return next_below(&walk.random, limit); }

/* What is said between these two, in whatever order, comes to the same. */
static _Thread_local char *aside;

__attribute__((format(printf, 1, 2))) static void note(const char *format, ...) {
    char text[256];
    va_list list;
    va_start(list, format);
    vsnprintf(text, sizeof text, format, list);
    va_end(list);
    if (aside)
        strcat(aside, text);
    else
        walk.hash = hash_bytes(walk.hash, text, strlen(text));
    if (walk.aloud)
        fputs(text, stdout);
}

static int number(const struct item *item) { return (int)(item - walk.items); }

/* No two waits are equal, nor multiples of small numbers. */
static struct timeval wait_below(unsigned limit) {
    walk.odd = (walk.odd + 367) % 99991;
    unsigned us = below(limit) * 100000 + walk.odd;
    return (struct timeval){us / 1000000, us % 1000000};
}

static int all_pending(const struct item *item) {
    return event_pending(item->event, EV_TIMEOUT | EV_READ | EV_WRITE | EV_SIGNAL, NULL);
}

static void note_pending(const struct item *item) { note("<%x>", (unsigned)all_pending(item)); }

/* It is neither pending nor active, whatever it is active for. */
static bool is_idle(const struct item *item) { return all_pending(item) == 0 && !item->active_alone; }

static void act(bool inside);
static void act_on_itself(struct item *item);

static void called(evutil_socket_t fd, short what, void *arg) {
    struct item *item = arg;
    (void)fd;
    item->active_alone = false;
    if (walk.odd_times) {
        char text[1024] = "";
        aside = text;
        note(" [%d:%x", number(item), (unsigned short)what);
        act_on_itself(item);
        note("]");
        aside = NULL;
        walk.sum += hash_bytes(HASH_START, text, strlen(text));
        return;
    }
    note(" [%d:%x", number(item), (unsigned short)what);
    if (++walk.calls > walk.budget) {
        note("!");
        event_base_loopbreak(walk.bases[walk.running]);
    } else {
        for (unsigned left = below(4); left > 0; left--)
            act(true);
    }
    note("]");
}

static void choose(struct item *item, uint64_t *random) {
    static const short kinds[] = {EV_READ, EV_WRITE, EV_READ | EV_WRITE};
    item->what = next_below(random, 2) ? EV_PERSIST : 0;
    item->base = walk.running >= 0 && walk.odd_times ? item->base : (int)next_below(random, BASES);
    item->fd = -1;
    if (next_below(random, 4) == 0) {
        item->fd = walk.fd[0];
        item->what |= kinds[next_below(random, 3)];
    }
    item->had_timeout = item->active_alone = false;
}

static void assign(struct item *item) {
    CHECK(event_assign(item->event, walk.bases[item->base], item->fd, item->what, called, item) == 0);
}

static void make(struct item *item, uint64_t *random) {
    item->own = next_below(random, 3) == 0;
    choose(item, random);
    note(" make %d of %d %x", number(item), item->base, (unsigned short)item->what);
    item->random = ++item->made * 0x9e3779b97f4a7c15 + (uint64_t)number(item) * 7919 + 1;
    if (item->own) {
        item->event = malloc(sizeof *item->event);
        CHECK(item->event);
        memset(item->event, 0x5a, sizeof *item->event);
        assign(item);
    } else {
        item->event = new_event(walk.bases[item->base], item->fd, item->what, called, item);
    }
}

static void unmake(struct item *item) {
    if (item->own) {
        CHECK(event_del(item->event) == 0);
        free(item->event);
    } else {
        event_free(item->event);
    }
    item->event = NULL;
}

static void finalized(struct event *event, void *arg) {
    (void)arg;
    walk.sum += 0x1234567;
    free(event);
}

static void finalized_and_freed(struct event *event, void *arg) {
    (void)event;
    (void)arg;
    walk.sum += 0x7654321;
}

/* The event goes when its loop has come to it; another one takes its place. */
static void finalize(struct item *item) {
    if (item->own)
        note(" finalize=%d", event_finalize(0, item->event, finalized));
    else
        note(" free finalize=%d", event_free_finalize(0, item->event, finalized_and_freed));
    make(item, &walk.random);
}

static int waits(const struct item *item) { return item->what & (EV_READ | EV_WRITE); }

/* It waits for all that it is about; something that is active may only seem to. */
static bool is_added(const struct item *item) {
    int wanted = waits(item) ? waits(item) : EV_TIMEOUT;
    return (all_pending(item) & wanted) == wanted;
}

static void add(struct item *item, const struct timeval *wait) {
    /* libevent does not add what is active and not added. */
    if (waits(item) && (item->active_alone || (all_pending(item) != 0 && !is_added(item))))
        return;
    item->had_timeout |= wait != NULL;
    note(" add %d%s=%d", number(item), wait ? " timed" : "", event_add(item->event, wait));
    note_pending(item);
}

static void del(struct item *item, uint64_t *random) {
    static int (*const ways[])(struct event *) = {event_del, event_del, event_del_block, event_del_noblock};
    note(" del %d=%d", number(item), ways[next_below(random, 4)](item->event));
    item->active_alone = false;
    note_pending(item);
    /* libevent would remember its timeout. */
    if (item->had_timeout && item->what & EV_PERSIST) {
        item->had_timeout = false;
        assign(item);
    }
}

static void activate(struct item *item) {
    static const short kinds[] = {EV_READ, EV_WRITE, EV_TIMEOUT, EV_READ | EV_WRITE};
    short what = kinds[below(4)];
    /* In libevent a common timeout comes behind all else. */
    if (walk.odd_times && !waits(item))
        return;
    item->active_alone |= what & EV_TIMEOUT || !is_added(item);
    event_active(item->event, what, 1);
    note(" activate %d %x", number(item), (unsigned short)what);
}

/* ---- The memory ---- */

/* Everything but the number and the memory. */
static void take_over(struct item *item, const struct item *from) {
    item->base = from->base;
    item->fd = from->fd;
    item->what = from->what;
    item->had_timeout = from->had_timeout;
    item->event->ev_evcallback.evcb_arg = item;
}

static void swap(struct item *one, struct item *other) {
    struct event event = *one->event;
    struct item item = *one;
    note(" swap %d %d", number(one), number(other));
    *one->event = *other->event;
    *other->event = event;
    take_over(one, other);
    take_over(other, &item);
}

static void copy_over(struct item *item, const struct item *from) {
    note(" copy %d over %d", number(from), number(item));
    *item->event = *from->event;
    take_over(item, from);
}

static void away_and_back(struct item *item) {
    struct event event = *item->event;
    note(" away %d", number(item));
    memset(item->event, 0x5a, sizeof event);
    *item->event = event;
}

static void use_a_copy(struct item *item) {
    struct event event = *item->event;
    struct timeval wait = wait_below(40);
    note(" copy of %d=%d", number(item), event_add(&event, &wait));
    note("<%x>", (unsigned)event_pending(&event, EV_TIMEOUT | EV_READ | EV_WRITE, NULL));
    note("=%d", event_del(&event));
    note_pending(item);
}

static void relocate(struct item *item) {
    struct event *other;
    if (!item->own)
        return;
    other = malloc(sizeof *other);
    CHECK(other);
    *other = *item->event;
    memset(item->event, 0x5a, sizeof *other);
    free(item->event);
    item->event = other;
    note(" relocate %d", number(item));
}

static void work_on_memory(struct item *item, struct item *other) {
    switch (below(9)) {
    case 0:
        if (is_idle(other) && item != other)
            swap(item, other);
        break;
    case 1:
        if (is_idle(other) && item != other)
            copy_over(item, other);
        break;
    case 2:
        away_and_back(item);
        break;
    case 3:
        use_a_copy(item);
        break;
    case 4:
        relocate(item);
        break;
    case 5:
    case 6:
        /* What was there does not matter, even if it is a copy of what is pending. */
        if (item != other && below(2))
            *item->event = *other->event;
        choose(item, &walk.random);
        assign(item);
        note(" anew %d of %d %x", number(item), item->base, (unsigned short)item->what);
        break;
    default:
        item->base ^= 1;
        note(" to the other %d=%d", number(item), event_base_set(walk.bases[item->base], item->event));
    }
    note_pending(item);
}

/* ---- What is done ---- */

static void act(bool inside) {
    struct item *item = &walk.items[below(ITEMS)], *other = &walk.items[below(ITEMS)];
    struct timeval wait = wait_below(40), none = wait_below(1);
    char bytes[64];
    switch (below(20)) {
    case 0:
        add(item, NULL);
        break;
    case 1:
    case 2:
    case 3:
    case 4:
        add(item, &wait);
        break;
    case 5:
        add(item, &none);
        break;
    case 6:
    case 7:
        del(item, &walk.random);
        break;
    case 8:
        if (!inside || below(3) == 0)
            activate(item);
        break;
    case 9:
        note(" send %d", (int)write(walk.fd[1], "x", 1));
        break;
    case 10:
        note(" read %d", (int)recv_now(walk.fd[0], bytes, sizeof bytes, NULL));
        break;
    case 11:
        note(" remove timer of %d=%d", number(item), event_remove_timer(item->event));
        note_pending(item);
        break;
    case 12:
        unmake(item);
        make(item, &walk.random);
        break;
    case 13:
        if (below(3) == 0)
            finalize(item);
        break;
    case 14:
        if (all_pending(item) != 0)
            note(" moved while pending %d", event_base_set(walk.bases[item->base ^ 1], item->event));
        break;
    case 15:
        for (int base = 0; base < BASES; base++)
            note(" added %d active %d",
                 event_base_get_num_events(walk.bases[base], EVENT_BASE_COUNT_ADDED),
                 event_base_get_num_events(walk.bases[base], EVENT_BASE_COUNT_ACTIVE));
        break;
    default:
        if (is_idle(item))
            work_on_memory(item, other);
    }
}

static void act_on_itself(struct item *item) {
    struct timeval wait = {0, (long)next_below(&item->random, 9) * 100000 + number(item)};
    switch (next_below(&item->random, 6)) {
    case 0:
        del(item, &item->random);
        add(item, &wait);
        break;
    case 1:
        add(item, &wait);
        break;
    case 2:
        del(item, &item->random);
        break;
    case 3:
        unmake(item);
        make(item, &item->random);
        add(item, &wait);
        break;
    case 4:
        note(" remove timer=%d", event_remove_timer(item->event));
        break;
    default:
        break;
    }
    note_pending(item);
}

/* Timeouts that nobody should give, and those that the base has named. */
static void add_oddly(struct item *item) {
    static const struct timeval times[] = {
        {0, -5}, {0, 0}, {0, 1}, {0, 999999}, {4095, 0}, {4096, 5}, {4294967295, 0}, {4294967296, 0},
        {1LL << 33, 7}, {1LL << 40, 0}, {-1, 0}, {-1, 999999}, {-4294967296, 0},
    };
    unsigned count = sizeof times / sizeof *times, choice = below(count + 4);
    /* libevent ends the program for less than no microseconds, if they are to begin again. */
    if (choice == 0 && item->what & EV_PERSIST)
        return;
    note(" oddly %u", choice);
    if (choice < count)
        add(item, &times[choice]);
    else if (!waits(item))
        add(item, walk.shared[item->base][choice % 2]);
}

static void open_base(int base) {
    static const struct timeval times[2] = {{0, 10000}, {0, 25000}};
    walk.bases[base] = new_base();
    for (int i = 0; i < 2; i++)
        walk.shared[base][i] = walk.odd_times && base == 0
                                   ? event_base_init_common_timeout(walk.bases[base], &times[i])
                                   : &times[i];
}

/* A base goes while events are pending; they work on the next one. */
static void reopen_base(int base) {
    note("\n  base %d goes", base);
    /* What is being finalized goes first. */
    walk.running = base;
    walk.budget = 1000000;
    now_us++;
    event_base_loop(walk.bases[base], EVLOOP_NONBLOCK | EVLOOP_ONCE);
    walk.running = -1;
    event_base_free(walk.bases[base]);
    open_base(base);
    for (int i = 0; i < ITEMS; i++) {
        struct item *item = &walk.items[i];
        if (item->base != base)
            continue;
        item->active_alone = false;
        note(" %d=%d", i, event_base_set(walk.bases[base], item->event));
        note_pending(item);
        if (item->had_timeout && item->what & EV_PERSIST) {
            item->had_timeout = false;
            assign(item);
        }
    }
}

static void loop(int base) {
    /* While there is a timer, libevent and ferrevent look at the clock in each pass. */
    struct event *far = new_event(walk.bases[base], -1, 0, traced, "far");
    struct timeval wait = {100000, 0};
    int flags = EVLOOP_NONBLOCK | (walk.odd_times || below(2) ? EVLOOP_ONCE : 0);
    CHECK(event_add(far, &wait) == 0);
    walk.calls = 0;
    walk.budget = 8 + (int)below(60);
    walk.running = base;
    walk.sum = 0;
    now_us++;
    note("\n  loop of %d", base);
    note(" =%d", event_base_loop(walk.bases[base], flags));
    note(" sum %llx", (unsigned long long)walk.sum);
    walk.running = -1;
    event_free(far);
}

/* So many at once that blocks of memory come and go. */
static void renew_many(void) {
    unsigned first = below(ITEMS), count = below(ITEMS);
    for (unsigned i = 0; i < count; i++)
        unmake(&walk.items[(first + i * 7) % ITEMS]);
    for (unsigned i = 0; i < count; i++)
        make(&walk.items[(first + i * 7) % ITEMS], &walk.random);
}

static uint64_t walk_with(bool odd_times, uint64_t seed) {
    memset(&walk, 0, sizeof walk);
    walk.odd_times = odd_times;
    walk.running = -1;
    walk.random = seed * 0x9e3779b97f4a7c15 + 88172645463325252;
    walk.hash = HASH_START;
    walk.aloud = getenv("CASE_SEED") != NULL;
    for (int i = 0; i < 10; i++)
        below(2);
    unix_pair(walk.fd);
    for (int base = 0; base < BASES; base++)
        open_base(base);
    for (int i = 0; i < ITEMS; i++)
        make(&walk.items[i], &walk.random);
    for (int i = 0; i < STEPS; i++) {
        note("\n%d:", i);
        for (unsigned left = 1 + below(20); left > 0; left--) {
            act(false);
            if (odd_times)
                add_oddly(&walk.items[below(ITEMS)]);
        }
        now_us += below(20) * 100000;
        if (below(2))
            loop((int)below(BASES));
        if (below(20) == 0)
            renew_many();
        if (below(40) == 0)
            reopen_base((int)below(BASES));
    }
    for (int i = 0; i < ITEMS; i++)
        unmake(&walk.items[i]);
    for (int base = 0; base < BASES; base++) {
        loop(base);
        event_base_free(walk.bases[base]);
    }
    close(walk.fd[0]);
    close(walk.fd[1]);
    note("\n");
    return walk.hash;
}

static void walks(bool odd_times) {
    event_set_log_callback(no_log);
    if (getenv("CASE_SEED")) {
        walk_with(odd_times, strtoull(getenv("CASE_SEED"), NULL, 10));
        return;
    }
    int count = under_valgrind() ? 2 : WALKS;
    for (int seed = 1; seed <= count; seed++)
        say("%d %016llx", seed, (unsigned long long)walk_with(odd_times, (uint64_t)seed));
}

CASE(event_walks) { walks(false); }

CASE(event_walks_with_odd_timeouts) { walks(true); }

CASE(event_walks_with_locks) {
    CHECK(evthread_use_pthreads() == 0);
    walks(false);
}

struct thread {
    pthread_t thread;
    uint64_t seed, hash;
};

static void *walk_alone(void *arg) {
    struct thread *thread = arg;
    thread->hash = walk_with(false, thread->seed);
    return NULL;
}

/* Each thread has bases of its own, which need no locks. */
CASE(event_walks_in_threads) {
    enum { THREADS = 4 };
    struct thread threads[THREADS];
    event_set_log_callback(no_log);
    for (int round = 0; round < (under_valgrind() ? 1 : 8); round++) {
        for (int i = 0; i < THREADS; i++) {
            threads[i].seed = 1000 + (uint64_t)(round * THREADS + i);
            CHECK(pthread_create(&threads[i].thread, NULL, walk_alone, &threads[i]) == 0);
        }
        for (int i = 0; i < THREADS; i++) {
            CHECK(pthread_join(threads[i].thread, NULL) == 0);
            say("%d %016llx", (int)threads[i].seed, (unsigned long long)threads[i].hash);
        }
    }
}
