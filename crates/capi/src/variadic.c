/* The functions of libevent that take a variable number of arguments, which Rust cannot define. */

#include <limits.h>
#include <stdarg.h>
#include <stddef.h>
#include <stdio.h>
#include <stdlib.h>

struct evbuffer;

#define LOCAL __attribute__((visibility("hidden")))

/* Texts up to this size need no memory of their own. */
enum { ON_STACK = 1024 };

/* Defined in Rust. */
int evbuffer_add(struct evbuffer *buf, const void *data, size_t len);

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
		result = evbuffer_add(buf, small, (size_t)len);
	} else {
		char *large = malloc((size_t)len + 1);

		result = -1;
		if (large != NULL) {
			/* An argument may have changed meanwhile: only what is now there is added. */
			int now = vsnprintf(large, (size_t)len + 1, format, again);

			if (now >= 0 && now < len)
				len = now;
			if (now >= 0)
				result = evbuffer_add(buf, large, (size_t)len);
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
