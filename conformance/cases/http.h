/* What the cases of event2/http.h share: strings with everything in them on one line. */
#ifndef HTTP_H
#define HTTP_H

#include <event2/http.h>
#include <event2/keyvalq_struct.h>
#include <sys/queue.h>

#include "case.h"

#define COUNT(array) (sizeof(array) / sizeof *(array))

/* Adds `length` bytes to the current line of tokens, in quotes, with \xHH for what is not printed
 * and a break after every 50; "-" for NULL. */
static inline void token_bytes(const char *text, size_t length) {
    if (!text) {
        token("-");
        return;
    }
    for (size_t done = 0; done == 0 || done < length;) {
        char shown[256];
        size_t at = 0, end = length - done < 50 ? length : done + 50;
        for (; done < end; done++) {
            unsigned char byte = (unsigned char)text[done];
            bool plain = byte > ' ' && byte < 127 && byte != '\'' && byte != '\\';
            at += (size_t)sprintf(shown + at, plain ? "%c" : "\\x%02x", byte);
        }
        shown[at] = 0;
        token("'%s'", shown);
        if (length == 0) break;
    }
}

static inline void token_text(const char *text) { token_bytes(text, text ? strlen(text) : 0); }

/* The same, and frees it. */
static inline void token_freed(char *text) {
    token_text(text);
    free(text);
}

static inline void token_list(struct evkeyvalq *list) {
    struct evkeyval *entry;
    TAILQ_FOREACH(entry, list, next) {
        token_text(entry->key);
        token("=");
        token_text(entry->value);
    }
}

static inline void token_uri(struct evhttp_uri *uri) {
    char joined[4096];
    if (!uri) {
        token("none");
        return;
    }
    token_text(evhttp_uri_get_scheme(uri));
    token_text(evhttp_uri_get_userinfo(uri));
    token_text(evhttp_uri_get_host(uri));
    token("%d", evhttp_uri_get_port(uri));
    token_text(evhttp_uri_get_path(uri));
    token_text(evhttp_uri_get_query(uri));
    token_text(evhttp_uri_get_fragment(uri));
    token("=>");
    token_text(evhttp_uri_join(uri, joined, sizeof joined));
}

#endif
