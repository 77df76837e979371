/* A notice board: what its files offer each other. Each function takes the base, on which all of them work. */
#ifndef BOARD_H
#define BOARD_H

struct bufferevent;
struct evbuffer;
struct event_base;

/* journal: what has changed, written to a file now and then. */
int journal_start(struct event_base *base, const char *path);
void journal_line(struct event_base *base, const char *text);
void journal_stop(struct event_base *base);

/* store: notes by name, which may expire. It tells of each change; the text is NULL if the note is gone. */
typedef void (*store_changed)(struct event_base *base, const char *name, const char *text);
void store_start(struct event_base *base, store_changed changed);
void store_set(struct event_base *base, const char *name, const char *text);
/* These return 0, or -1 if there is no such note. The first one appends the text to `out`. */
int store_get(struct event_base *base, const char *name, struct evbuffer *out);
int store_del(struct event_base *base, const char *name);
int store_expire(struct event_base *base, const char *name, long milliseconds);
void store_stop(struct event_base *base);

/* session: one for each connection. It owns the bufferevent from now on. */
void session_start(struct event_base *base, struct bufferevent *bev);
/* A `store_changed`: tells the journal, and those who watch. */
void session_changed(struct event_base *base, const char *name, const char *text);
void session_stop(struct event_base *base);

/* server: takes connections. The port that it listens on, or -1. */
int server_start(struct event_base *base);
void server_stop(struct event_base *base);

#endif
