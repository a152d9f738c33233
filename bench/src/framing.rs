//! Where an HTTP/1.1 message ends in a run of bytes: by its content-length or its last chunk, and nothing more is understood.
//!
//! Deliberately lenient: the raw provider must keep, and the raw client must show, what a real parser would refuse.

/// Where the first message in these bytes ends, if it does.
pub(crate) fn message_end(bytes: &[u8]) -> Option<usize> {
    let head_end = find(bytes, b"\r\n\r\n")? + 4;
    let head = String::from_utf8_lossy(&bytes[..head_end]).to_ascii_lowercase();
    let value_of = |name: &str| head.lines().find_map(|line| line.strip_prefix(name)?.strip_prefix(':').map(str::trim));
    let body_length = if value_of("transfer-encoding").is_some() {
        chunked_length(&bytes[head_end..])?
    } else {
        value_of("content-length").and_then(|length| length.parse().ok()).unwrap_or(0)
    };
    let end = head_end.checked_add(body_length)?;
    (bytes.len() >= end).then_some(end)
}

/// The length of a chunked body with its last line, if it is whole.
fn chunked_length(bytes: &[u8]) -> Option<usize> {
    let mut at = 0;
    loop {
        let line_end = at + find(&bytes[at..], b"\r\n")?;
        let size_text = std::str::from_utf8(&bytes[at..line_end]).ok()?;
        let size = usize::from_str_radix(size_text.split(';').next()?.trim(), 16).ok()?;
        if size == 0 {
            return Some(line_end + 2 + find(&bytes[line_end + 2..], b"\r\n")? + 2);
        }
        at = line_end.checked_add(2)?.checked_add(size)?.checked_add(2).filter(|next| *next <= bytes.len())?;
    }
}

pub(crate) fn find(bytes: &[u8], wanted: &[u8]) -> Option<usize> {
    bytes.windows(wanted.len()).position(|window| window == wanted)
}

#[cfg(test)]
mod tests {
    use super::{chunked_length, message_end};

    #[test]
    fn a_message_ends_where_its_framing_says() {
        let table: [(&[u8], Option<usize>); 6] = [
            (b"GET / HTTP/1.1\r\nhost: a\r\n\r\n", Some(27)),
            (b"GET / HTTP/1.1\r\nhost: a\r\n", None),
            (b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nabc", Some(41)),
            (b"POST / HTTP/1.1\r\ncontent-length: 3\r\n\r\nab", None),
            (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n0\r\n\r\n", Some(60)),
            (b"POST / HTTP/1.1\r\ntransfer-encoding: chunked\r\n\r\n3\r\nabc\r\n", None),
        ];
        for (bytes, end) in table {
            assert_eq!(message_end(bytes), end, "{:?}", String::from_utf8_lossy(bytes));
        }
    }

    #[test]
    fn an_absurd_chunk_size_is_no_end() {
        assert_eq!(chunked_length(b"ffffffffffffffff\r\nabc\r\n"), None);
    }
}
