/* All that can fail, with sizes and places that cannot be, on buffers in five states: each call is
 * refused, and the buffer is as it was, and nobody is told of anything. */
#include "buffer.h"

#include <event2/buffer_compat.h>
#include <limits.h>
#include <wchar.h>

static const char *state_name;
static unsigned called, cleanups;
static uint64_t before;

static void changed(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *arg) {
    (void)buffer;
    (void)info;
    (void)arg;
    called++;
}

static void cleanup(const void *data, size_t length, void *extra) {
    (void)data;
    (void)length;
    (void)extra;
    cleanups++;
}

/* Of its length and its bytes, which can be looked at in a frozen one too. */
static uint64_t fingerprint(struct evbuffer *buffer) {
    struct evbuffer_iovec pieces[16];
    size_t length = evbuffer_get_length(buffer);
    uint64_t hash = hash_bytes(HASH_START, &length, sizeof length);
    int count = evbuffer_peek(buffer, -1, NULL, pieces, 16);
    CHECK(count >= 0 && count <= 16);
    for (int i = 0; i < count && length > 0; i++) {
        hash = hash_bytes(hash, pieces[i].iov_base, pieces[i].iov_len);
    }
    return hash;
}

/* What a call has returned, and whether it left traces. */
static void refused(struct evbuffer *buffer, const char *call, long long result) {
    bool same = fingerprint(buffer) == before && called == 0 && cleanups == 0;
    say("%s: %s gives %lld%s", state_name, call, result, same ? "" : ", CHANGED");
    called = cleanups = 0;
}

static void sizes(struct evbuffer *buffer) {
    static const size_t lengths[] = {SIZE_MAX, SIZE_MAX - 8, (size_t)SSIZE_MAX + 1, SSIZE_MAX};
    static const char data[16];
    for (size_t i = 0; i < sizeof lengths / sizeof *lengths; i++) {
        size_t length = lengths[i];
        struct evbuffer_iovec pieces[2];
        refused(buffer, "add", evbuffer_add(buffer, data, length));
        refused(buffer, "prepend", evbuffer_prepend(buffer, data, length));
        refused(buffer, "expand", evbuffer_expand(buffer, length));
        refused(buffer, "pullup", evbuffer_pullup(buffer, (ev_ssize_t)(length / 2)) != NULL);
        if (length != SSIZE_MAX)
            refused(buffer, "reserve",
                    evbuffer_reserve_space(buffer, (ev_ssize_t)length, pieces, 2));
    }
}

static void places(struct evbuffer *buffer) {
    size_t length = evbuffer_get_length(buffer);
    struct evbuffer_ptr pointer;
    refused(buffer, "position behind the end",
            evbuffer_ptr_set(buffer, &pointer, length + 1, EVBUFFER_PTR_SET));
    refused(buffer, "position", pointer.pos);
    CHECK(evbuffer_ptr_set(buffer, &pointer, length, EVBUFFER_PTR_SET) == 0);
    refused(buffer, "one further", evbuffer_ptr_set(buffer, &pointer, 1, EVBUFFER_PTR_ADD));
    CHECK(evbuffer_ptr_set(buffer, &pointer, length, EVBUFFER_PTR_SET) == 0);
    refused(buffer, "SIZE_MAX further",
            evbuffer_ptr_set(buffer, &pointer, SIZE_MAX, EVBUFFER_PTR_ADD));
    refused(buffer, "position SIZE_MAX",
            evbuffer_ptr_set(buffer, &pointer, SIZE_MAX, EVBUFFER_PTR_SET));
    refused(buffer, "pullup of more than there is",
            evbuffer_pullup(buffer, (ev_ssize_t)length + 1) != NULL);
    refused(buffer, "search", evbuffer_search(buffer, "nowhere", 7, NULL).pos);
    refused(buffer, "readln of what is no line",
            evbuffer_readln(buffer, NULL, EVBUFFER_EOL_NUL) != NULL);
}

static void space(struct evbuffer *buffer) {
    struct evbuffer_iovec pieces[2];
    char own[8];
    refused(buffer, "reserve in no pieces", evbuffer_reserve_space(buffer, 10, pieces, 0));
    pieces[0].iov_base = own;
    pieces[0].iov_len = sizeof own;
    pieces[1] = pieces[0];
    refused(buffer, "commit of what was not reserved", evbuffer_commit_space(buffer, pieces, 1));
    refused(buffer, "commit of two", evbuffer_commit_space(buffer, pieces, 2));
    pieces[0].iov_len = SIZE_MAX;
    refused(buffer, "commit of SIZE_MAX", evbuffer_commit_space(buffer, pieces, 1));
}

static void descriptors(struct evbuffer *buffer) {
    refused(buffer, "read from -1", evbuffer_read(buffer, -1, 10) < 0);
    if (evbuffer_get_length(buffer) > 0) {
        refused(buffer, "write to -1", evbuffer_write(buffer, -1));
        refused(buffer, "write at most 3 to -1", evbuffer_write_atmost(buffer, -1, 3));
    }
    int fd = file_of("0123456789");
    struct evbuffer_file_segment *segment =
        evbuffer_file_segment_new(fd, 0, -1, EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_SENDFILE);
    CHECK(segment);
    refused(buffer, "file with length -2", evbuffer_add_file(buffer, fd, 0, -2));
    refused(buffer, "file from -1 on", evbuffer_add_file(buffer, fd, -1, 5));
    evbuffer_file_segment_free(segment);
}

static void others(struct evbuffer *buffer) {
    struct evbuffer *empty = evbuffer_new();
    CHECK(empty);
    refused(buffer, "add_buffer of itself", evbuffer_add_buffer(buffer, buffer));
    refused(buffer, "a reference to itself", evbuffer_add_buffer_reference(buffer, buffer));
    refused(buffer, "remove_buffer of nothing", evbuffer_remove_buffer(empty, buffer, SIZE_MAX));
    refused(buffer, "printf of what is no character",
            evbuffer_add_printf(buffer, "%ls", (const wchar_t[]){0x110000, 0}));
    refused(buffer, "remove_cb of another", evbuffer_remove_cb(buffer, changed, buffer));
    evbuffer_free(empty);
}

/* What a frozen end refuses. */
static void frozen(struct evbuffer *buffer, bool front, bool back) {
    struct evbuffer *other = buffer_of("other");
    struct evbuffer_iovec pieces[2] = {{(void *)(uintptr_t) "abc", 3}, {NULL, 0}};
    char data[8];
    int pipe_ends[2];
    CHECK(pipe(pipe_ends) == 0 && write(pipe_ends[1], "piped", 5) == 5);
    if (back) {
        refused(buffer, "add", evbuffer_add(buffer, "abc", 3));
        refused(buffer, "printf", evbuffer_add_printf(buffer, "%d", 1));
        refused(buffer, "add_iovec", (long long)evbuffer_add_iovec(buffer, pieces, 1));
        refused(buffer, "add_buffer", evbuffer_add_buffer(buffer, other));
        refused(buffer, "remove_buffer to it", evbuffer_remove_buffer(other, buffer, 3));
        refused(buffer, "add_buffer_reference", evbuffer_add_buffer_reference(buffer, other));
        refused(buffer, "add_reference", evbuffer_add_reference(buffer, "abc", 3, cleanup, NULL));
        refused(buffer, "read", evbuffer_read(buffer, pipe_ends[0], 5));
        refused(buffer, "reserve", evbuffer_reserve_space(buffer, 5, pieces, 2));
    }
    if (front) {
        refused(buffer, "drain", evbuffer_drain(buffer, 1));
        refused(buffer, "remove", evbuffer_remove(buffer, data, sizeof data));
        refused(buffer, "copyout", evbuffer_copyout(buffer, data, sizeof data));
        refused(buffer, "prepend", evbuffer_prepend(buffer, "abc", 3));
        refused(buffer, "prepend_buffer", evbuffer_prepend_buffer(buffer, other));
        refused(buffer, "add_buffer from it", evbuffer_add_buffer(other, buffer));
        refused(buffer, "remove_buffer from it", evbuffer_remove_buffer(buffer, other, 3));
        refused(buffer, "prepend_buffer from it", evbuffer_prepend_buffer(other, buffer));
        refused(buffer, "write", evbuffer_write(buffer, pipe_ends[1]));
        refused(buffer, "write_atmost", evbuffer_write_atmost(buffer, pipe_ends[1], 2));
        refused(buffer, "readln", evbuffer_readln(buffer, NULL, EVBUFFER_EOL_LF) != NULL);
        refused(buffer, "readline", evbuffer_readline(buffer) != NULL);
    }
    say_buffer("the other one", other);
    evbuffer_free(other);
    close(pipe_ends[0]);
    close(pipe_ends[1]);
}

static void in_state(const char *name, struct evbuffer *buffer, bool front, bool back) {
    state_name = name;
    CHECK(evbuffer_add_cb(buffer, changed, NULL));
    if (front)
        CHECK(evbuffer_freeze(buffer, 1) == 0);
    if (back)
        CHECK(evbuffer_freeze(buffer, 0) == 0);
    before = fingerprint(buffer);
    called = cleanups = 0;
    sizes(buffer);
    places(buffer);
    space(buffer);
    descriptors(buffer);
    others(buffer);
    if (front || back)
        frozen(buffer, front, back);
    evbuffer_free(buffer);
}

CASE(buffer_that_is_empty_stays_as_it_was) {
    in_state("empty", evbuffer_new(), false, false);
}

CASE(buffer_in_one_piece_stays_as_it_was) {
    in_state("one piece", buffer_of("some text\nand more"), false, false);
}

CASE(buffer_in_pieces_stays_as_it_was) {
    in_state("pieces", scattered("ab\ncd"), false, false);
}

CASE(buffer_with_a_frozen_start_stays_as_it_was) {
    in_state("frozen start", buffer_of("some text\nand more"), true, false);
}

CASE(buffer_with_a_frozen_end_stays_as_it_was) {
    in_state("frozen end", scattered("ab\ncd"), false, true);
}

CASE(buffer_frozen_at_both_ends_stays_as_it_was) {
    in_state("frozen", buffer_of("some text\nand more"), true, true);
}

/* Pieces and references whose lengths together are more than there can be. */
CASE_DIFFERS(buffer_refuses_pieces_that_are_too_long, "memory safety",
             "none of the pieces is added, and no reference, instead of a crash") {
    static char data[16];
    struct evbuffer *buffer = buffer_of("kept");
    struct evbuffer_iovec pieces[2] = {{data, 8}, {data, SIZE_MAX - 4}};
    state_name = "kept";
    before = fingerprint(buffer);
    refused(buffer, "add_iovec", (long long)evbuffer_add_iovec(buffer, pieces, 2));
    pieces[1].iov_len = SSIZE_MAX;
    refused(buffer, "add_iovec", (long long)evbuffer_add_iovec(buffer, pieces, 2));
    refused(buffer, "add_reference", evbuffer_add_reference(buffer, data, SIZE_MAX, cleanup, NULL));
    refused(buffer, "add_reference",
            evbuffer_add_reference(buffer, data, SSIZE_MAX, cleanup, NULL));
    evbuffer_free(buffer);
}

/* A segment that is only sent can be as long as a length can be. */
CASE_DIFFERS(buffer_refuses_more_than_fits_behind_a_long_segment, "memory safety",
             "a length that is too long is refused, instead of one that wraps around") {
    int fd = file_of("0123456789");
    struct evbuffer *buffer = buffer_of("kept"), *other = buffer_of("other");
    struct evbuffer_file_segment *segment =
        evbuffer_file_segment_new(fd, 0, SSIZE_MAX, EVBUF_FS_CLOSE_ON_FREE);
    say("segment %d", segment != NULL);
    CHECK(evbuffer_set_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD) == 0);
    CHECK(evbuffer_set_flags(other, EVBUFFER_FLAG_DRAINS_TO_FD) == 0);
    if (segment) {
        say("add %d", evbuffer_add_file_segment(buffer, segment, 0, SSIZE_MAX));
        say("add from 10 on %d", evbuffer_add_file_segment(buffer, segment, 10, SSIZE_MAX));
        say("add %d", evbuffer_add_file_segment(other, segment, 0, SSIZE_MAX - 8));
        say("length %zu", evbuffer_get_length(other));
        say("%d %d %d %d", evbuffer_add(other, "0123456789", 10),
            evbuffer_prepend(other, "0123456789", 10), evbuffer_add_buffer(buffer, other),
            evbuffer_prepend_buffer(buffer, other));
        say("length %zu", evbuffer_get_length(other));
        evbuffer_file_segment_free(segment);
    } else {
        close(fd);
    }
    evbuffer_free(other);
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
}
