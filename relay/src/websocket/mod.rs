//! Pumps messages between a socket and its session.
//!
//! Reading and writing go on side by side in one task: a client that publishes without reading its
//! answers is still read, and one that reads slowly never stops the relay from noticing it is gone.
//!
//! `decoder` turns bytes into messages and `outflow` frames into bytes, both without I/O; `link` drives them on a
//! socket; `reader` performs what the session decides.

mod decoder;
pub mod deflate;
mod frame;
mod inbox;
mod inflate;
mod link;
mod outflow;
mod reader;
pub mod violation;

use std::future::poll_fn;
use std::sync::Arc;
use std::task::Poll;
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncWrite};

pub use self::decoder::{Decoder, Received};
use self::deflate::Agreed;
pub use self::inflate::inflate;
use self::link::{End, Happening, Link, Message};
use self::reader::Reader;
use crate::connection::Connection;
use crate::outbox::Closing;
use crate::relay::Shared;
use crate::session::{Action, Session};

/// How long the greeting waits for the client's first message. Some clients (those on go-nostr, for one) lose what comes
/// in one packet with the handshake's answer; who speaks has read that.
const GREETING_DELAY: Duration = Duration::from_millis(50);

/// Messages of one client, each worth a signature check at most, before the others on its thread have their turn.
const TURN: usize = 8;
/// So many bytes of a message weigh as much as another message.
const WEIGHT_BYTES: usize = 2_048;

/// Serves one client until either side is done with the other. `early` is what came with the handshake.
pub async fn serve<S>(
    stream: S,
    early: Vec<u8>,
    agreed: Option<Agreed>,
    session: Session,
    connection: Arc<Connection>,
    shared: Arc<Shared>,
) where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let mut reader = Reader::new(session, &connection, &shared);
    let mut link = Link::new(stream, early, agreed, GREETING_DELAY, &connection, &shared);
    let end = converse(&mut link, &mut reader).await;
    if matches!(end, End::Stuck | End::Closed(Closing::TooSlow)) {
        shared.metrics.clients.too_slow();
    }
    // Boxed, as every connection that is still open would have to have room for it.
    Box::pin(async { tokio::join!(link.say_goodbye(end), reader.leave()) }).await;
}

/// One text message, counted, under the rules of this moment.
fn hear(shared: &Shared, session: &mut Session, text: &str, actions: &mut Vec<Action>) {
    let meters = &shared.metrics.clients;
    let is_auth = meters.heard(text);
    let before = actions.len();
    session.follow(&shared.rules());
    session.on_text(text, crate::clock::now_s(), actions);
    if is_auth {
        let answers = actions[before..].iter().filter_map(|action| match action {
            Action::Send(text) => Some(text.as_str()),
            _ => None,
        });
        meters.authenticated(answers);
    }
}

async fn converse<S>(link: &mut Link<'_, S>, reader: &mut Reader<'_>) -> End
where
    S: AsyncRead + AsyncWrite + Unpin + Send,
{
    let ping_period = Duration::from_secs(reader.shared.config.relay.ping_s);
    let mut actions = Vec::new();
    let (mut greeted, mut ticks, mut streak) = (false, 0_u32, 0);
    loop {
        let (session, shared, mut weight) = (&mut reader.session, reader.shared, 1);
        let mut hand_over = |message: Message<'_>| {
            if !std::mem::replace(&mut greeted, true) {
                session.on_open(&mut actions);
            }
            match message {
                Message::Text(text) => {
                    weight += text.len() / WEIGHT_BYTES;
                    hear(shared, session, text, &mut actions);
                }
                Message::Binary => session.on_binary(&mut actions),
            }
        };
        match poll_fn(|cx| link.poll(cx, &mut hand_over)).await {
            Ok(Happening::Message) => {}
            Ok(Happening::Tick) => {
                if ticks == 0 && !std::mem::replace(&mut greeted, true) {
                    reader.session.on_open(&mut actions);
                } else if ticks > 0
                    && let Err(end) = link.ping()
                {
                    return end;
                }
                ticks = 1;
                link.ring_in(ping_period);
            }
            Err(end) => return end,
        }
        if !actions.is_empty() {
            // Boxed for the same reason: most connections do nothing most of the time.
            let mut performing = Box::pin(reader.perform(&mut actions));
            let performed = poll_fn(|cx| match link.poll_send(cx) {
                Poll::Ready(end) => Poll::Ready(Err(end)),
                Poll::Pending => performing.as_mut().poll(cx).map(Ok),
            });
            if let Err(end) = performed.await {
                return end;
            }
        }
        streak += weight;
        if streak >= TURN {
            streak = 0;
            tokio::task::yield_now().await;
        }
    }
}
