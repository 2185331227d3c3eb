//! Pumps messages between a socket and its session.
//!
//! Reading and writing go on side by side in one task: a client that publishes without reading its
//! answers is still read, and one that reads slowly never stops the relay from noticing it is gone.

mod reader;

use std::sync::Arc;
use std::time::Duration;

use futures_util::stream::{SplitSink, SplitStream};
use futures_util::{SinkExt, StreamExt};
use tokio::io::{AsyncRead, AsyncWrite};
use tokio::task::yield_now;
use tokio::time::{Instant, MissedTickBehavior, interval_at, timeout};
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::error::{CapacityError, Error};
use tokio_tungstenite::tungstenite::protocol::CloseFrame;
use tokio_tungstenite::tungstenite::protocol::frame::coding::CloseCode;
use tokio_tungstenite::tungstenite::{Message, protocol::WebSocketConfig};

use crate::connection::Connection;
use crate::nostr::message;
use crate::outbox::Closing;
use crate::relay::Shared;
use crate::session::Session;

use self::reader::Reader;

/// Bytes taken from the outbox for one wake-up of the socket.
const BATCH_BYTES: usize = 256 * 1024;

/// Messages of one client, each worth a signature check at most, before the others on its thread have their turn.
const TURN: u32 = 8;

/// How long a client that is being closed has to take what waits for it.
const LAST_WORDS: Duration = Duration::from_secs(5);

/// How long the greeting waits for the client's first message. Some clients (those on go-nostr, for one) lose what comes
/// in one packet with the handshake's answer; who speaks has read that.
const GREETING_DELAY: Duration = Duration::from_millis(50);

/// tungstenite's own buffers, kept small: a relay has many connections that say nothing.
pub fn config(max_message_bytes: usize) -> WebSocketConfig {
    WebSocketConfig::default()
        .read_buffer_size(4_096)
        .write_buffer_size(16 * 1024)
        .max_write_buffer_size(BATCH_BYTES + 2 * max_message_bytes)
        .max_message_size(Some(max_message_bytes))
        .max_frame_size(Some(max_message_bytes))
}

/// Serves one client until either side is done with the other.
pub async fn serve<S>(socket: WebSocketStream<S>, session: Session, connection: Arc<Connection>, shared: Arc<Shared>)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let (sink, stream) = socket.split();
    let mut reader = Reader::new(session, &connection, &shared);
    tokio::select! {
        () = reader.run(stream) => {}
        () = write(sink, &connection, &shared) => {}
    }
    reader.leave().await;
}

/// The reading side of the pump.
impl Reader<'_> {
    async fn run<S>(&mut self, mut stream: SplitStream<WebSocketStream<S>>)
    where
        S: AsyncRead + AsyncWrite + Unpin,
    {
        let mut actions = Vec::new();
        let mut first = timeout(GREETING_DELAY, stream.next()).await.ok();
        self.session.on_open(&mut actions);
        let patience = Duration::from_secs(2 * self.shared.config.relay.ping_s);
        let mut turn = 0_u32;
        loop {
            self.perform(&mut actions).await;
            turn = turn.wrapping_add(1);
            if turn % TURN == 0 {
                yield_now().await;
            }
            let next = match first.take() {
                Some(next) => next,
                None => timeout(patience, stream.next()).await.unwrap_or(None),
            };
            let Some(received) = next else { return };
            match received {
                Ok(Message::Text(text)) => self.session.on_text(&text, crate::clock::now_s(), &mut actions),
                Ok(Message::Binary(_)) => self.session.on_binary(&mut actions),
                // tungstenite answers pings and a close by itself, the latter while the stream is read to its end.
                Ok(Message::Ping(_) | Message::Pong(_) | Message::Close(_) | Message::Frame(_)) => {}
                Err(error) => return self.complain(&error).await,
            }
        }
    }

    /// Tells a client why its connection ends, when it is the client's doing, and lets the text out.
    async fn complain(&self, error: &Error) {
        let max = self.shared.config.limits.max_message_bytes;
        let text = match error {
            Error::Utf8(_) => "invalid: a message is not UTF-8".to_owned(),
            Error::Capacity(CapacityError::MessageTooLong { .. }) => {
                format!("invalid: a message may have {max} bytes at most")
            }
            _ => return,
        };
        self.connection.outbox.text(message::notice(&text));
        self.connection.outbox.close(Closing::Misbehaved);
        // The writing side ends the connection once the notice is out, if the client takes it at all.
        tokio::time::sleep(LAST_WORDS).await;
    }
}

/// Sends what waits in the outbox, and a ping now and then, until the connection is to end.
async fn write<S>(mut sink: SplitSink<WebSocketStream<S>, Message>, connection: &Arc<Connection>, shared: &Shared)
where
    S: AsyncRead + AsyncWrite + Unpin,
{
    let period = Duration::from_secs(shared.config.relay.ping_s);
    let mut pings = interval_at(Instant::now() + period, period);
    pings.set_missed_tick_behavior(MissedTickBehavior::Delay);
    let mut batch = Vec::new();
    loop {
        let closing = tokio::select! {
            closing = connection.outbox.take(&mut batch, BATCH_BYTES) => closing,
            _ = pings.tick() => {
                if sink.send(Message::Ping(Default::default())).await.is_err() {
                    return;
                }
                continue;
            }
        };
        let sent = async {
            for frame in batch.drain(..) {
                sink.feed(frame.into_message()).await?;
            }
            sink.flush().await
        };
        let sent = tokio::select! {
            sent = sent => sent,
            () = connection.outbox.overflowed() => return,
        };
        if sent.is_err() {
            return;
        }
        shared.queries.resume(connection);
        if let Some(closing) = closing {
            let frame = CloseFrame { code: close_code(closing), reason: close_reason(closing).into() };
            // The client may be gone already; there is nobody left to tell.
            let _ = sink.send(Message::Close(Some(frame))).await;
            return;
        }
    }
}

fn close_code(closing: Closing) -> CloseCode {
    match closing {
        Closing::TooSlow | Closing::Blocked => CloseCode::Policy,
        Closing::Misbehaved => CloseCode::Invalid,
        Closing::Shutdown => CloseCode::Away,
    }
}

fn close_reason(closing: Closing) -> &'static str {
    match closing {
        Closing::TooSlow => "too slow: more waits for you than the relay keeps",
        Closing::Misbehaved => "the message could not be read",
        Closing::Blocked => "your address is blocked here",
        Closing::Shutdown => "the relay is going away",
    }
}
