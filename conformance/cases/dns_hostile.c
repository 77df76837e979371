/* Answers that lie, are broken, or are too long. A resolver goes on waiting for a better one. */
#include "dns.h"

static void ask_a_liar(const char *name) {
    struct names n;
    open_names(&n);
    n.server.quiet = true;
    ask4(&n, name);
    say("asked %d", n.server.queries > 0);
    close_names(&n);
}

CASE(dns_answer_with_a_wrong_id) { ask_a_liar("wrongid.test"); }
CASE_DIFFERS(dns_answer_to_another_question, "K",
             "an answer to another question is no answer: the right one is waited for") {
    ask_a_liar("wrongname.test");
}
CASE_DIFFERS(dns_answer_without_its_question, "K",
             "an answer without its question may be anybody's: the right one is waited for") {
    ask_a_liar("noquestion.test");
}
CASE(dns_answer_that_is_a_question) { ask_a_liar("isquestion.test"); }
CASE(dns_answer_of_eleven_bytes) { ask_a_liar("short.test"); }
CASE_DIFFERS(dns_answer_of_a_head_only, "K",
             "an answer that is cut off in its question is not believed") {
    ask_a_liar("headonly.test");
}
CASE(dns_answer_that_promises_more) { ask_a_liar("counts.test"); }
CASE(dns_answer_past_its_end) { ask_a_liar("pastend.test"); }
CASE(dns_address_of_five_bytes) { ask_a_liar("oddlength.test"); }
CASE(dns_pointer_to_itself) { ask_a_liar("pointerloop.test"); }
CASE(dns_answer_of_another_class) { ask_a_liar("otherclass.test"); }
CASE(dns_answer_of_another_type) { ask_a_liar("othertype.test"); }
CASE(dns_answer_cut_off) { ask_a_liar("cut.test"); }
CASE_DIFFERS(dns_answer_too_big_for_udp, "K",
             "an answer that was cut off is asked for again by TCP") {
    ask_a_liar("big.test");
}
