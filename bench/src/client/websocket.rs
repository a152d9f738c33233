//! As much of the WebSocket protocol as a test says by hand over a [`super::RawConnection`]: the handshake and short text frames.

/// The upgrade request for this target, with further header lines as given, each ending in CR LF.
pub fn upgrade(target: &str, fields: &str) -> Vec<u8> {
    format!(
        "GET {target} HTTP/1.1\r\nhost: gateway\r\nconnection: Upgrade\r\nupgrade: websocket\r\nsec-websocket-version: 13\r\n\
         sec-websocket-key: dGhlIHNhbXBsZSBub25jZQ==\r\n{fields}\r\n"
    )
    .into_bytes()
}

/// A text frame as a client sends it, masked with zeros.
///
/// # Panics
///
/// When the text is longer than the 125 bytes of a short frame.
pub fn client_text(text: &str) -> Vec<u8> {
    [&[0x81, 0x80 | short(text), 0, 0, 0, 0], text.as_bytes()].concat()
}

/// A text frame as a server sends it.
///
/// # Panics
///
/// When the text is longer than the 125 bytes of a short frame.
pub fn server_text(text: &str) -> Vec<u8> {
    [&[0x81, short(text)], text.as_bytes()].concat()
}

fn short(text: &str) -> u8 {
    u8::try_from(text.len()).ok().filter(|length| *length <= 125).expect("at most 125 bytes")
}
