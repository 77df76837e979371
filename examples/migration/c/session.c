#include "board.h"

#include <event2/buffer.h>
#include <event2/bufferevent.h>
#include <event2/event.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

#define MAX_LINE 512

struct session {
	struct bufferevent *bev;
	int watches;
	struct session *next, **link;
};

static struct session *sessions;

static void end(struct session *s)
{
	*s->link = s->next;
	if (s->next)
		s->next->link = s->link;
	bufferevent_free(s->bev);
	free(s);
}

static void say(struct session *s, const char *text)
{
	evbuffer_add_printf(bufferevent_get_output(s->bev), "%s\n", text);
}

static void after_bye(struct bufferevent *bev, void *arg)
{
	(void)bev;
	end(arg);
}

static void on_event(struct bufferevent *bev, short what, void *arg)
{
	(void)bev;
	(void)what;
	end(arg);
}

/* Says a last line, and ends when that is sent. */
static void bye(struct session *s, const char *text)
{
	say(s, text);
	s->watches = 0;
	bufferevent_disable(s->bev, EV_READ);
	bufferevent_setcb(s->bev, NULL, after_bye, on_event, s);
}

static void get(struct event_base *base, struct session *s, const char *name)
{
	struct evbuffer *answer = evbuffer_new();
	if (!answer)
		return;
	evbuffer_add(answer, "note ", 5);
	if (store_get(base, name, answer))
		say(s, "none");
	else {
		evbuffer_add(answer, "\n", 1);
		bufferevent_write_buffer(s->bev, answer);
	}
	evbuffer_free(answer);
}

/* Whether the session goes on. */
static int obey(struct event_base *base, struct session *s, char *line)
{
	const char *word = line;
	char *name = strchr(line, ' ');
	char *rest = NULL;

	if (name) {
		*name++ = '\0';
		rest = strchr(name, ' ');
	}
	if (rest)
		*rest++ = '\0';
	if (!strcmp(word, "set") && rest) {
		store_set(base, name, rest);
		say(s, "ok");
	} else if (!strcmp(word, "get") && name)
		get(base, s, name);
	else if (!strcmp(word, "del") && name)
		say(s, store_del(base, name) ? "none" : "ok");
	else if (!strcmp(word, "expire") && rest)
		say(s, store_expire(base, name, strtol(rest, NULL, 10)) ? "none" : "ok");
	else if (!strcmp(word, "watch")) {
		s->watches = 1;
		say(s, "ok");
	} else if (!strcmp(word, "quit")) {
		bye(s, "bye");
		return 0;
	} else
		say(s, "what?");
	return 1;
}

static void on_read(struct bufferevent *bev, void *arg)
{
	struct evbuffer *input = bufferevent_get_input(bev);
	struct event_base *base = bufferevent_get_base(bev);
	char *line;
	int goes_on = 1;

	while (goes_on && (line = evbuffer_readln(input, NULL, EVBUFFER_EOL_CRLF))) {
		goes_on = obey(base, arg, line);
		free(line);
	}
	if (goes_on && evbuffer_get_length(input) >= MAX_LINE)
		bye(arg, "too long");
}

void session_start(struct event_base *base, struct bufferevent *bev)
{
	struct session *s = calloc(1, sizeof *s);
	(void)base;
	if (!s) {
		bufferevent_free(bev);
		return;
	}
	s->bev = bev;
	s->next = sessions;
	s->link = &sessions;
	if (sessions)
		sessions->link = &s->next;
	sessions = s;
	bufferevent_setwatermark(bev, EV_READ, 0, MAX_LINE);
	bufferevent_setcb(bev, on_read, NULL, on_event, s);
	if (bufferevent_enable(bev, EV_READ))
		end(s);
}

void session_changed(struct event_base *base, const char *name, const char *text)
{
	char line[2 * MAX_LINE];
	struct session *s;

	if (text)
		snprintf(line, sizeof line, "changed %s %s", name, text);
	else
		snprintf(line, sizeof line, "gone %s", name);
	journal_line(base, line);
	for (s = sessions; s; s = s->next)
		if (s->watches)
			say(s, line);
}

void session_stop(struct event_base *base)
{
	(void)base;
	while (sessions)
		end(sessions);
}
