/* event2/http.h: URIs. */
#include "http.h"

static void show_all(const char *const *texts, size_t count, unsigned flags) {
    for (size_t i = 0; i < count; i++) {
        step("");
        token_text(texts[i]);
        struct evhttp_uri *uri = evhttp_uri_parse_with_flags(texts[i], flags);
        token_uri(uri);
        if (uri) evhttp_uri_free(uri);
    }
    say("that is all");
}

CASE(http_uri_schemes_and_empty_parts) {
    static const char *const texts[] = {
        "", "/", "//", "///", "////", "a", "a:", "a:b", "a:/b", "a://b", "a://b/", "a://", "a:///",
        "a:///p", "1a:b", "a1+-.:b", "a_:b", ":b", "+a:b", "a%41:b", "./a:b", "a/b:c", "a?b:c",
        "a#b:c", "http:", "http:/", "http:?", "http:#", "?", "#", "?#", "??", "##", "#a#b", "?a?b",
        "?a#b?c",
    };
    show_all(texts, COUNT(texts), 0);
}

CASE(http_uri_authorities) {
    static const char *const texts[] = {
        "http://h", "http://h:", "http://h:/", "http://h:0", "http://h:80", "http://h:65535",
        "http://h:65536", "http://h:99999", "http://h:2147483647", "http://h:2147483648",
        "http://h:4294967295", "http://h:4294967296", "http://h:4294967376",
        "http://h:18446744073709551616", "http://h:-1", "http://h:+1", "http://h: 1",
        "http://h:1a", "http://h:080", "http://h:00000000000000000080", "http://h:8:9",
        "http://h:a", "http://:80", "http://:", "http://u@:80", "http://@", "http://@h",
        "http://u@h", "http://u:p@h:1", "http://:@h", "http://u@v@h", "http://u%40v@h",
        "http://u%4@h", "http://u%zz@h", "http://u%@h", "http://u/@h", "http://u[@h",
        "http://u!$&'()*+,;=@h", "http://u\"@h",
        "//h:0000000000000000000000000000000000000000000000000000000000000000001", "//h:065536",
        "//u@", "//@", "//@:", "//u:@h", "//u:1@h", "//a@b:c@d", "//:1", "//a:1:", "//a::1",
        "//h%3a1", "//u@[::1]", "//u%@[::1]", "//[::1]@h", "//[::1]:1@h", "//u@h@",
    };
    show_all(texts, COUNT(texts), 0);
}

CASE(http_uri_addresses_of_ipv6) {
    static const char *const texts[] = {
        "http://[::1]", "http://[::1]:80/x", "http://[::1", "http://::1]", "http://::1",
        "http://[]", "http://[:]", "http://[::]", "http://[1:2:3:4:5:6:7:8]",
        "http://[1:2:3:4:5:6:7:8:9]", "http://[::1%25eth0]", "http://[::1%eth0]",
        "http://[fe80::1%25lo]:1", "http://[::ffff:1.2.3.4]", "http://[1.2.3.4]", "http://[v1.x]",
        "http://[V1.x]", "http://[vA.x:y]", "http://[v.x]", "http://[v1.]", "http://[v1x]",
        "http://[v1g.x]", "http://[vg.x]", "http://[v1.x/]", "http://[v1.%41]", "http://[v1.x@]",
        "http://[::1]x", "http://[::1]:", "http://[::1]:x", "http://x[::1]", "http://u@[::1]:5/",
        "http://[::g]", "http://[12345::]", "http://[::1]]", "http://[[::1]]", "//[1::2::3]",
        "//[::1.2.3]", "//[::1.2.3.256]", "//[1:2:3:4:5:6:7::]", "//[::2:3:4:5:6:7:8]",
        "//[1:2:3:4:5:6:7:8::]", "//[::1:2:3:4:5:6:7:8]", "//[1::3:4:5:6:7:8]",
        "//[1:2:3:4:5:6:1.2.3.4]", "//[1:2:3:4:5:6:7:1.2.3.4]", "//[::00001]", "//[0001::]",
        "//[:1::2]", "//[1:::2]", "//[1:]", "//[AbCd::eF]", "//[::1.2.3.4:5]", "//[1.2.3.4::]",
        "//[ ::1]", "//[::1 ]", "//[1:2:3:4:5:6:7]", "//[::+1]", "//[::1.2.3.4.5]", "//[::1..2.3]",
        "//[1234:1234:1234:1234:1234:1234:123.123.123.123]",
        "//[00001234:1234:1234:1234:1234:1234:1234:1234]",
        "//[v1.aaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaaa]",
        "//[v123456789abcdefABCDEF.x]", "//[v1.a%]", "//[v1.a[]", "//[::1.2.3.4%25a]",
        "//[::ffff:999.0.0.1]", "//[::1.2.3.-4]", "//[::1.2.3.4x]", "//[1:2:3:4::5:6:7:8]",
        "//[::1.2.3.4 ]",
    };
    show_all(texts, COUNT(texts), 0);
}

CASE_DIFFERS(http_uri_addresses_that_are_none, "K",
    "what RFC 3986 does not know as an address is no host") {
    static const char *const texts[] = {
        "//[::1:]", "//[0:0:0:0:0:0:0:0:]", "//[::0x1]", "//[::1.2.3.+4]", "//[::1.02.3.4]",
        "//[::ffff:01.2.3.4]", "//[::000.0.0.0]",
    };
    show_all(texts, COUNT(texts), 0);
}

CASE(http_uri_hosts) {
    static const char *const texts[] = {
        "http://1.2.3.4:5", "http://999.1.1.1", "http://a..b", "http://a_b", "http://-a-",
        "http://a%41", "http://a%4", "http://a%", "http://a%zz", "http://a%00b", "http://a b",
        "http://a\tb", "http://\xc3\xa4", "http://a!$&'()*+,;=~", "http://a<", "http://a\"",
        "http://a|b", "http://a\\b", "http://a^b", "http://a`b", "http://a{b}", "http://a]b",
        "http://h?q", "http://h#f", "http://h?", "http://h#", "http://h/?", "http://h/#",
        "http://h:80?q", "http://h:80#f",
    };
    show_all(texts, COUNT(texts), 0);
}

CASE(http_uri_odd_characters) {
    static const char *const texts[] = {
        "/a b", "/a\tb", "/a\nb", "/a\rb", "/a\x01", "/a\x7f", "/a\x80", "/\xc3\xa4", "/a%20b",
        "/a%2", "/a%", "/a%gg", "/a%00", "/a<b", "/a>b", "/a\"b", "/a{b", "/a|b", "/a\\b", "/a^b",
        "/a`b", "/a[b]", "/a:b@c", "/a!$&'()*+,;=b", "/a//b", "/a/../b", "?a b", "?a<b", "?a[b",
        "?a%", "?a%zz", "?a%41", "?a/b?c:d@e", "?a\x80", "?a|b", "#a b", "#a%", "#a[", "#a#",
        "#/?:@", "#\x80", "a b", "a%", "a[b", "a<",
    };
    show_all(texts, COUNT(texts), 0);
}

CASE(http_uri_odd_characters_with_leave) {
    static const char *const texts[] = {
        "/a b", "/a\tb", "/a\nb", "/a\rb", "/a\x01", "/a\x7f", "/a\x80", "/\xc3\xa4", "/a%20b",
        "/a%2", "/a%", "/a%gg", "/a%00", "/a<b", "/a>b", "/a\"b", "/a{b", "/a|b", "/a\\b", "/a^b",
        "/a`b", "/a[b]", "/a:b@c", "/a!$&'()*+,;=b", "/a//b", "/a/../b", "?a b", "?a<b", "?a[b",
        "?a%", "?a%zz", "?a%41", "?a/b?c:d@e", "?a\x80", "?a|b", "#a b", "#a%", "#a[", "#a#",
        "#/?:@", "#\x80", "a b", "a%", "a[b", "a<", "##", "#a#b", "?x#y#z", "/a?b c#d e", "x y",
        "x y:z", "h t:z", "http://a b/c d", "http://u %@h/", "http://h:1x/", "\x01",
    };
    show_all(texts, COUNT(texts), EVHTTP_URI_NONCONFORMANT);
}

CASE(http_uri_references) {
    static const char *const texts[] = {
        "//h", "//h/p", "//h:1", "//h:1/p", "//u@h:1/p?q#f", "//h:", "//[::1]", "//a b",
        "ftp://ftp.is.co.za/rfc/rfc1808.txt", "http://www.ietf.org/rfc/rfc2396.txt",
        "ldap://[2001:db8::7]/c=GB?objectClass?one", "mailto:John.Doe@example.com",
        "news:comp.infosystems.www.servers.unix", "tel:+1-816-555-1212", "telnet://192.0.2.16:80/",
        "urn:oasis:names:specification:docbook:dtd:xml:4.1.2",
        "foo://example.com:8042/over/there?name=ferret#nose", "urn:example:animal:ferret:nose",
        "http://a/b/c/d;p?q", "g:h", "g", "./g", "g/", "/g", "//g", "?y", "g?y", "#s", "g#s",
        "g?y#s", ";x", "g;x", "g;x?y#s", ".", "./", "..", "../", "../g", "../..", "../../",
        "../../g", "HTTP://EXAMPLE.com/%7euser", "*", "host:80", "host.com:443", "1.2.3.4:80",
        "[::1]:80", "user@host", "javascript:alert(1)", "file:///etc/motd", "http:path",
        "http:path?q#f", "http://h/p?q=1&r=2#x",
    };
    show_all(texts, COUNT(texts), 0);
}

CASE(http_uri_other_flags) {
    static const char *const texts[] = {"/a%", "/a"};
    show_all(texts, COUNT(texts), 2);
    show_all(texts, COUNT(texts), 3);
    struct evhttp_uri *uri = evhttp_uri_parse("http://h/p?q#f");
    step("");
    token_uri(uri);
    evhttp_uri_free(uri);
    CHECK(!evhttp_uri_parse("/a%"));
    CHECK(!evhttp_uri_parse(NULL) && !evhttp_uri_parse_with_flags(NULL, 0));
    say("that is all");
}

CASE_DIFFERS(http_uri_free_of_nothing, "memory safety", "nothing is freed, instead of a crash") {
    evhttp_uri_free(NULL);
    say("nothing");
}

typedef int setter(struct evhttp_uri *, const char *);

/* Sets one part to each text, after a good one, so that it shows what a bad one leaves. */
static void set_all(struct evhttp_uri *uri, const char *name, setter *set,
    const char *const *texts, size_t count) {
    for (size_t i = 0; i < count; i++) {
        step(name);
        token_text(texts[i]);
        token("%d", set(uri, texts[i]));
        token_uri(uri);
    }
    say("%d", set(uri, NULL));
}

CASE(http_uri_set_parts_of_an_authority) {
    static const char *const schemes[] = {
        NULL, "", "a", "1a", "a:", "a/", "A+-.9", "a%41", "a b", "\xff",
    };
    static const char *const users[] = {
        NULL, "", "a", "a:b", "a@b", "a%40", "a%4", "a%zz", "a/b", "a b", "[",
        "!$&'()*+,;=:-._~", "\xff", "?",
    };
    static const char *const hosts[] = {
        NULL, "", "h", "h:80", "1.2.3.4", "[::1]", "::1", "[::1]:80", "[v1.a]", "[::1", "a b",
        "a%41", "a%4", "a@b", "a/b", "[]", "[1.2.3.4]", "a_b", "[::1%25lo]", "?", "#", "[::1]x",
        "\xff",
    };
    struct evhttp_uri *uri = evhttp_uri_new();
    step("new");
    token_uri(uri);
    set_all(uri, "scheme", evhttp_uri_set_scheme, schemes, COUNT(schemes));
    set_all(uri, "userinfo", evhttp_uri_set_userinfo, users, COUNT(users));
    set_all(uri, "host", evhttp_uri_set_host, hosts, COUNT(hosts));
    CHECK(evhttp_uri_set_host(uri, "h") == 0);
    set_all(uri, "userinfo", evhttp_uri_set_userinfo, users, COUNT(users));
    evhttp_uri_free(uri);
}

CASE(http_uri_set_port) {
    static const int ports[] = {-1, 0, 1, 80, 65535, 65536, 100000, INT32_MAX, -2, INT32_MIN};
    struct evhttp_uri *uri = evhttp_uri_new();
    for (int host = 0; host < 2; host++) {
        CHECK(evhttp_uri_set_host(uri, host ? "h" : NULL) == 0);
        for (size_t i = 0; i < COUNT(ports); i++) {
            step("port");
            token("%d %d", ports[i], evhttp_uri_set_port(uri, ports[i]));
            token_uri(uri);
        }
    }
    say("that is all");
    evhttp_uri_free(uri);
}

CASE(http_uri_set_parts_behind_the_host) {
    static const char *const paths[] = {
        NULL, "", "/", "a", "a/b", "//", "//a", "/a?b", "/a#b", "/a b", "/a%41", "/a%", "/a[",
        "a:b", "\xff", "?", "#", "*", "/:@!$&'()*+,;=-._~", "a\\b",
    };
    static const char *const texts[] = {
        NULL, "", "a", "a?b", "a#b", "a/b:@", "a b", "a%41", "a%", "a[", "\xff", "#",
    };
    struct evhttp_uri *uri = evhttp_uri_new();
    for (unsigned flags = 0; flags < 3; flags++) {
        evhttp_uri_set_flags(uri, flags);
        set_all(uri, "path", evhttp_uri_set_path, paths, COUNT(paths));
        set_all(uri, "query", evhttp_uri_set_query, texts, COUNT(texts));
        set_all(uri, "fragment", evhttp_uri_set_fragment, texts, COUNT(texts));
    }
    evhttp_uri_free(uri);
}

CASE(http_uri_join_all_kinds_of_parts) {
    static const char *const paths[] = {"//x", "/x", "x:y", "a/b:c", "", NULL};
    struct evhttp_uri *uri = evhttp_uri_new();
    for (int parts = 0; parts < 16; parts++)
        for (size_t i = 0; i < COUNT(paths); i++) {
            CHECK(evhttp_uri_set_scheme(uri, parts & 1 ? "s" : NULL) == 0);
            CHECK(evhttp_uri_set_userinfo(uri, parts & 2 ? "u" : NULL) == 0);
            CHECK(evhttp_uri_set_host(uri, parts & 4 ? "h" : NULL) == 0);
            CHECK(evhttp_uri_set_port(uri, parts & 8 ? 7 : -1) == 0);
            CHECK(evhttp_uri_set_path(uri, paths[i]) == 0);
            CHECK(evhttp_uri_set_query(uri, i % 2 ? "q" : NULL) == 0);
            CHECK(evhttp_uri_set_fragment(uri, parts % 3 ? "f" : NULL) == 0);
            step("");
            token_uri(uri);
        }
    CHECK(evhttp_uri_set_host(uri, "") == 0);
    step("");
    token_uri(uri);
    say("that is all");
    evhttp_uri_free(uri);
}

CASE(http_uri_join_needs_room) {
    struct evhttp_uri *uri = evhttp_uri_parse("http://h/p?q#f");
    char room[32];
    for (size_t limit = 0; limit < 18; limit++) {
        memset(room, 'X', sizeof room);
        room[sizeof room - 1] = 0;
        bool joined = evhttp_uri_join(uri, room, limit) == room;
        say("%zu: %s %s", limit, joined ? "joined" : "no", room);
    }
    CHECK(evhttp_uri_join(uri, room, SIZE_MAX) == room);
    CHECK(!evhttp_uri_join(uri, NULL, 0) && !evhttp_uri_join(uri, NULL, 100));
    CHECK(!evhttp_uri_join(NULL, room, sizeof room));
    evhttp_uri_free(uri);
}
