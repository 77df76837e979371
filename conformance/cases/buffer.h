/* What the cases of evbuffers share. */
#ifndef BUFFER_H
#define BUFFER_H

#include "case.h"

/* A new evbuffer that holds `text`; never NULL. */
static inline struct evbuffer *buffer_of(const char *text) {
    struct evbuffer *buffer = evbuffer_new();
    CHECK(buffer);
    CHECK(evbuffer_add(buffer, text, strlen(text)) == 0);
    return buffer;
}

/* The same, each letter in memory of its own, so that nothing lies together. */
static inline struct evbuffer *scattered(const char *text) {
    struct evbuffer *buffer = evbuffer_new();
    CHECK(buffer);
    for (; *text; text++)
        CHECK(evbuffer_add_reference(buffer, text, 1, NULL, NULL) == 0);
    return buffer;
}

/* Traces length and content; long contents as a hash. */
static inline void say_buffer(const char *name, struct evbuffer *buffer) {
    size_t length = evbuffer_get_length(buffer);
    char *data = malloc(length + 1);
    CHECK(data);
    CHECK(evbuffer_copyout(buffer, data, length) == (ev_ssize_t)length);
    data[length] = '\0';
    if (length > 60)
        say("%s: %zu bytes, hash %016llx", name, length,
            (unsigned long long)hash_bytes(HASH_START, data, length));
    else
        say("%s: %zu <%s>", name, length, data);
    free(data);
}

/* Adds `length` bytes that depend on `seed`. */
static inline void add_filled(struct evbuffer *buffer, size_t length, unsigned seed) {
    unsigned char *data = malloc(length + 1);
    CHECK(data);
    fill(data, length, seed);
    CHECK(evbuffer_add(buffer, data, length) == 0);
    free(data);
}

/* A descriptor of a nameless file that holds `text`. */
static inline int file_of(const char *text) {
    FILE *file = tmpfile();
    CHECK(file);
    int fd = dup(fileno(file));
    CHECK(fd >= 0 && write(fd, text, strlen(text)) == (ssize_t)strlen(text));
    fclose(file);
    return fd;
}

#endif
