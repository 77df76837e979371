/* What the functions of evbuffers refuse, beyond what the other files show where they show the rest:
 * -1 (NULL, nothing), and the buffer as it was. */
#include "buffer.h"

static unsigned cleanups;

static void cleanup(const void *data, size_t length, void *extra) {
    (void)data;
    (void)length;
    (void)extra;
    cleanups++;
}

CASE(buffer_flags) {
    struct evbuffer *buffer = buffer_of("flags");
    say("set %d", evbuffer_set_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD));
    say("clear %d", evbuffer_clear_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD));
    say("clear again %d", evbuffer_clear_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD));
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
}

/* The flag only says what the bytes are for: a file is still written out like everything else. */
CASE(buffer_flag_drains_to_fd) {
    struct evbuffer *buffer = evbuffer_new();
    char data[32];
    int fd[2];
    FILE *file = tmpfile();
    CHECK(buffer && file);
    int own = dup(fileno(file));
    CHECK(own >= 0 && write(own, "0123456789", 10) == 10);
    fclose(file);
    unix_pair(fd);
    say("set %d", evbuffer_set_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD));
    say("add %d", evbuffer_add_file(buffer, own, 2, 5));
    say("length %zu", evbuffer_get_length(buffer));
    say("write %d", evbuffer_write(buffer, fd[0]));
    size_t n = recv_now(fd[1], data, sizeof data, NULL);
    say("received <%.*s>", (int)n, data);
    evbuffer_free(buffer);
    say("file open %d", fd_is_open(own));
    close(fd[0]);
    close(fd[1]);
}

/* The program keeps memory whose reference is refused, and is not told that it can go. */
CASE(buffer_refused_reference) {
    static const char data[] = "reference";
    struct evbuffer *buffer = buffer_of("kept");
    CHECK(evbuffer_freeze(buffer, 0) == 0);
    say("add %d", evbuffer_add_reference(buffer, data, 9, cleanup, NULL));
    say("cleanups %u", cleanups);
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
    say("at the end %u", cleanups);
}

/* The end of the one that grows and the start of the other, each frozen. */
CASE(buffer_add_buffer_reference_frozen) {
    struct evbuffer *to = buffer_of("to:"), *from = buffer_of("data");
    CHECK(evbuffer_freeze(to, 0) == 0);
    say("to a frozen end %d", evbuffer_add_buffer_reference(to, from));
    CHECK(evbuffer_unfreeze(to, 0) == 0);
    CHECK(evbuffer_freeze(from, 0) == 0);
    say("of a frozen end %d", evbuffer_add_buffer_reference(to, from));
    say_buffer("to", to);
    say_buffer("from", from);
    evbuffer_free(to);
    evbuffer_free(from);
}

CASE(buffer_freezes_of_prepend_buffer) {
    struct evbuffer *to = buffer_of("to"), *from = buffer_of("from");
    CHECK(evbuffer_freeze(to, 1) == 0);
    say("to a frozen start %d", evbuffer_prepend_buffer(to, from));
    CHECK(evbuffer_unfreeze(to, 1) == 0);
    CHECK(evbuffer_freeze(to, 0) == 0);
    say("to a frozen end %d", evbuffer_prepend_buffer(to, from));
    say_buffer("to", to);
    say_buffer("from", from);
    evbuffer_free(to);
    evbuffer_free(from);
}

CASE(buffer_add_iovec_frozen) {
    struct evbuffer *buffer = buffer_of("kept");
    struct evbuffer_iovec pieces[] = {{"one", 3}, {"two", 3}};
    CHECK(evbuffer_freeze(buffer, 0) == 0);
    say("add %zu", evbuffer_add_iovec(buffer, pieces, 2));
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
}

CASE(buffer_commit_frozen) {
    struct evbuffer *buffer = buffer_of("kept");
    struct evbuffer_iovec piece;
    CHECK(evbuffer_reserve_space(buffer, 10, &piece, 1) == 1);
    memcpy(piece.iov_base, "new", 3);
    piece.iov_len = 3;
    CHECK(evbuffer_freeze(buffer, 0) == 0);
    say("reserve %d", evbuffer_reserve_space(buffer, 10, &piece, 1));
    say("commit %d", evbuffer_commit_space(buffer, &piece, 1));
    CHECK(evbuffer_unfreeze(buffer, 0) == 0);
    say("commit after all %d", evbuffer_commit_space(buffer, &piece, 1));
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
}

/* A reservation whose room has been used for something else is over. */
CASE(buffer_commit_after_an_add) {
    struct evbuffer *buffer = buffer_of("kept");
    struct evbuffer_iovec piece;
    CHECK(evbuffer_reserve_space(buffer, 10, &piece, 1) == 1);
    CHECK(evbuffer_add(buffer, "+", 1) == 0);
    piece.iov_len = 3;
    say("commit %d", evbuffer_commit_space(buffer, &piece, 1));
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
}

/* What a search gives that finds nothing is no place to start from. */
CASE_DIFFERS(buffer_positions_that_are_none, "memory safety", "-1 is no position") {
    struct evbuffer *buffer = buffer_of("0123456789");
    struct evbuffer_ptr none = evbuffer_search(buffer, "x", 1, NULL);
    char data[4];
    CHECK(none.pos == -1);
    say("copyout_from %d", (int)evbuffer_copyout_from(buffer, &none, data, 4));
    say("add %d", evbuffer_ptr_set(buffer, &none, 3, EVBUFFER_PTR_ADD));
    say("search %d", (int)evbuffer_search(buffer, "0", 1, &none).pos);
    say("peek %d", evbuffer_peek(buffer, -1, &none, NULL, 0));
    evbuffer_free(buffer);
}

CASE(buffer_eol_styles_that_are_none) {
    struct evbuffer *buffer = buffer_of("line\n");
    size_t length = 99;
    struct evbuffer_ptr found =
        evbuffer_search_eol(buffer, NULL, &length, (enum evbuffer_eol_style)77);
    say("search_eol %d+%zu", (int)found.pos, length);
    char *line = evbuffer_readln(buffer, &length, (enum evbuffer_eol_style)77);
    say("readln %d", line != NULL);
    free(line);
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
}

CASE_DIFFERS(buffer_search_for_more_than_there_can_be, "K", "not found, instead of found at 0") {
    struct evbuffer *buffer = buffer_of("data");
    say("%d", (int)evbuffer_search(buffer, "data", SIZE_MAX, NULL).pos);
    evbuffer_free(buffer);
}

static int file_of_ten(void) {
    FILE *file = tmpfile();
    CHECK(file);
    int fd = dup(fileno(file));
    CHECK(fd >= 0 && write(fd, "0123456789", 10) == 10);
    fclose(file);
    return fd;
}

/* Places that no file has: nothing is made, and the descriptor stays the program's. */
CASE(buffer_file_segments_that_cannot_be) {
    int fd = file_of_ten();
    say("no descriptor %d", evbuffer_file_segment_new(-1, 0, -1, 0) != NULL);
    say("offset -1: %d",
        evbuffer_file_segment_new(fd, -1, 5, EVBUF_FS_CLOSE_ON_FREE) != NULL);
    say("length -2: %d",
        evbuffer_file_segment_new(fd, 0, -2, EVBUF_FS_CLOSE_ON_FREE) != NULL);
    say("file open %d", fd_is_open(fd));
    struct evbuffer *buffer = buffer_of("kept");
    say("add_file %d", evbuffer_add_file(buffer, fd, -1, 5));
    say("file open %d", fd_is_open(fd));
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
    close(fd);
}

static void gone(const struct evbuffer_file_segment *segment, int flags, void *arg) {
    (void)segment;
    (void)arg;
    say("gone, flags %d", flags);
}

/* libevent lets go of a segment that it refuses, which is still the program's. */
CASE_DIFFERS(buffer_refused_file_segment, "K", "a refused segment stays the program's") {
    int fd = file_of_ten();
    struct evbuffer_file_segment *segment =
        evbuffer_file_segment_new(fd, 2, 6, EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_SENDFILE);
    struct evbuffer *buffer = buffer_of("kept");
    CHECK(segment);
    evbuffer_file_segment_add_cleanup_cb(segment, gone, NULL);
    say("offset past its end %d", evbuffer_add_file_segment(buffer, segment, 7, 0));
    say("longer than it is %d", evbuffer_add_file_segment(buffer, segment, 3, 4));
    CHECK(evbuffer_freeze(buffer, 0) == 0);
    say("frozen %d", evbuffer_add_file_segment(buffer, segment, 0, 6));
    CHECK(evbuffer_unfreeze(buffer, 0) == 0);
    say_buffer("buffer", buffer);
    say("file open %d", fd_is_open(fd));
    say("add %d", evbuffer_add_file_segment(buffer, segment, 1, -1));
    evbuffer_file_segment_free(segment);
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
    say("file open %d", fd_is_open(fd));
}

/* The descriptor goes with the buffer's interest in it, even if it had none. */
CASE(buffer_add_file_frozen) {
    struct evbuffer *buffer = buffer_of("kept");
    int fd = file_of_ten();
    CHECK(evbuffer_freeze(buffer, 0) == 0);
    say("add %d", evbuffer_add_file(buffer, fd, 0, 5));
    say_buffer("buffer", buffer);
    evbuffer_free(buffer);
}
