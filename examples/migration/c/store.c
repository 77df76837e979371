#include "board.h"

#include <event2/buffer.h>
#include <event2/event.h>
#include <stdlib.h>
#include <string.h>

struct note {
	struct event_base *base;
	struct event *expiry;
	char *name, *text;
	struct note *next;
};

static struct note *notes;
static store_changed tell;

static struct note **find(const char *name)
{
	struct note **link = &notes;
	while (*link && strcmp((*link)->name, name))
		link = &(*link)->next;
	return link;
}

static void drop(struct note **link)
{
	struct note *note = *link;
	*link = note->next;
	if (note->expiry)
		event_free(note->expiry);
	free(note->name);
	free(note->text);
	free(note);
}

static void on_expiry(evutil_socket_t fd, short what, void *arg)
{
	struct note *note = arg;
	(void)fd;
	(void)what;
	store_del(note->base, note->name);
}

void store_start(struct event_base *base, store_changed changed)
{
	(void)base;
	tell = changed;
}

void store_set(struct event_base *base, const char *name, const char *text)
{
	struct note **link = find(name);
	struct note *note;

	if (*link)
		drop(link);
	note = calloc(1, sizeof *note);
	if (!note)
		return;
	note->base = base;
	note->name = strdup(name);
	note->text = strdup(text);
	note->next = notes;
	notes = note;
	tell(base, name, text);
}

int store_get(struct event_base *base, const char *name, struct evbuffer *out)
{
	struct note *note = *find(name);
	(void)base;
	return note ? evbuffer_add(out, note->text, strlen(note->text)) : -1;
}

int store_del(struct event_base *base, const char *name)
{
	struct note **link = find(name);
	char *copy;

	if (!*link)
		return -1;
	/* The name may be the note's own. */
	copy = strdup(name);
	drop(link);
	tell(base, copy, NULL);
	free(copy);
	return 0;
}

int store_expire(struct event_base *base, const char *name, long milliseconds)
{
	struct note *note = *find(name);
	struct timeval delay = {milliseconds / 1000, milliseconds % 1000 * 1000};

	if (!note || milliseconds < 0)
		return -1;
	if (!note->expiry)
		note->expiry = evtimer_new(base, on_expiry, note);
	return note->expiry ? event_add(note->expiry, &delay) : -1;
}

void store_stop(struct event_base *base)
{
	(void)base;
	while (notes)
		drop(&notes);
}
