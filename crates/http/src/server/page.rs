//! The page that says that something went wrong.

use crate::{html, status};

/// The body of an error (`evhttp_send_error`), to be sent as `text/html`. `None` for the usual text.
///
/// Unlike in libevent the reason cannot bring markup with it.
pub fn error_page(code: u16, reason: Option<&[u8]>) -> Vec<u8> {
    let reason = html::escape(reason.unwrap_or(status::reason(code).as_bytes()));
    let code = code.to_string();
    [
        b"<HTML><HEAD>\n<TITLE>",
        code.as_bytes(),
        b" ",
        &reason,
        b"</TITLE>\n</HEAD><BODY>\n<H1>",
        &reason,
        b"</H1>\n</BODY></HTML>\n",
    ]
    .concat()
}
