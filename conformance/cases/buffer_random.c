/* Long pseudo-random sequences of operations on a few evbuffers: 200 seeds, 100,000 operations each.
 *
 * The trace of a seed is one number, a hash of
 * - what every operation has returned, and every byte that it has shown, given or sent;
 * - the length of the buffer that it worked on, after every operation;
 * - what the callbacks were told;
 * - all bytes of that buffer after every sixteenth operation, and of all buffers at the end.
 * So any difference shows, and changes what follows: what comes next depends on the lengths.
 *
 * CASE_OPERATIONS is the number of operations for each seed, if it is set. */
#include "buffer.h"

#include <event2/buffer_compat.h>
#include <stdarg.h>

/* What is read or written at once is small enough to be transferred as a whole. */
enum { BUFFERS = 3, LARGEST = 9000, TRANSFERRED = 4000, OPERATIONS = 100000 };

/* What a buffer is cut down to when it has become too long, and what it can hold meanwhile. */
enum { CUT = 1000, LONG = 40000, LONGEST = LONG + 50000 };

struct cell {
    struct evbuffer *buffer;
    struct evbuffer_cb_entry *callback;
    uint64_t told; /* what a deferred callback was told */
    bool frozen[2];
};

static struct cell cells[BUFFERS];
static struct event_base *base; /* only where callbacks are deferred */
static struct evbuffer_file_segment *segment;
static int pair[2];
static uint32_t state;
static uint64_t answers;
static bool quiet; /* callbacks have no say: how many calls there are is the library's affair */
static unsigned char scratch[LARGEST];
static unsigned char letters[2 * LARGEST]; /* new ones for each seed */
static unsigned references, cleanups;

static unsigned below(unsigned limit) {
    state = state * 1664525u + 1013904223u;
    return (state >> 8) % limit;
}

/* Mostly small, at times large. */
static size_t some_length(void) {
    return below(4) == 0 ? below(LARGEST) : below(40);
}

static uint64_t stir(uint64_t hash, uint64_t word) {
    hash = (hash ^ word) * UINT64_C(0x9e3779b97f4a7c15);
    return hash ^ hash >> 29;
}

/* As hash_bytes, but eight bytes at a time: most of the time would go into this otherwise. */
static uint64_t stir_bytes(uint64_t hash, const void *data, size_t length) {
    const unsigned char *bytes = data;
    uint64_t word = length;
    hash = stir(hash, word);
    for (; length >= sizeof word; length -= sizeof word, bytes += sizeof word) {
        memcpy(&word, bytes, sizeof word);
        hash = stir(hash, word);
    }
    word = 0;
    if (length > 0)
        memcpy(&word, bytes, length);
    return stir(hash, word);
}

static void answer(long long value) {
    answers = stir(answers, (uint64_t)value);
}

static void answer_text(const void *data, size_t length) {
    answers = stir_bytes(answers, data, length);
}

/* What a function has put into `scratch`; a negative number is an error. */
static void answer_bytes(ev_ssize_t n) {
    answer(n);
    if (n > 0)
        answer_text(scratch, (size_t)n);
}

/* Everything that a buffer holds. It is looked at piece by piece, which a frozen one allows too. */
static void answer_content(struct evbuffer *buffer) {
    static struct evbuffer_iovec pieces[LONGEST];
    static unsigned char content[LONGEST];
    size_t length = 0;
    int count = evbuffer_peek(buffer, -1, NULL, pieces, LONGEST);
    CHECK(count >= 0 && count <= LONGEST);
    for (int i = 0; i < count; i++) {
        CHECK(pieces[i].iov_len <= LONGEST - length);
        memcpy(content + length, pieces[i].iov_base, pieces[i].iov_len);
        length += pieces[i].iov_len;
    }
    CHECK(length == evbuffer_get_length(buffer));
    answer_text(content, length);
}

static void cleanup(const void *data, size_t length, void *extra) {
    (void)length;
    (void)extra;
    cleanups++;
    free((void *)(uintptr_t)data);
}

/* Few different bytes, line ends among them, so that searches find something. */
static void new_letters(void) {
    static const char some[] = "abab\r\ncd\nab";
    for (size_t i = 0; i < sizeof letters; i++)
        letters[i] = (unsigned char)some[below(sizeof some - 1)];
}

static void add_letters(size_t length) {
    memcpy(scratch, letters + below(sizeof letters - LARGEST), length);
}

static void reserve_and_commit(struct evbuffer *buffer) {
    struct evbuffer_iovec pieces[2];
    size_t length = some_length() + 1, left = length, done = 0;
    add_letters(length);
    int count = evbuffer_reserve_space(buffer, (ev_ssize_t)length, pieces, 1 + (int)below(2));
    answer(count < 0);
    if (count < 0)
        return;
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
    if (evbuffer_ptr_set(buffer, &start, to - from, EVBUFFER_PTR_ADD) == 0)
        answer(start.pos);
    answer(evbuffer_ptr_set(buffer, &start, length + 1, EVBUFFER_PTR_SET));
    const unsigned char *place = evbuffer_find(buffer, (const unsigned char *)text, strlen(text));
    answer(place ? place - evbuffer_pullup(buffer, 1) : -1);
}

static void read_line(struct evbuffer *buffer) {
    size_t length = 0;
    char *line;
    if (below(4) == 0) {
        line = evbuffer_readline(buffer);
        length = line ? strlen(line) : 0;
    } else {
        line = evbuffer_readln(buffer, &length, (enum evbuffer_eol_style)below(5));
    }
    answer(line != NULL);
    answer((long long)length);
    if (line)
        answer_text(line, length + 1);
    free(line);
}

static void copy_from(struct evbuffer *buffer) {
    struct evbuffer_ptr start;
    size_t from = below((unsigned)evbuffer_get_length(buffer) + 1);
    CHECK(evbuffer_ptr_set(buffer, &start, from, EVBUFFER_PTR_SET) == 0);
    ev_ssize_t n = evbuffer_copyout_from(buffer, &start, scratch, some_length());
    answer_bytes(n);
}

static void pull_up(struct evbuffer *buffer) {
    size_t length = some_length();
    unsigned char *front = evbuffer_pullup(buffer, (ev_ssize_t)length);
    if (length == 0)
        return;
    answer(front != NULL);
    if (front)
        answer_text(front, length);
}

/* The bytes that the pieces show, up to the wanted number. */
static void peek(struct evbuffer *buffer) {
    static struct evbuffer_iovec pieces[LARGEST];
    struct evbuffer_ptr start;
    size_t from = below((unsigned)evbuffer_get_length(buffer) + 1), left = some_length(), done = 0;
    CHECK(evbuffer_ptr_set(buffer, &start, from, EVBUFFER_PTR_SET) == 0);
    int needed = evbuffer_peek(buffer, (ev_ssize_t)left, &start, pieces, LARGEST);
    CHECK(needed >= 0 && needed <= LARGEST);
    for (int i = 0; i < needed; i++) {
        size_t part = left < pieces[i].iov_len ? left : pieces[i].iov_len;
        memcpy(scratch + done, pieces[i].iov_base, part);
        done += part;
        left -= part;
    }
    answer_bytes((ev_ssize_t)done);
}

static void add_pieces(struct evbuffer *buffer, size_t length) {
    struct evbuffer_iovec pieces[3];
    size_t third = length / 3;
    add_letters(length);
    for (size_t i = 0; i < 3; i++) {
        pieces[i].iov_base = scratch + i * third;
        pieces[i].iov_len = i < 2 ? third : length - 2 * third;
    }
    answer((long long)evbuffer_add_iovec(buffer, pieces, (int)below(4)));
}

static int add_formatted(struct evbuffer *buffer, const char *format, ...) {
    va_list args;
    va_start(args, format);
    int result = evbuffer_add_vprintf(buffer, format, args);
    va_end(args);
    return result;
}

static void add_reference(struct evbuffer *buffer, size_t length) {
    unsigned char *own = malloc(length + 1);
    CHECK(own);
    add_letters(length);
    memcpy(own, scratch, length);
    references++;
    int result = evbuffer_add_reference(buffer, own, length, cleanup, NULL);
    answer(result);
    if (result != 0) {
        /* Refused: the memory is still ours. */
        references--;
        free(own);
    }
}

/*
 * From a buffer that goes at once: what was added must stay. There is always something before it: a
 * libevent without the fix of CVE-2026-63381 (Debian's before 2.1.12-stable-8+deb12u1) goes wrong
 * with a buffer that has room but no content.
 */
static void add_shared(struct evbuffer *buffer, size_t length) {
    struct evbuffer *source = evbuffer_new();
    CHECK(source);
    answer(evbuffer_add(buffer, "+", 1));
    add_letters(length);
    CHECK(evbuffer_add(source, scratch, length) == 0);
    answer(evbuffer_add_buffer_reference(buffer, source));
    answer((long long)evbuffer_get_length(source));
    evbuffer_free(source);
}

static void add_part_of_file(struct cell *cell) {
    unsigned offset = below(LARGEST), length = below(LARGEST - offset);
    /* libevent takes a reference that is not its own when it refuses. */
    if (!cell->frozen[0])
        answer(evbuffer_add_file_segment(cell->buffer, segment, offset, length));
}

static void read_descriptor(struct evbuffer *buffer) {
    size_t length = some_length() % TRANSFERRED + 1;
    add_letters(length);
    CHECK(write(pair[1], scratch, length) == (ssize_t)length);
    int n = evbuffer_read(buffer, pair[0], below(2) ? -1 : (int)length);
    answer(n);
    if (n != (int)length) /* refused */
        CHECK(read(pair[0], scratch, length) == (ssize_t)length);
}

static void write_descriptor(struct evbuffer *buffer) {
    size_t left = some_length() % TRANSFERRED;
    quiet = true;
    while (left > 0) {
        int n = left == evbuffer_get_length(buffer)
                    ? evbuffer_write(buffer, pair[0])
                    : evbuffer_write_atmost(buffer, pair[0], (ev_ssize_t)left);
        if (n <= 0)
            break;
        CHECK(read(pair[1], scratch, (size_t)n) == n);
        answer_text(scratch, (size_t)n);
        left -= (size_t)n;
    }
    quiet = false;
    answer((long long)left);
}

static void changed(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg) {
    struct cell *cell = arg;
    size_t facts[] = {info->orig_size, info->n_added, info->n_deleted,
                      evbuffer_get_length(buffer)};
    if (base) /* in which order the loop runs those of several buffers is its affair */
        cell->told = stir_bytes(cell->told, facts, sizeof facts);
    else if (!quiet)
        answer_text(facts, sizeof facts);
}

static void change_callback(struct cell *cell) {
    if (!cell->callback) {
        CHECK((cell->callback = evbuffer_add_cb(cell->buffer, changed, cell)));
        return;
    }
    /* Not removed where calls may be due: whom they go to then differs. */
    switch (base ? 3 + below(3) : below(6)) {
    case 0:
        answer(evbuffer_remove_cb(cell->buffer, changed, cell));
        cell->callback = NULL;
        break;
    case 1:
        answer(evbuffer_remove_cb_entry(cell->buffer, cell->callback));
        cell->callback = NULL;
        break;
    case 2:
        evbuffer_setcb(cell->buffer, NULL, NULL);
        cell->callback = NULL;
        break;
    case 3:
        answer(evbuffer_cb_clear_flags(cell->buffer, cell->callback, EVBUFFER_CB_ENABLED));
        break;
    default:
        answer(evbuffer_cb_set_flags(cell->buffer, cell->callback, EVBUFFER_CB_ENABLED));
        break;
    }
}

/* Mostly thaws, so that not too much is refused. */
static void freeze_or_thaw(struct cell *cell) {
    int start = (int)below(2);
    cell->frozen[start] = below(4) == 0;
    answer(cell->frozen[start] ? evbuffer_freeze(cell->buffer, start)
                               : evbuffer_unfreeze(cell->buffer, start));
}

static void one_operation(struct cell *cell, struct evbuffer *other) {
    struct evbuffer *buffer = cell->buffer;
    size_t length = some_length();
    switch (below(30)) {
    case 0:
    case 1:
    case 2:
        add_letters(length);
        answer(evbuffer_add(buffer, scratch, length));
        break;
    case 3:
        add_letters(length);
        answer(evbuffer_prepend(buffer, scratch, length));
        break;
    case 4:
    case 5:
        answer(evbuffer_drain(buffer, length));
        break;
    case 6:
        answer_bytes(evbuffer_remove(buffer, scratch, length));
        break;
    case 7:
        answer(evbuffer_remove_buffer(buffer, other, length));
        break;
    case 8:
        answer(evbuffer_add_buffer(buffer, other));
        break;
    case 9:
        answer(evbuffer_prepend_buffer(buffer, other));
        break;
    case 10:
        add_reference(buffer, length);
        break;
    case 11:
    case 12:
        reserve_and_commit(buffer);
        break;
    case 13:
    case 14:
        search(buffer);
        break;
    case 15:
    case 16:
        read_line(buffer);
        break;
    case 17:
        copy_from(buffer);
        break;
    case 18:
        pull_up(buffer);
        break;
    case 19:
        answer(evbuffer_add_printf(buffer, "%u\n", below(100000)));
        break;
    case 20:
        answer(add_formatted(buffer, "%*d", (int)length + 1, (int)below(100)));
        break;
    case 21:
        answer(evbuffer_expand(buffer, length));
        break;
    case 22:
        peek(buffer);
        break;
    case 23:
        add_pieces(buffer, length);
        break;
    case 24:
        add_shared(buffer, length);
        break;
    case 25:
        add_part_of_file(cell);
        break;
    case 26:
        below(2) ? read_descriptor(buffer) : write_descriptor(buffer);
        break;
    case 27:
        change_callback(cell);
        break;
    case 28:
        freeze_or_thaw(cell);
        break;
    default:
        answer_bytes(evbuffer_copyout(buffer, scratch, length));
        break;
    }
}

/* A file of letters, closed with the segment. Its bytes are read, so that they can be looked at. */
static struct evbuffer_file_segment *new_segment(void) {
    FILE *file = tmpfile();
    CHECK(file);
    int fd = dup(fileno(file));
    add_letters(LARGEST);
    CHECK(fd >= 0 && write(fd, scratch, LARGEST) == LARGEST);
    fclose(file);
    unsigned flags = EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_SENDFILE;
    if (below(2))
        flags |= EVBUF_FS_DISABLE_MMAP;
    struct evbuffer_file_segment *result = evbuffer_file_segment_new(fd, 0, LARGEST, flags);
    CHECK(result);
    return result;
}

static void thaw(struct cell *cell) {
    CHECK(evbuffer_unfreeze(cell->buffer, 0) == 0);
    CHECK(evbuffer_unfreeze(cell->buffer, 1) == 0);
}

static void start_seed(unsigned seed) {
    state = seed;
    answers = HASH_START;
    new_letters();
    references = cleanups = 0;
    segment = new_segment();
    base = seed % 4 == 0 ? new_base() : NULL;
    for (int i = 0; i < BUFFERS; i++) {
        cells[i] = (struct cell){.buffer = evbuffer_new(), .told = HASH_START};
        CHECK(cells[i].buffer);
        if (base)
            CHECK(evbuffer_defer_callbacks(cells[i].buffer, base) == 0);
    }
}

static void end_seed(unsigned seed) {
    if (base)
        settle(base);
    evbuffer_file_segment_free(segment);
    for (int i = 0; i < BUFFERS; i++) {
        thaw(&cells[i]);
        size_t length = evbuffer_get_length(cells[i].buffer);
        answer((long long)cells[i].told);
        CHECK(evbuffer_get_contiguous_space(cells[i].buffer) <= length);
        answer_content(cells[i].buffer);
        unsigned char *whole = evbuffer_pullup(cells[i].buffer, -1);
        if (length > 0)
            answer_text(whole, length);
        evbuffer_free(cells[i].buffer);
    }
    if (base)
        event_base_free(base);
    say("seed %u: %016llx, each reference cleaned up once %d", seed, (unsigned long long)answers,
        references == cleanups);
}

static void run_seeds(unsigned first, unsigned last) {
    const char *wanted = getenv("CASE_OPERATIONS");
    int operations = wanted ? atoi(wanted) : OPERATIONS;
    unix_pair(pair);
    for (unsigned seed = first; seed <= last; seed++) {
        start_seed(seed);
        for (int i = 0; i < operations; i++) {
            unsigned which = below(BUFFERS);
            struct cell *cell = &cells[which];
            one_operation(cell, cells[(which + 1 + below(BUFFERS - 1)) % BUFFERS].buffer);
            size_t length = evbuffer_get_length(cell->buffer);
            answer((long long)length);
            if (i % 16 == 0)
                answer_content(cell->buffer);
            if (length > LONG) {
                thaw(cell);
                CHECK(evbuffer_drain(cell->buffer, length - CUT) == 0);
            }
            if (base && below(10) == 0)
                pass(base);
        }
        end_seed(seed);
    }
    close(pair[0]);
    close(pair[1]);
}

/* Several cases, so that they run side by side and each is far from the limit of its time. */
#define TEN_SEEDS(n)                                                                               \
    CASE(buffer_random_operations_##n) {                                                           \
        run_seeds(10 * (n)-9, 10 * (n));                                                           \
    }

TEN_SEEDS(1)
TEN_SEEDS(2)
TEN_SEEDS(3)
TEN_SEEDS(4)
TEN_SEEDS(5)
TEN_SEEDS(6)
TEN_SEEDS(7)
TEN_SEEDS(8)
TEN_SEEDS(9)
TEN_SEEDS(10)
TEN_SEEDS(11)
TEN_SEEDS(12)
TEN_SEEDS(13)
TEN_SEEDS(14)
TEN_SEEDS(15)
TEN_SEEDS(16)
TEN_SEEDS(17)
TEN_SEEDS(18)
TEN_SEEDS(19)
TEN_SEEDS(20)
