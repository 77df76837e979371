/* resolv.conf and hosts files. */
#include "dns.h"

/* A resolver that has read `content`, and what it has become. */
static struct evdns_base *with_file(struct event_base *base, int flags, const char *content) {
    char path[64];
    struct evdns_base *dns = evdns_base_new(base, 0);
    CHECK(dns);
    write_file(path, content);
    say("parse %d", evdns_base_resolv_conf_parse(dns, flags, path));
    unlink(path);
    struct sockaddr_storage ss;
    int count = evdns_base_count_nameservers(dns);
    for (int i = 0; i < count; i++) {
        CHECK(evdns_base_get_nameserver_addr(dns, i, (struct sockaddr *)&ss, sizeof ss) > 0);
        say("  server %s", address_text((struct sockaddr *)&ss));
    }
    return dns;
}

static void show_file(const char *what, int flags, const char *content) {
    struct event_base *base = new_base();
    say("%s", what);
    evdns_base_free(with_file(base, flags, content), 0);
    event_base_free(base);
}

CASE(dns_file_with_servers) {
    show_file("two", DNS_OPTIONS_ALL, "nameserver 192.0.2.1\nnameserver 2001:db8::1\n");
    show_file("not asked for", DNS_OPTION_SEARCH, "nameserver 192.0.2.1\n");
    show_file("no line end", DNS_OPTIONS_ALL, "nameserver 192.0.2.1");
    show_file("blanks", DNS_OPTIONS_ALL,
              "  \t nameserver \t 192.0.2.1  \n\n\tnameserver\t192.0.2.2\t\n");
    show_file("comments", DNS_OPTIONS_ALL,
              "# nameserver 192.0.2.9\n; nameserver 192.0.2.8\nnameserver 192.0.2.1 # "
              "one\nnameserver 192.0.2.2;two\n");
    show_file("carriage returns", DNS_OPTIONS_ALL,
              "nameserver 192.0.2.1\r\nnameserver 192.0.2.2\r\n");
    show_file("the same twice", DNS_OPTIONS_ALL, "nameserver 192.0.2.1\nnameserver 192.0.2.1\n");
    show_file("two on a line", DNS_OPTIONS_ALL, "nameserver 192.0.2.1 192.0.2.2\n");
    show_file("ports", DNS_OPTIONS_ALL,
              "nameserver 192.0.2.1:5353\nnameserver [2001:db8::1]:5353\n");
    show_file("scope", DNS_OPTIONS_ALL, "nameserver fe80::1%lo\n");
    show_file("bad and good", DNS_OPTIONS_ALL,
              "nameserver nonsense\nnameserver\nnameserver 192.0.2.1\n");
    show_file("capitals", DNS_OPTIONS_ALL, "NAMESERVER 192.0.2.1\n");
    show_file("other words", DNS_OPTIONS_ALL,
              "sortlist 1.2.3.4\nlookup file bind\nnonsense\nnameserver 192.0.2.1\n");
}

CASE(dns_file_without_servers) {
    show_file("empty", DNS_OPTIONS_ALL, "");
    show_file("empty, no default", DNS_OPTIONS_ALL | DNS_OPTION_NAMESERVERS_NO_DEFAULT, "");
    show_file("none", DNS_OPTIONS_ALL, "search test\n");
    show_file("none, no default", DNS_OPTIONS_ALL | DNS_OPTION_NAMESERVERS_NO_DEFAULT,
              "search test\n");
    show_file("bad", DNS_OPTIONS_ALL, "nameserver nonsense\n");
    show_file("no flags", 0, "nameserver 192.0.2.1\n");
}

CASE(dns_file_that_cannot_be_read) {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    say("missing %d",
        evdns_base_resolv_conf_parse(dns, DNS_OPTIONS_ALL, "/nonexistent/resolv.conf"));
    say("%d servers", evdns_base_count_nameservers(dns));
    evdns_base_free(dns, 0);
    dns = evdns_base_new(base, 0);
    say("missing, no default %d",
        evdns_base_resolv_conf_parse(dns, DNS_OPTIONS_ALL | DNS_OPTION_NAMESERVERS_NO_DEFAULT,
                                     "/nonexistent/resolv.conf"));
    say("%d servers", evdns_base_count_nameservers(dns));
    evdns_base_free(dns, 0);
    dns = evdns_base_new(base, 0);
    say("a folder %d", evdns_base_resolv_conf_parse(dns, DNS_OPTIONS_ALL, "/"));
    say("%d servers", evdns_base_count_nameservers(dns));
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE(dns_file_that_is_too_large) {
    enum { SIZE = 70000 };
    char *content = malloc(SIZE + 1);
    memset(content, '#', SIZE);
    memcpy(content + SIZE - 30, "\nnameserver 192.0.2.1\n", 22);
    content[SIZE] = '\0';
    show_file("70,000 bytes", DNS_OPTIONS_ALL, content);
    free(content);
}

/* Asks for "nobody" the way the file says. */
static void search_with(const char *what, int flags, const char *content) {
    struct names n;
    open_names(&n);
    evdns_base_free(n.dns, 0);
    say("%s", what);
    n.dns = with_file(n.base, flags, content);
    CHECK(evdns_base_clear_nameservers_and_suspend(n.dns) == 0);
    CHECK(evdns_base_nameserver_ip_add(n.dns, n.server.text) == 0);
    CHECK(evdns_base_resume(n.dns) == 0);
    ask4(&n, "nobody");
    close_names(&n);
}

CASE(dns_file_with_a_search_list) {
    enum { FLAGS = DNS_OPTION_SEARCH | DNS_OPTION_MISC };
    search_with("search", FLAGS, "search a.test b.test\tc.test\n");
    search_with("domain", FLAGS, "domain a.test\n");
    search_with("domain of two", FLAGS, "domain a.test b.test\n");
    search_with("two searches", FLAGS, "search a.test\nsearch b.test\n");
    search_with("search, domain", FLAGS, "search a.test\ndomain b.test\n");
    search_with("domain, search", FLAGS, "domain b.test\nsearch a.test c.test\n");
    search_with("comment", FLAGS, "search a.test # b.test\n");
    search_with("not asked for", DNS_OPTION_MISC, "search a.test\n");
    search_with("nothing", FLAGS, "search\n");
}

CASE(dns_file_with_odd_search_lists) {
    enum { FLAGS = DNS_OPTION_SEARCH | DNS_OPTION_MISC };
    char text[1200], *end = text;
    search_with("line ends", FLAGS, "search a.test b.test\r\n");
    search_with("domain and line end", FLAGS, "domain a.test\r\n");
    search_with("domain of nothing", FLAGS, "search a.test\ndomain\n");
    search_with("capitals", FLAGS, "SEARCH a.test\n");
    search_with("a blank first", FLAGS, "  search a.test");
    search_with("another blank", FLAGS, "search a.test\vb.test\n");
    search_with("only options", FLAGS, "options ndots:0\n");
    search_with("options twice", FLAGS, "search a.test\noptions ndots:0\noptions ndots:1\n");
    end += sprintf(end, "search");
    for (int i = 0; i < 100; i++)
        end += sprintf(end, " d%d.test", i);
    search_with("100 domains", FLAGS, text);
}

CASE_DIFFERS(dns_file_with_ndots_before_the_search_list, "K",
             "the order of the lines does not matter: ndots stays when a search line follows") {
    search_with("ndots first", DNS_OPTION_SEARCH, "options ndots:0\nsearch a.test\n");
}

CASE(dns_file_with_odd_numbers) {
    static const char *const options[] = {
        "ndots", "ndots:", "ndots:x", "ndots:-1", "ndots:+0", "ndots: 0", "ndots:0x0", "ndots:00", "ndots:-0",
        "ndots:99999999999", "ndots=0", "Ndots:0", "ndots:0:1", "ndotsx:0", "ndots:0,", "ndots:0\r", "ndots:2\r",
        "ndots:1 ndots:0",
    };
    for (size_t i = 0; i < sizeof options / sizeof *options; i++) {
        char text[100];
        snprintf(text, sizeof text, "search a.test\noptions %s\n", options[i]);
        search_with(options[i], DNS_OPTION_SEARCH, text);
    }
}

CASE(dns_file_with_options) {
    enum { FLAGS = DNS_OPTION_SEARCH | DNS_OPTION_MISC };
    search_with("ndots 0", FLAGS, "search a.test\noptions ndots:0\n");
    search_with("ndots, not asked for", DNS_OPTION_MISC, "search a.test\noptions ndots:0\n");
    search_with("several", FLAGS, "search a.test\noptions timeout:1 rotate  ndots:0 attempts:1\n");
    search_with("comment", FLAGS, "search a.test\noptions timeout:1 # ndots:0\n");
    search_with("nonsense", FLAGS,
                "search a.test\noptions ndots ndots: ndots:x trust-ad edns0\noptions\n");
}

CASE(dns_file_with_odd_lines) {
    char *text = malloc(70000), *end = text;
    CHECK(text);
    show_file("other blanks", DNS_OPTIONS_ALL, "nameserver\v192.0.2.1\nnameserver\f192.0.2.2\n");
    show_file("glued", DNS_OPTIONS_ALL,
              "nameservers 192.0.2.1\nnameserver192.0.2.2\nnameserver 192.0.2.3#c\n");
    show_file("ports", DNS_OPTIONS_ALL,
              "nameserver 192.0.2.1:0\nnameserver 192.0.2.2:65536\nnameserver [::1]:0\n");
    show_file("one with two ports", DNS_OPTIONS_ALL,
              "nameserver 192.0.2.1\nnameserver 192.0.2.1:53\nnameserver 192.0.2.1:54\n");
    show_file("any", DNS_OPTIONS_ALL, "nameserver 0.0.0.0\nnameserver ::\n");
    show_file("a mark first", DNS_OPTIONS_ALL,
              "\xef\xbb\xbfnameserver 192.0.2.1\nnameserver 192.0.2.2\n");
    show_file("unknown flag", 32, "nameserver 192.0.2.1\n");
    for (int i = 0; i < 300; i++)
        end += sprintf(end, "nameserver 127.1.%d.%d\n", i / 250, i % 250 + 1);
    show_file("300 servers", DNS_OPTIONS_ALL, text);
    memset(text, 'x', 65000);
    strcpy(text + 65000, "\nnameserver 192.0.2.1\n");
    show_file("a long word", DNS_OPTIONS_ALL, text);
    memcpy(text, "options ", 8);
    show_file("a long option", DNS_OPTIONS_ALL, text);
    memcpy(text, "search  ", 8);
    show_file("a long domain", DNS_OPTIONS_ALL, text);
    free(text);
}

static void show_path(const char *path, int flags) {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 0);
    int result = evdns_base_resolv_conf_parse(dns, flags, path);
    say("%.20s %d: %d, servers %d", path, flags, result, evdns_base_count_nameservers(dns));
    say("  hosts %d", evdns_base_load_hosts(dns, path));
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE(dns_files_that_are_none) {
    static const int flags[] = {DNS_OPTIONS_ALL, DNS_OPTIONS_ALL | DNS_OPTION_NAMESERVERS_NO_DEFAULT,
                                DNS_OPTION_SEARCH, DNS_OPTION_NAMESERVERS, 0};
    char long_path[6000];
    memset(long_path, 'a', sizeof long_path - 1);
    long_path[0] = '/';
    long_path[sizeof long_path - 1] = '\0';
    for (size_t i = 0; i < sizeof flags / sizeof *flags; i++) {
        show_path("/nonexistent/file", flags[i]);
        show_path("/", flags[i]);
        show_path("", flags[i]);
        show_path("/dev/null", flags[i]);
        show_path("/dev/null/file", flags[i]);
        show_path(long_path, flags[i]);
    }
}

CASE(dns_base_that_reads_the_systems_file) {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, EVDNS_BASE_INITIALIZE_NAMESERVERS);
    say("made %d", dns != NULL);
    if (dns)
        say("servers %d", evdns_base_count_nameservers(dns) > 0);
    evdns_base_free(dns, 0);
    dns = evdns_base_new(base, 1);
    CHECK(dns);
    evdns_base_free(dns, 0);
    event_base_free(base);
}

CASE(dns_base_with_bad_flags) {
    struct event_base *base = new_base();
    struct evdns_base *dns = evdns_base_new(base, 2);
    say("2: %d", dns != NULL);
    if (dns)
        evdns_base_free(dns, 0);
    dns = evdns_base_new(base, EVDNS_BASE_NAMESERVERS_NO_DEFAULT);
    say("no default: %d", dns != NULL);
    if (dns)
        evdns_base_free(dns, 0);
    event_base_free(base);
}

/* ---- Hosts files ---- */

static void find(struct names *n, const char *name, int family) {
    struct answer answer = {.name = name};
    struct evutil_addrinfo hints = {.ai_family = family, .ai_socktype = SOCK_STREAM};
    struct evdns_getaddrinfo_request *request =
        evdns_getaddrinfo(n->dns, name, "80", &hints, on_addresses, &answer);
    say("%s", request ? "asks" : "knows");
    run_until_answer(n->base, &answer);
}

static void load(struct evdns_base *dns, const char *content) {
    char path[64];
    write_file(path, content);
    say("load %d", evdns_base_load_hosts(dns, path));
    unlink(path);
}

CASE(dns_hosts) {
    struct names n;
    open_names(&n);
    load(n.dns, "192.0.2.10 one.test uno.test\n2001:db8::10\tone.test\n192.0.2.11 one.test\n# "
                "192.0.2.12 no.test\n192.0.2.13 two.test # three.test\nnonsense "
                "four.test\n192.0.2.14\n\n  192.0.2.15   five.test  \r\n192.0.2.16 LARGE.test");
    find(&n, "one.test", AF_UNSPEC);
    find(&n, "uno.test", AF_UNSPEC);
    find(&n, "one.test", AF_INET);
    find(&n, "one.test", AF_INET6);
    find(&n, "ONE.Test", AF_INET);
    find(&n, "no.test", AF_INET);
    find(&n, "two.test", AF_INET);
    find(&n, "three.test", AF_INET);
    find(&n, "four.test", AF_INET);
    find(&n, "five.test", AF_INET);
    find(&n, "large.test", AF_INET);
    close_names(&n);
}

static void find_with_scope(struct names *n, const char *name) {
    struct answer answer = {.name = name};
    struct evutil_addrinfo hints = {.ai_socktype = SOCK_STREAM};
    evdns_getaddrinfo(n->dns, name, "80", &hints, on_scoped_addresses, &answer);
    run_until_answer(n->base, &answer);
}

CASE(dns_hosts_with_scopes) {
    static const char *const names[] = {"lo.test", "three.test", "four.test", "five.test",
                                        "six.test", "seven.test", "eight.test"};
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    load(n.dns, "fe80::1%lo lo.test\n[fe80::3%1] three.test\nfe80::4%nosuch four.test\nfe80::5% "
                "five.test\nfe80::6%77777 six.test\n[fe80::7%lo]:80 seven.test\n10.0.0.1%lo "
                "eight.test\nfe80::1%2 lo.test\nfe80::1 lo.test\n");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        find_with_scope(&n, names[i]);
    close_names(&n);
}

CASE(dns_hosts_with_odd_lines) {
    static const char *const names[] = {"a.test", "b.test", "c.test", "d.test", "e.test", "f.test", "g.test",
                                        "h.test", "i.test", "j.test", "k.test", "l.test", "m.test", "n.test",
                                        "o.test", "p.test", "d_e", "-", "f/g", "\xc3\xa9.test", "#q.test"};
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    load(n.dns, "127.1 a.test\n0x7f.0.0.1 b.test\n01.02.03.04 c.test\n1.2.3.4:0 d.test\n1.2.3.4:80 "
                "e.test\n[1.2.3.4] f.test\n[::1]x g.test\n[::1]:80 h.test\n::01.2.3.4 i.test\n+1.2.3.4 "
                "j.test\n1.2.3.4: k.test\n1.2.3.4x l.test\n1.2.3.4\vm.test\n1.2.3.4\fn.test\n"
                "\t1.2.3.4\t\to.test\t \n \t \n1.2.3.4#p p.test\n1.2.3.5 d_e - f/g \xc3\xa9.test #q.test");
    for (size_t i = 0; i < sizeof names / sizeof *names; i++)
        find_with_scope(&n, names[i]);
    close_names(&n);
}

CASE(dns_hosts_of_a_large_file) {
    enum { ALIASES = 2000, LINES = 20000 };
    char *text = malloc((ALIASES + LINES) * 40), *end = text;
    struct names n;
    CHECK(text);
    open_names(&n);
    end += sprintf(end, "192.0.2.1");
    for (int i = 0; i < ALIASES; i++)
        end += sprintf(end, " a%d.test", i);
    for (int i = 0; i < LINES; i++)
        end += sprintf(end, "\n10.0.%d.%d n%d.test", i / 250, i % 250 + 1, i);
    load(n.dns, text);
    find(&n, "a0.test", AF_INET);
    find(&n, "a1999.test", AF_INET);
    find(&n, "a2000.test", AF_INET);
    find(&n, "n0.test", AF_INET);
    find(&n, "n19999.test", AF_INET);
    close_names(&n);
    free(text);
}

CASE_DIFFERS(dns_hosts_with_line_ends_and_repetitions, "K",
             "a line's CR is not part of its last name, and an address of a name is given once") {
    struct names n;
    open_names(&n);
    load(n.dns, "192.0.2.1 a.test\r\n192.0.2.2 b.test c.test\r\n192.0.2.2 b.test B.test\r\n");
    find(&n, "a.test", AF_INET);
    find(&n, "b.test", AF_INET);
    find(&n, "c.test", AF_INET);
    close_names(&n);
}

CASE(dns_hosts_are_for_addresses_only) {
    struct names n;
    open_names(&n);
    load(n.dns, "192.0.2.10 one.test\n");
    ask4(&n, "one.test");
    close_names(&n);
}

CASE(dns_hosts_add_up_until_they_are_cleared) {
    struct names n;
    open_names(&n);
    load(n.dns, "192.0.2.10 one.test\n");
    load(n.dns, "192.0.2.11 one.test\n192.0.2.12 two.test\n");
    find(&n, "one.test", AF_INET);
    find(&n, "two.test", AF_INET);
    evdns_base_clear_host_addresses(n.dns);
    find(&n, "one.test", AF_INET);
    evdns_base_clear_host_addresses(n.dns);
    close_names(&n);
}

CASE(dns_hosts_without_a_file) {
    struct names n;
    open_names(&n);
    say("null %d", evdns_base_load_hosts(n.dns, NULL));
    find(&n, "localhost", AF_UNSPEC);
    evdns_base_clear_host_addresses(n.dns);
    say("missing %d", evdns_base_load_hosts(n.dns, "/nonexistent/hosts"));
    find(&n, "localhost", AF_UNSPEC);
    evdns_base_clear_host_addresses(n.dns);
    find(&n, "localhost", AF_INET);
    load(n.dns, "");
    find(&n, "localhost", AF_INET);
    close_names(&n);
}

/* libevent #1324 */
CASE_DIFFERS(dns_hosts_without_the_family, "K",
             "a name of the hosts file without an address of the family is asked for") {
    struct names n;
    open_names(&n);
    load(n.dns, "192.0.2.10 one.test\n");
    find(&n, "one.test", AF_INET6);
    close_names(&n);
}

CASE_DIFFERS(dns_hosts_with_a_dot_at_the_end, "K",
             "a name with a dot at its end is the same name in the hosts file") {
    struct names n;
    open_names(&n);
    load(n.dns, "192.0.2.10 one.test\n");
    find(&n, "one.test.", AF_INET);
    close_names(&n);
}

CASE(dns_hosts_with_ports_and_brackets) {
    struct names n;
    open_names(&n);
    load(n.dns, "192.0.2.10:80 port.test\n[2001:db8::1] bracket.test\n");
    find(&n, "port.test", AF_INET);
    find(&n, "bracket.test", AF_INET6);
    close_names(&n);
}
