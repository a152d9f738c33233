//! The realtime endpoint: a WebSocket that speaks first, as OpenAI's does, and then sends back what it receives.
//!
//! The first frame leaves directly after the 101. A proxy that switches to tunnelling only when it next reads loses it.

use super::record::{Entry, Outcome};
use axum::extract::FromRequestParts;
use axum::extract::ws::{Message, WebSocket, WebSocketUpgrade};
use axum::response::{IntoResponse, Response};
use http::request::Parts;

/// The frame that the provider sends before it has received any.
pub const FIRST_FRAME: &str = r#"{"type":"session.created","event_id":"event_fake","session":{"id":"sess_fake"}}"#;

pub(super) fn is_asked_for(parts: &Parts) -> bool {
    parts.uri.path().ends_with("/realtime")
}

pub(super) async fn answer(parts: &mut Parts, mut entry: Entry) -> Response {
    match WebSocketUpgrade::from_request_parts(parts, &()).await {
        Ok(upgrade) => upgrade.protocols(["realtime"]).on_upgrade(|socket| echo(socket, entry)),
        Err(rejection) => {
            entry.end(Outcome::Answered);
            rejection.into_response()
        }
    }
}

async fn echo(mut socket: WebSocket, mut entry: Entry) {
    if socket.send(Message::text(FIRST_FRAME)).await.is_err() {
        return;
    }
    while let Some(Ok(message)) = socket.recv().await {
        match message {
            Message::Close(_) => {
                entry.end(Outcome::Answered);
                return;
            }
            Message::Text(_) | Message::Binary(_) => {
                if socket.send(message).await.is_err() {
                    return;
                }
            }
            // The library answers pings by itself.
            Message::Ping(_) | Message::Pong(_) => {}
        }
    }
}
