//! Text in HTML.

/// `text` with `&lt;`, `&gt;`, `&quot;`, `&#039;` and `&amp;` for the five characters that mean something in HTML.
/// (libevent: `evhttp_htmlescape`.)
///
/// ```
/// assert_eq!(ferrevent_http::html::escape(b"a<b"), b"a&lt;b");
/// ```
pub fn escape(text: &[u8]) -> Vec<u8> {
    let mut escaped = Vec::with_capacity(text.len());
    for byte in text {
        match byte {
            b'<' => escaped.extend(b"&lt;"),
            b'>' => escaped.extend(b"&gt;"),
            b'"' => escaped.extend(b"&quot;"),
            b'\'' => escaped.extend(b"&#039;"),
            b'&' => escaped.extend(b"&amp;"),
            &byte => escaped.push(byte),
        }
    }
    escaped
}
