/* event2/http.h: what nobody should send to a server. Each input is followed by a good request, so that it shows where the
 * server takes the end of the bad one to be. */
#include "http_server.h"

static void quietly(struct evhttp_request *req, void *arg) {
    (void)arg;
    token("%s", evhttp_request_get_uri(req));
    struct evkeyval *entry;
    TAILQ_FOREACH(entry, evhttp_request_get_input_headers(req), next) {
        if (strncmp(entry->key, "X", 1) == 0 || entry->key[0] == 0) {
            token_text(entry->key);
            token_text(entry->value);
        }
    }
    if (evbuffer_get_length(evhttp_request_get_input_buffer(req)))
        token_buffer(evhttp_request_get_input_buffer(req));
    evhttp_send_reply(req, HTTP_OK, NULL, NULL);
}

/* What the callback gets, and the codes of the answers. */
static void send_bytes(struct server *server, const char *name, const char *text, size_t length) {
    static struct wire wire;
    step(name);
    wire_open(&wire, server);
    send_all(wire.fd, text, length);
    send_all(wire.fd, LAST, strlen(LAST));
    wire_to_end(&wire);
    token(">");
    for (const char *at = wire.text; (at = strstr(at, "HTTP/1.1 ")); at += 9)
        token("%.3s", at + 9);
    wire_close(&wire);
}

#define TRY(name, text) send_bytes(&server, name, text, sizeof text - 1)
#define BEGIN                                                                                      \
    struct server server;                                                                          \
    serve(&server);                                                                                \
    evhttp_set_gencb(server.http, quietly, NULL);                                                  \
    evhttp_set_allowed_methods(server.http, 0x1ff);                                                \
    evhttp_set_max_headers_size(server.http, 4096);                                                \
    evhttp_set_max_body_size(server.http, 100000)
#define END stop(&server)

#define POST "POST /p HTTP/1.1\r\nHost: h\r\n"
#define GET "GET /g HTTP/1.1\r\nHost: h\r\n"

CASE(http_hostile_and_refused) {
    BEGIN;
    TRY("length list", POST "Content-Length: 3, 3\r\n\r\nabc");
    TRY("length -1", POST "Content-Length: -1\r\n\r\n");
    TRY("length 0x3", POST "Content-Length: 0x3\r\n\r\nabc");
    TRY("length empty", POST "Content-Length:\r\n\r\nabc");
    TRY("length large", POST "Content-Length: 100001\r\n\r\n");
    TRY("length above 2^63", POST "Content-Length: 9223372036854775808\r\n\r\n");
    TRY("no colon", GET "X\r\n\r\n");
    TRY("fold first", "GET /g HTTP/1.1\r\n Host: h\r\n\r\n");
    TRY("cr in a value", GET "X: a\rb\r\n\r\n");
    TRY("zero byte in a name", GET "X\0Y: a\r\n\r\n");
    TRY("version 2.0", "GET /g HTTP/2.0\r\nHost: h\r\n\r\n");
    TRY("version in small letters", "GET /g http/1.1\r\nHost: h\r\n\r\n");
    TRY("no version", "GET /g\r\nHost: h\r\n\r\n");
    TRY("empty line first", "\r\n" GET "\r\n");
    TRY("nothing", "\r\n\r\n");
    TRY("empty line behind a body", POST "Content-Length: 3\r\n\r\nabc\r\n" GET "\r\n");
    TRY("target of nothing", "GET  HTTP/1.1\r\nHost: h\r\n\r\n");
    END;
}

#define FRAMING "what cannot be read in one way only is refused"

/* The corrected versions of libevent differ from the others here. */
CASE_DIFFERS(http_hostile_framing, "CVE-2026-63382", FRAMING) {
    BEGIN;
#define ABC "3\r\nabc\r\n0\r\n\r\n"
    TRY("codings and length", POST "Transfer-Encoding: chunked\r\nContent-Length: 3\r\n\r\n" ABC);
    TRY("length and codings", POST "Content-Length: 3\r\nTransfer-Encoding: chunked\r\n\r\n" ABC);
    TRY("length and gzip", POST "Content-Length: 3\r\nTransfer-Encoding: gzip\r\n\r\nabc");
    TRY("gzip, chunked", POST "Transfer-Encoding: gzip, chunked\r\n\r\n" ABC);
    TRY("chunked, gzip", POST "Transfer-Encoding: chunked, gzip\r\n\r\n" ABC);
    TRY("chunked twice", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: chunked\r\n\r\n" ABC);
    TRY("chunked, chunked", POST "Transfer-Encoding: chunked, chunked\r\n\r\n" ABC);
    TRY("gzip and chunked", POST "Transfer-Encoding: gzip\r\nTransfer-Encoding: chunked\r\n\r\n" ABC);
    TRY("chunked and identity", POST "Transfer-Encoding: chunked\r\nTransfer-Encoding: identity\r\n\r\n" ABC);
    TRY("chunked;q=1", POST "Transfer-Encoding: chunked;q=1\r\n\r\n" ABC);
    END;
}

CASE_DIFFERS(http_hostile_trailers, "CVE-2026-63379", "what follows the chunks is no header") {
    BEGIN;
#define CHUNKED POST "Transfer-Encoding: chunked\r\n\r\n"
    TRY("header", CHUNKED "3\r\nabc\r\n0\r\nX-Admin: yes\r\n\r\n");
    TRY("length", CHUNKED "3\r\nabc\r\n0\r\nContent-Length: 3\r\n\r\n");
    TRY("fold", CHUNKED "3\r\nabc\r\n0\r\n X: y\r\n\r\n");
    TRY("no colon", CHUNKED "3\r\nabc\r\n0\r\nX\r\n\r\n");
    END;
}

CASE_DIFFERS(http_hostile_lengths, "K", FRAMING) {
    BEGIN;
    TRY("two", POST "Content-Length: 3\r\nContent-Length: 5\r\n\r\nabcde");
    TRY("equal lengths", POST "Content-Length: 3\r\nContent-Length: 3\r\n\r\nabc");
    TRY("two, one 0", POST "Content-Length: 0\r\nContent-Length: 5\r\n\r\nabcde");
    TRY("+3", POST "Content-Length: +3\r\n\r\nabc");
    TRY("gzip", POST "Transfer-Encoding: gzip\r\n\r\nabc");
    TRY("xchunked", POST "Transfer-Encoding: xchunked\r\n\r\n" ABC);
    TRY("HTTP/1.0", "POST /p HTTP/1.0\r\nTransfer-Encoding: chunked\r\n\r\n" ABC);
    END;
}

CASE_DIFFERS(http_hostile_chunks, "K", FRAMING) {
    BEGIN;
    TRY("0x3", CHUNKED "0x3\r\nabc\r\n0\r\n\r\n");
    TRY("+3", CHUNKED "+3\r\nabc\r\n0\r\n\r\n");
    TRY("blank", CHUNKED " 3\r\nabc\r\n0\r\n\r\n");
    TRY("-0", CHUNKED "3\r\nabc\r\n-0\r\n\r\n");
    TRY("lf behind the data", CHUNKED "3\r\nabc\n0\r\n\r\n");
    TRY("nothing behind the data", CHUNKED "3\r\nabc0\r\n\r\n");
    TRY("empty lines", CHUNKED "\r\n\r\n3\r\nabc\r\n0\r\n\r\n");
    TRY("extension", CHUNKED "3;a=b\r\nabc\r\n0\r\n\r\n");
    TRY("none", CHUNKED "hello\r\nabc\r\n0\r\n\r\n");
    TRY("-1", CHUNKED "-1\r\nabc\r\n0\r\n\r\n");
    END;
}

CASE_DIFFERS(http_hostile_chunk_with_a_bare_lf, "CVE-2026-63382", FRAMING) {
    BEGIN;
    TRY("lf", CHUNKED "3\nabc\r\n0\r\n\r\n");
    END;
}

CASE_DIFFERS(http_hostile_headers, "K", "a name is a token, and a value is on its line") {
    BEGIN;
    TRY("zero byte in a value", GET "X: a\0b\r\n\r\n");
    TRY("no name", GET ": x\r\n\r\n");
    TRY("blank behind a name", GET "X : y\r\n\r\n");
    TRY("blank in a name", GET "X Y: z\r\n\r\n");
    TRY("tab before a value", GET "X:\ty\r\n\r\n");
    TRY("fold", GET "X: a\r\n b\r\n\r\n");
    TRY("two hosts", GET "Host: i\r\n\r\n");
    TRY("host of several parts", "GET /g HTTP/1.1\r\nHost: a/b c\r\n\r\n");
    END;
}

CASE_DIFFERS(http_hostile_first_lines, "K", "HTTP/1.0 and HTTP/1.1, and no blanks but two") {
    BEGIN;
    TRY("HTTP/1.2", "GET /g HTTP/1.2\r\nHost: h\r\n\r\n");
    TRY("HTTP/1.4294967297", "GET /g HTTP/1.4294967297\r\nHost: h\r\n\r\n");
    TRY("blank in the target", "GET /g h HTTP/1.1\r\nHost: h\r\n\r\n");
    TRY("blank first", " " GET "\r\n");
    TRY("tab first", "\t" GET "\r\n");
    END;
}

/* What is odd, and taken for what is meant. */
CASE(http_odd_and_taken) {
    BEGIN;
    TRY("lf only", "GET /g HTTP/1.1\nHost: h\n\n");
    TRY("no host", "GET /g HTTP/1.1\r\n\r\n");
    TRY("octets in the target", "GET /\xc3\xa4 HTTP/1.1\r\nHost: h\r\n\r\n");
    TRY("fragment", "GET /g#f HTTP/1.1\r\nHost: h\r\n\r\n");
    END;
}
