//! One client's socket: messages in, frames out, pings, and how it all ends.

use std::io;
use std::pin::{Pin, pin};
use std::sync::Arc;
use std::task::{Context, Poll, ready};
use std::time::Duration;

use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite};
use tokio::time::{Instant, Sleep, sleep, timeout};

use super::decoder::{Decoder, Received};
use super::deflate::Agreed;
use super::inbox::Inbox;
use super::outflow::{BATCH_BYTES, Outflow};
use super::violation::Violation;
use crate::connection::Connection;
use crate::nostr::message;
use crate::outbox::Closing;
use crate::relay::Shared;

/// How long a client that is being closed has to take what waits for it.
const LAST_WORDS: Duration = Duration::from_secs(5);
/// The same when the relay itself is in a hurry.
const LAST_WORDS_AT_SHUTDOWN: Duration = Duration::from_millis(200);
/// Pings without any sign of life after which a client is gone.
const MAX_SILENT_PINGS: u32 = 2;

pub struct Link<'a, S> {
    stream: S,
    inbox: Inbox,
    decoder: Decoder,
    outflow: Outflow,
    agreed: Option<Agreed>,
    connection: &'a Arc<Connection>,
    shared: &'a Arc<Shared>,
    timer: Pin<Box<Sleep>>,
    /// Until when nothing is read, as the client's address has sent more than it may.
    pause: Option<Pin<Box<Sleep>>>,
    /// Bytes read that its address has not been charged for.
    uncharged: u32,
    /// Pings since the client was last heard.
    silent_pings: u32,
}

/// A message of the client's, for its session.
pub enum Message<'a> {
    Text(&'a str),
    Binary,
}

/// What a link has to tell.
pub enum Happening {
    /// A message was handed over.
    Message,
    /// The timer has rung.
    Tick,
}

/// Why a conversation is over.
#[derive(Debug)]
pub enum End {
    /// The socket is closed or broken, or the client silent.
    Gone,
    /// The client has said good-bye.
    Left(Option<u16>),
    Misbehaved(Violation),
    /// The relay ends it; everything else that waited has been written.
    Closed(Closing),
    /// Too much waits for a client that reads nothing.
    Stuck,
}

impl<'a, S: AsyncRead + AsyncWrite + Unpin> Link<'a, S> {
    /// `early` is what came with the handshake. The timer rings first after `first_tick`.
    pub fn new(
        stream: S,
        early: Vec<u8>,
        agreed: Option<Agreed>,
        first_tick: Duration,
        connection: &'a Arc<Connection>,
        shared: &'a Arc<Shared>,
    ) -> Self {
        Self {
            stream,
            inbox: Inbox::new(early),
            decoder: Decoder::new(shared.rules().limits.max_message_bytes, agreed.is_some()),
            outflow: Outflow::default(),
            agreed,
            connection,
            shared,
            timer: Box::pin(sleep(first_tick)),
            pause: None,
            uncharged: 0,
            silent_pings: 0,
        }
    }

    /// Sends what there is to send; then hands over a message, if one is there.
    pub fn poll(
        &mut self,
        cx: &mut Context<'_>,
        hand_over: &mut impl FnMut(Message<'_>),
    ) -> Poll<Result<Happening, End>> {
        if let Poll::Ready(end) = self.poll_send(cx) {
            return Poll::Ready(Err(end));
        }
        let quiet = self.outflow.is_empty();
        if let Poll::Ready(received) = self.poll_receive(cx, hand_over) {
            return Poll::Ready(received.map(|()| Happening::Message));
        }
        // Answers to pings.
        if quiet
            && !self.outflow.is_empty()
            && let Poll::Ready(end) = self.poll_send(cx)
        {
            return Poll::Ready(Err(end));
        }
        self.timer.as_mut().poll(cx).map(|()| Ok(Happening::Tick))
    }

    /// Sends what waits, for as long as the conversation goes on.
    pub fn poll_send(&mut self, cx: &mut Context<'_>) -> Poll<End> {
        loop {
            if self.outflow.is_empty() {
                let (outflow, agreed) = (&mut self.outflow, self.agreed);
                let mut taken = Vec::new();
                let waiting = self.connection.outbox.poll_take(cx, BATCH_BYTES, |frame| taken.push(frame));
                if let Some(closing) = ready!(waiting) {
                    return Poll::Ready(End::Closed(closing));
                }
                self.shared.metrics.clients.tell(&taken);
                taken.into_iter().for_each(|frame| outflow.push(frame, agreed));
            }
            match self.poll_write(cx) {
                Poll::Ready(Ok(())) => {}
                Poll::Ready(Err(_)) => return Poll::Ready(End::Gone),
                Poll::Pending => return self.connection.outbox.poll_overflowed(cx).map(|()| End::Stuck),
            }
        }
    }

    fn poll_write(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        let left = ready!(self.outflow.poll_write(cx, &mut self.stream))?;
        self.connection.traffic.sent(left.wire_bytes);
        self.shared.traffic.sent(left.wire_bytes);
        self.connection.outbox.written(left.outbox_bytes);
        self.shared.queries.resume(self.connection);
        Poll::Ready(Ok(()))
    }

    fn poll_receive(&mut self, cx: &mut Context<'_>, hand_over: &mut impl FnMut(Message<'_>)) -> Poll<Result<(), End>> {
        loop {
            let (taken, received) = self.decoder.decode(self.inbox.waiting()).map_err(End::Misbehaved)?;
            let mut handed = false;
            match received {
                Some(Received::Text(text)) => {
                    hand_over(Message::Text(text));
                    handed = true;
                }
                Some(Received::Binary(_)) => {
                    hand_over(Message::Binary);
                    handed = true;
                }
                Some(Received::Ping(payload)) => self.outflow.pong(payload),
                Some(Received::Pong) | None => {}
                Some(Received::Close(code)) => return Poll::Ready(Err(End::Left(code))),
            }
            self.inbox.take(taken);
            if handed {
                return Poll::Ready(Ok(()));
            }
            if taken == 0 {
                ready!(self.poll_read(cx)).map_err(|_| End::Gone)?;
            }
        }
    }

    /// Reads what the socket has; an error when it is closed.
    fn poll_read(&mut self, cx: &mut Context<'_>) -> Poll<io::Result<()>> {
        ready!(self.poll_charge(cx));
        let frame = self.decoder.frame_length(self.inbox.waiting());
        let read = pin!(self.stream.read_buf(self.inbox.room(frame))).poll(cx);
        let Poll::Ready(read) = read else {
            self.inbox.rest();
            return Poll::Pending;
        };
        let bytes = read?;
        if bytes == 0 {
            return Poll::Ready(Err(io::ErrorKind::UnexpectedEof.into()));
        }
        self.silent_pings = 0;
        self.connection.traffic.received(bytes);
        self.shared.traffic.received(bytes);
        self.uncharged = u32::try_from(bytes).unwrap_or(u32::MAX);
        Poll::Ready(Ok(()))
    }

    /// Waits until the client's address may send more.
    fn poll_charge(&mut self, cx: &mut Context<'_>) -> Poll<()> {
        loop {
            if let Some(pause) = &mut self.pause {
                ready!(pause.as_mut().poll(cx));
                self.pause = None;
            }
            match self.shared.pause_after(self.connection.address.ip(), self.uncharged) {
                None => {
                    self.uncharged = 0;
                    return Poll::Ready(());
                }
                Some(pause) => self.pause = Some(Box::pin(sleep(pause))),
            }
        }
    }

    /// Sets the timer again.
    pub fn ring_in(&mut self, period: Duration) {
        self.timer.as_mut().reset(Instant::now() + period);
    }

    /// Asks the client for a sign of life, unless it has not answered for too long.
    pub fn ping(&mut self) -> Result<(), End> {
        if self.silent_pings == MAX_SILENT_PINGS {
            return Err(End::Gone);
        }
        self.silent_pings += 1;
        self.outflow.ping();
        Ok(())
    }

    /// Tells a client why its connection ends, and gives it time to hear.
    pub async fn say_goodbye(mut self, end: End) {
        let (patience, linger) = match end {
            End::Gone | End::Stuck => return,
            End::Closed(Closing::Shutdown) => (LAST_WORDS_AT_SHUTDOWN, true),
            End::Left(_) => (LAST_WORDS, false),
            End::Closed(_) | End::Misbehaved(_) => (LAST_WORDS, true),
        };
        // A client that does not take its leave in time is cut off.
        let _ = timeout(patience, async {
            self.close(end).await?;
            if linger {
                // With something unread left, the system would take back what the client has not yet read itself.
                let mut rest = vec![0; 4_096];
                while self.stream.read(&mut rest).await? > 0 {}
            }
            io::Result::Ok(())
        })
        .await;
    }

    /// Writes the last of what waits, a Close, and nothing more.
    async fn close(&mut self, end: End) -> io::Result<()> {
        let mut end = end;
        if let End::Misbehaved(violation) = end {
            if let Some(text) = self.complaint(violation) {
                self.connection.outbox.text(message::notice(&text));
            }
            self.connection.outbox.close(Closing::Misbehaved(violation));
            end = std::future::poll_fn(|cx| self.poll_send(cx)).await;
        }
        match end {
            End::Left(code) => self.outflow.close(code, ""),
            End::Closed(closing) => self.outflow.close(Some(close_code(closing)), close_reason(closing)),
            End::Gone | End::Stuck | End::Misbehaved(_) => return Ok(()),
        }
        while !self.outflow.is_empty() {
            std::future::poll_fn(|cx| self.poll_write(cx)).await?;
        }
        std::future::poll_fn(|cx| Pin::new(&mut self.stream).poll_shutdown(cx)).await
    }

    /// A notice for people, where a Close might not be shown to them.
    fn complaint(&self, violation: Violation) -> Option<String> {
        let max = self.shared.rules().limits.max_message_bytes;
        match violation {
            Violation::NotUtf8 => Some("invalid: a message is not UTF-8".to_owned()),
            Violation::NotDeflate => Some("invalid: a compressed message cannot be inflated".to_owned()),
            Violation::TooLong => Some(format!("invalid: a message may have {max} bytes at most")),
            Violation::Protocol(_) => None,
        }
    }
}

fn close_code(closing: Closing) -> u16 {
    match closing {
        Closing::TooSlow | Closing::Blocked => 1008,
        Closing::Misbehaved(violation) => violation.code(),
        Closing::Shutdown => 1001,
    }
}

fn close_reason(closing: Closing) -> &'static str {
    match closing {
        Closing::TooSlow => "too slow: more waits for you than the relay keeps",
        Closing::Misbehaved(violation) => violation.reason(),
        Closing::Blocked => "your address is blocked here",
        Closing::Shutdown => "the relay is going away",
    }
}
