/* Long pseudo-random sequences of operations on a few evbuffers; the trace is a hash of what they
 * hold and answer, so that any difference in a byte or a return value shows. */
#include "buffer.h"

enum { BUFFERS = 3, LARGEST = 9000 };

static uint32_t state;
static uint64_t answers;
static unsigned char scratch[LARGEST];
static unsigned references, cleanups;

static unsigned below(unsigned limit) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % limit;
}

/* Mostly small, at times large. */
static size_t some_length(void) {
    return below(4) == 0 ? below(LARGEST) : below(40);
}

static void answer(long long value) {
    answers = hash_bytes(answers, &value, sizeof value);
}

static void cleanup(const void *data, size_t length, void *extra) {
    (void)length;
    (void)extra;
    cleanups++;
    free((void *)(uintptr_t)data);
}

static void add_letters(size_t length) {
    /* Few different bytes, line ends among them, so that searches find something. */
    static const char letters[] = "abab\r\ncd\nab";
    for (size_t i = 0; i < length; i++)
        scratch[i] = (unsigned char)letters[below(sizeof letters - 1)];
}

static void reserve_and_commit(struct evbuffer *buffer) {
    struct evbuffer_iovec pieces[2];
    size_t length = some_length() + 1, left = length, done = 0;
    add_letters(length);
    int count = evbuffer_reserve_space(buffer, (ev_ssize_t)length, pieces, 1 + (int)below(2));
    CHECK(count >= 1);
    for (int i = 0; i < count; i++) {
        size_t part = left < pieces[i].iov_len ? left : pieces[i].iov_len;
        memcpy(pieces[i].iov_base, scratch + done, part);
        pieces[i].iov_len = part;
        done += part;
        left -= part;
    }
    CHECK(left == 0);
    answer(evbuffer_commit_space(buffer, pieces, count));
}

static void search(struct evbuffer *buffer) {
    static const char *const wanted[] = {"ab", "abab", "\r\n", "dd", "bab\r\nab", "c"};
    struct evbuffer_ptr start, end, found;
    size_t length = evbuffer_get_length(buffer), eol = 0;
    const char *text = wanted[below(6)];
    size_t from = below((unsigned)length + 1), to = from + below((unsigned)(length - from) + 1);
    CHECK(evbuffer_ptr_set(buffer, &start, from, EVBUFFER_PTR_SET) == 0);
    CHECK(evbuffer_ptr_set(buffer, &end, to, EVBUFFER_PTR_SET) == 0);
    answer(evbuffer_search(buffer, text, strlen(text), &start).pos);
    if (from < to)
        answer(evbuffer_search_range(buffer, text, strlen(text), &start, &end).pos);
    found = evbuffer_search_eol(buffer, &start, &eol, (enum evbuffer_eol_style)below(5));
    answer(found.pos);
    answer((long long)eol);
}

static void read_line(struct evbuffer *buffer) {
    size_t length = 0;
    char *line = evbuffer_readln(buffer, &length, (enum evbuffer_eol_style)below(5));
    answer(line != NULL);
    answer((long long)length);
    if (line)
        answers = hash_bytes(answers, line, length + 1);
    free(line);
}

static void copy_from(struct evbuffer *buffer) {
    struct evbuffer_ptr start;
    size_t from = below((unsigned)evbuffer_get_length(buffer) + 1);
    CHECK(evbuffer_ptr_set(buffer, &start, from, EVBUFFER_PTR_SET) == 0);
    ev_ssize_t n = evbuffer_copyout_from(buffer, &start, scratch, some_length());
    answer(n);
    answers = hash_bytes(answers, scratch, (size_t)n);
}

static void pull_up(struct evbuffer *buffer) {
    size_t length = some_length();
    unsigned char *front = evbuffer_pullup(buffer, (ev_ssize_t)length);
    if (length == 0)
        return;
    answer(front != NULL);
    if (front)
        answers = hash_bytes(answers, front, length);
}

static void one_operation(struct evbuffer *buffer, struct evbuffer *other) {
    size_t length = some_length();
    unsigned char *own;
    switch (below(15)) {
    case 0:
    case 1:
        add_letters(length);
        answer(evbuffer_add(buffer, scratch, length));
        break;
    case 2:
        add_letters(length);
        answer(evbuffer_prepend(buffer, scratch, length));
        break;
    case 3:
        answer(evbuffer_drain(buffer, length));
        break;
    case 4: {
        int n = evbuffer_remove(buffer, scratch, length);
        answer(n);
        answers = hash_bytes(answers, scratch, (size_t)n);
        break;
    }
    case 5:
        answer(evbuffer_remove_buffer(buffer, other, length));
        break;
    case 6:
        answer(evbuffer_add_buffer(buffer, other));
        break;
    case 7:
        answer(evbuffer_prepend_buffer(buffer, other));
        break;
    case 8:
        add_letters(length);
        own = malloc(length + 1);
        CHECK(own);
        memcpy(own, scratch, length);
        references++;
        answer(evbuffer_add_reference(buffer, own, length, cleanup, NULL));
        break;
    case 9:
        reserve_and_commit(buffer);
        break;
    case 10:
        search(buffer);
        break;
    case 11:
        read_line(buffer);
        break;
    case 12:
        copy_from(buffer);
        break;
    case 13:
        pull_up(buffer);
        break;
    default:
        answer(evbuffer_add_printf(buffer, "%u\n", below(100000)));
        break;
    }
}

static void run_seed(unsigned seed) {
    struct evbuffer *buffers[BUFFERS];
    state = seed;
    answers = HASH_START;
    references = cleanups = 0;
    for (int i = 0; i < BUFFERS; i++)
        CHECK((buffers[i] = evbuffer_new()));
    for (int i = 0; i < 2000; i++) {
        unsigned which = below(BUFFERS);
        struct evbuffer *buffer = buffers[which];
        one_operation(buffer, buffers[(which + 1 + below(BUFFERS - 1)) % BUFFERS]);
        if (evbuffer_get_length(buffer) > 200000)
            CHECK(evbuffer_drain(buffer, 190000) == 0);
        answer((long long)evbuffer_get_length(buffer));
        if (i % 500 == 499)
            say("seed %u, %d operations: %016llx", seed, i + 1, (unsigned long long)answers);
    }
    for (int i = 0; i < BUFFERS; i++) {
        size_t length = evbuffer_get_length(buffers[i]);
        unsigned char *all = evbuffer_pullup(buffers[i], -1);
        say("end: %zu bytes, hash %016llx", length,
            (unsigned long long)hash_bytes(HASH_START, all, length));
        evbuffer_free(buffers[i]);
    }
    say("each reference cleaned up once %d", references == cleanups);
}

CASE(buffer_random_operations) {
    for (unsigned seed = 1; seed <= 12; seed++)
        run_seed(seed);
}
