/* evbuffers and descriptors: read, write, write_atmost, and the bytes of files. */
#include "buffer.h"

CASE(buffer_read) {
    struct evbuffer *buffer = buffer_of(">");
    int fd[2];
    unix_pair(fd);
    errno = 0;
    int result = evbuffer_read(buffer, fd[0], -1);
    say("nothing there: %d EAGAIN %d", result, errno == EAGAIN);
    send_all(fd[1], "0123456789", 10);
    say("4: %d", evbuffer_read(buffer, fd[0], 4));
    say("0: %d", evbuffer_read(buffer, fd[0], 0));
    say_buffer("buffer", buffer);
    say("the rest: %d", evbuffer_read(buffer, fd[0], -1));
    say_buffer("buffer", buffer);
    send_all(fd[1], "ab", 2);
    say("up to 100: %d", evbuffer_read(buffer, fd[0], 100));
    close(fd[1]);
    say("end of file: %d", evbuffer_read(buffer, fd[0], -1));
    say_buffer("buffer", buffer);
    close(fd[0]);
    result = evbuffer_read(buffer, fd[0], -1);
    say("closed: %d EBADF %d", result, errno == EBADF);
    evbuffer_free(buffer);
}

/* One read takes at most what was asked for; how much at once with -1 is libevent's affair. */
CASE(buffer_read_large) {
    struct evbuffer *buffer = evbuffer_new();
    unsigned char data[50000];
    int fd[2], n;
    unix_pair(fd);
    fill(data, sizeof data, 9);
    send_all(fd[1], data, sizeof data);
    n = evbuffer_read(buffer, fd[0], 3000);
    say("3000: %d", n);
    while ((n = evbuffer_read(buffer, fd[0], -1)) > 0)
        CHECK(n <= 50000);
    say_buffer("all", buffer);
    say("same %d", memcmp(evbuffer_pullup(buffer, -1), data, sizeof data) == 0);
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

CASE(buffer_read_frozen) {
    struct evbuffer *buffer = evbuffer_new();
    int fd[2];
    unix_pair(fd);
    send_all(fd[1], "abc", 3);
    evbuffer_freeze(buffer, 0);
    say("read %d", evbuffer_read(buffer, fd[0], -1));
    evbuffer_unfreeze(buffer, 0);
    say("read %d", evbuffer_read(buffer, fd[0], -1));
    evbuffer_freeze(buffer, 1);
    say("write %d", evbuffer_write(buffer, fd[0]));
    evbuffer_unfreeze(buffer, 1);
    say("write %d", evbuffer_write(buffer, fd[0]));
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

static void say_received(int fd) {
    char data[64];
    bool eof = false;
    size_t n = recv_now(fd, data, sizeof data, &eof);
    say("received <%.*s>%s", (int)n, data, eof ? " and the end" : "");
}

CASE(buffer_write) {
    struct evbuffer *buffer = scattered("0123456789abcdef");
    int fd[2];
    unix_pair(fd);
    say("at most 5: %d", evbuffer_write_atmost(buffer, fd[0], 5));
    say_received(fd[1]);
    say_buffer("rest", buffer);
    say("all: %d", evbuffer_write(buffer, fd[0]));
    say_received(fd[1]);
    say_buffer("rest", buffer);
    evbuffer_add(buffer, "xyz", 3);
    say("at most 100: %d", evbuffer_write_atmost(buffer, fd[0], 100));
    evbuffer_add(buffer, "xyz", 3);
    say("at most -1: %d", evbuffer_write_atmost(buffer, fd[0], -1));
    say_received(fd[1]);
    evbuffer_add(buffer, "left", 4);
    close(fd[1]);
    errno = 0;
    int result = evbuffer_write(buffer, fd[0]);
    say("peer gone: %d EPIPE %d", result, errno == EPIPE);
    say_buffer("kept", buffer);
    evbuffer_free(buffer);
    close(fd[0]);
}

/* A full socket takes a part; what it took is drained, and -1 with EAGAIN follows. */
CASE(buffer_write_until_full) {
    struct evbuffer *buffer = evbuffer_new();
    int fd[2], n;
    size_t written = 0, before = 1000000;
    unix_pair(fd);
    for (unsigned i = 0; i < 10; i++)
        add_filled(buffer, 100000, i);
    while ((n = evbuffer_write(buffer, fd[0])) > 0) {
        written += (size_t)n;
        CHECK(evbuffer_get_length(buffer) == before - written);
    }
    say("at the end %d EAGAIN %d", n, errno == EAGAIN);
    say("some %d not all %d", written > 0, written < before);
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

/* All bytes arrive in order, however many pieces and writes they need. */
CASE(buffer_write_everything) {
    struct evbuffer *buffer = evbuffer_new();
    static unsigned char received[65536];
    uint64_t hash = HASH_START;
    size_t total = 0;
    int fd[2];
    unix_pair(fd);
    for (unsigned i = 0; i < 300; i++)
        add_filled(buffer, 1 + i * 13, i);
    say_buffer("sent", buffer);
    while (evbuffer_get_length(buffer) > 0) {
        evbuffer_write(buffer, fd[0]);
        size_t n = recv_now(fd[1], received, sizeof received, NULL);
        hash = hash_bytes(hash, received, n);
        total += n;
    }
    for (size_t n; (n = recv_now(fd[1], received, sizeof received, NULL)) > 0; total += n)
        hash = hash_bytes(hash, received, n);
    say("received %zu, hash %016llx", total, (unsigned long long)hash);
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

CASE(buffer_write_of_an_empty_one) {
    struct evbuffer *buffer = evbuffer_new();
    int fd[2];
    unix_pair(fd);
    say("not more than 0: %d", evbuffer_write(buffer, fd[0]) <= 0);
    say("at most 10, not more than 0: %d", evbuffer_write_atmost(buffer, fd[0], 10) <= 0);
    say_received(fd[1]);
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

/* What a descriptor gives until it has no more, at most `length` bytes at a time. */
static void say_read(const char *name, int fd, int length) {
    struct evbuffer *buffer = evbuffer_new();
    CHECK(buffer);
    errno = 0;
    int n = evbuffer_read(buffer, fd, length);
    say("%s: read %d%s", name, n, n < 0 && errno == EAGAIN ? " EAGAIN" : "");
    say_buffer("in it", buffer);
    evbuffer_free(buffer);
}

CASE(buffer_reads_and_writes_a_pipe) {
    struct evbuffer *buffer = scattered("0123456789");
    int ends[2];
    CHECK(pipe(ends) == 0 && evutil_make_socket_nonblocking(ends[0]) == 0);
    say_read("empty pipe", ends[0], 100);
    say("at most 4: %d", evbuffer_write_atmost(buffer, ends[1], 4));
    say_read("3 of it", ends[0], 3);
    say("the rest: %d", evbuffer_write(buffer, ends[1]));
    say_read("all of it", ends[0], -1);
    close(ends[1]);
    say_read("at the end", ends[0], 100);
    evbuffer_free(buffer);
    close(ends[0]);
}

CASE(buffer_reads_and_writes_a_file) {
    struct evbuffer *buffer = scattered("abcdefghij");
    int fd = file_of("0123456789");
    CHECK(lseek(fd, 8, SEEK_SET) == 8);
    say("at most 4: %d", evbuffer_write_atmost(buffer, fd, 4));
    say("the rest: %d", evbuffer_write(buffer, fd));
    CHECK(lseek(fd, 0, SEEK_SET) == 0);
    say_read("some of it", fd, 10);
    say_read("the rest", fd, 100);
    say_read("at the end", fd, 100);
    evbuffer_free(buffer);
    close(fd);
}

/* A part of a file, to where it may not be sent the way that it is to a socket. */
CASE(buffer_writes_a_file_to_a_pipe_and_to_a_file) {
    int ends[2], from = file_of("0123456789"), to = file_of("");
    struct evbuffer_file_segment *segment =
        evbuffer_file_segment_new(from, 2, 6, EVBUF_FS_CLOSE_ON_FREE);
    CHECK(segment && pipe(ends) == 0);
    for (int i = 0; i < 2; i++) {
        struct evbuffer *buffer = buffer_of("[");
        CHECK(evbuffer_set_flags(buffer, EVBUFFER_FLAG_DRAINS_TO_FD) == 0);
        CHECK(evbuffer_add_file_segment(buffer, segment, 1, 4) == 0);
        CHECK(evbuffer_add(buffer, "]", 1) == 0);
        int n, total = 0;
        while (evbuffer_get_length(buffer) > 0 && (n = evbuffer_write(buffer, i ? to : ends[1])) > 0)
            total += n;
        say("written %d, left %zu", total, evbuffer_get_length(buffer));
        evbuffer_free(buffer);
    }
    say_read("pipe", ends[0], 100);
    CHECK(lseek(to, 0, SEEK_SET) == 0);
    say_read("file", to, 100);
    evbuffer_file_segment_free(segment);
    close(to);
    close(ends[0]);
    close(ends[1]);
}

static void changed(struct evbuffer *buffer, const struct evbuffer_cb_info *info, void *name) {
    (void)buffer;
    token("%s(%zu+%zu-%zu)", (const char *)name, info->orig_size, info->n_added, info->n_deleted);
}

CASE(buffer_read_and_write_call_back) {
    struct evbuffer *buffer = evbuffer_new();
    int fd[2];
    unix_pair(fd);
    CHECK(evbuffer_add_cb(buffer, changed, "cb"));
    send_all(fd[1], "0123456789", 10);
    step("read");
    evbuffer_read(buffer, fd[0], -1);
    step("read nothing");
    evbuffer_read(buffer, fd[0], -1);
    step("write");
    evbuffer_write_atmost(buffer, fd[0], 4);
    evbuffer_write(buffer, fd[0]);
    step("end");
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

/* A reference that was written out is given back, once. */
static void cleanup(const void *data, size_t length, void *extra) {
    (void)data;
    (void)extra;
    say("cleanup of %zu bytes", length);
}

CASE(buffer_write_of_a_reference) {
    static const char data[] = "reference";
    struct evbuffer *buffer = buffer_of("a ");
    int fd[2];
    unix_pair(fd);
    CHECK(evbuffer_add_reference(buffer, data, 9, cleanup, NULL) == 0);
    say("at most 6: %d", evbuffer_write_atmost(buffer, fd[0], 6));
    say("the rest: %d", evbuffer_write(buffer, fd[0]));
    say_received(fd[1]);
    evbuffer_free(buffer);
    close(fd[0]);
    close(fd[1]);
}

/* The buffer takes the descriptor and closes it when the bytes are gone. */
CASE(buffer_add_file) {
    struct evbuffer *buffer = buffer_of("head:");
    int file = file_of("0123456789"), fd[2], n, total = 0;
    unix_pair(fd);
    say("add %d", evbuffer_add_file(buffer, file, 2, 5));
    say("length %zu", evbuffer_get_length(buffer));
    evbuffer_add(buffer, ":tail", 5);
    while (evbuffer_get_length(buffer) > 0) {
        n = evbuffer_write(buffer, fd[0]);
        CHECK(n > 0);
        total += n;
    }
    say("written %d", total);
    say_received(fd[1]);
    evbuffer_free(buffer);
    say("file open %d", fd_is_open(file));
    close(fd[0]);
    close(fd[1]);
}

static void segment_gone(const struct evbuffer_file_segment *segment, int flags, void *arg) {
    (void)segment;
    say("%s flags %d", (const char *)arg, flags);
}

/* One segment in two buffers; it ends with its last user. Without sendfile and in memory the
 * bytes can be looked at. */
CASE(buffer_file_segment) {
    struct evbuffer *a = evbuffer_new(), *b = evbuffer_new();
    int file = file_of("0123456789");
    unsigned flags = EVBUF_FS_CLOSE_ON_FREE | EVBUF_FS_DISABLE_SENDFILE | EVBUF_FS_DISABLE_MMAP;
    struct evbuffer_file_segment *segment = evbuffer_file_segment_new(file, 1, 8, flags);
    CHECK(segment);
    evbuffer_file_segment_add_cleanup_cb(segment, segment_gone, "gone");
    say("all %d", evbuffer_add_file_segment(a, segment, 0, 8));
    say("a part %d", evbuffer_add_file_segment(b, segment, 3, 4));
    evbuffer_file_segment_free(segment);
    say_buffer("a", a);
    say_buffer("b", b);
    evbuffer_free(a);
    say("file open %d", fd_is_open(file));
    evbuffer_free(b);
    say("file open %d", fd_is_open(file));
}
