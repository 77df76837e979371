/* The functions of libevent that take a variable number of arguments, which Rust cannot define. */

#include <errno.h>
#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>
#include <string.h>

struct evbuffer;

#define LOCAL __attribute__((visibility("hidden")))

/* Texts up to this size need no memory of their own. */
enum { ON_STACK = 1024 };

/* Defined in Rust. */
int ferrevent_add_text(struct evbuffer *buf, const char *text, size_t len);

LOCAL int
ferrevent_add_vprintf(struct evbuffer *buf, const char *format, va_list list)
{
	char small[ON_STACK];
	va_list again;
	int len, result;

	va_copy(again, list);
	len = vsnprintf(small, sizeof(small), format, list);
	if (len < 0) {
		result = -1;
	} else if ((size_t)len < sizeof(small)) {
		result = ferrevent_add_text(buf, small, (size_t)len);
	} else {
		char *large = malloc((size_t)len + 1);

		result = -1;
		if (large != NULL) {
			/* An argument may have changed meanwhile: only what is now there is added. */
			int now = vsnprintf(large, (size_t)len + 1, format, again);

			if (now >= 0 && now < len)
				len = now;
			if (now >= 0)
				result = ferrevent_add_text(buf, large, (size_t)len);
			free(large);
		}
	}
	va_end(again);
	return result < 0 ? -1 : len;
}

LOCAL int
ferrevent_add_printf(struct evbuffer *buf, const char *format, ...)
{
	va_list list;
	int result;

	va_start(list, format);
	result = ferrevent_add_vprintf(buf, format, list);
	va_end(list);
	return result;
}

/* Unlike C's own: without room nothing is written and 0 returned, and the text always ends with a zero byte. */
LOCAL int
ferrevent_vsnprintf(char *text, size_t size, const char *format, va_list list)
{
	int result;

	if (size == 0)
		return 0;
	result = vsnprintf(text, size, format, list);
	text[size - 1] = '\0';
	return result;
}

LOCAL int
ferrevent_snprintf(char *text, size_t size, const char *format, ...)
{
	va_list list;
	int result;

	va_start(list, format);
	result = ferrevent_vsnprintf(text, size, format, list);
	va_end(list);
	return result;
}

/* Defined in Rust; does not return from an error (level 3). */
void ferrevent_log(int level, int code, const char *text);

enum { MESSAGE = 1, WARNING = 2, ERROR = 3, NO_ERRNO = -1 };

static void
log_formatted(int level, int code, int error, const char *format, va_list list)
{
	char text[ON_STACK];
	size_t used = 0;

	text[0] = '\0';
	if (format != NULL) {
		int len = vsnprintf(text, sizeof(text), format, list);

		if (len > 0)
			used = (size_t)len < sizeof(text) ? (size_t)len : sizeof(text) - 1;
	}
	if (error != NO_ERRNO)
		snprintf(text + used, sizeof(text) - used, ": %s", strerror(error));
	ferrevent_log(level, code, text);
}

#define LOG_BODY(level, code, error)				\
	do {							\
		int saved = (error);				\
		va_list list;					\
		va_start(list, format);				\
		log_formatted(level, code, saved, format, list);	\
		va_end(list);					\
	} while (0)

LOCAL void
ferrevent_event_err(int code, const char *format, ...)
{
	LOG_BODY(ERROR, code, errno);
}

LOCAL void
ferrevent_event_errx(int code, const char *format, ...)
{
	LOG_BODY(ERROR, code, NO_ERRNO);
}

LOCAL void
ferrevent_event_warn(const char *format, ...)
{
	LOG_BODY(WARNING, 0, errno);
}

LOCAL void
ferrevent_event_warnx(const char *format, ...)
{
	LOG_BODY(WARNING, 0, NO_ERRNO);
}

LOCAL void
ferrevent_event_msgx(const char *format, ...)
{
	LOG_BODY(MESSAGE, 0, NO_ERRNO);
}
