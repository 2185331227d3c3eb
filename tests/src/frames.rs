//! A client of bare frames, for what no library would send.

use anyhow::{Context, bail, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use crate::Relay;
use crate::client::PATIENCE;

/// A frame from the relay.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Frame {
    /// FIN, RSV1 to RSV3 and the opcode.
    pub first: u8,
    pub payload: Vec<u8>,
}

impl Frame {
    /// Its payload as text; fails for other frames.
    pub fn text(&self) -> anyhow::Result<&str> {
        ensure!(self.first == 0x81, "no whole text: {self:?}");
        Ok(std::str::from_utf8(&self.payload)?)
    }

    /// The code of a Close; fails for other frames.
    pub fn close_code(&self) -> anyhow::Result<Option<u16>> {
        ensure!(self.first == 0x88, "no Close: {self:?}");
        Ok(self.payload.first_chunk().map(|code| u16::from_be_bytes(*code)))
    }
}

pub struct Frames {
    stream: TcpStream,
    /// `Sec-WebSocket-Extensions` of the relay's answer.
    pub extensions: Option<String>,
}

impl Frames {
    /// Connects, with an offer of extensions if it is not empty, and takes the greeting.
    pub async fn connect(relay: &Relay, offer: &str) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(("127.0.0.1", relay.port())).await?;
        let offer = if offer.is_empty() { String::new() } else { format!("Sec-WebSocket-Extensions: {offer}\r\n") };
        let request = format!(
            "GET / HTTP/1.1\r\nHost: 127.0.0.1:{}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\n\
             Sec-WebSocket-Version: 13\r\nSec-WebSocket-Key: dGhlIHNhbXBsZSBub25jZQ==\r\n{offer}\r\n",
            relay.port()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            head.push(timeout(PATIENCE, stream.read_u8()).await.context("no answer")??);
        }
        let head = String::from_utf8(head)?;
        ensure!(head.starts_with("HTTP/1.1 101 "), "refused: {head}");
        let extensions = head.lines().filter_map(|line| line.split_once(": "));
        let extensions = extensions
            .filter(|(name, _)| name.eq_ignore_ascii_case("sec-websocket-extensions"))
            .map(|(_, value)| value.to_owned())
            .next();
        let mut frames = Self { stream, extensions };
        ensure!(frames.next().await?.text()?.starts_with("[\"AUTH\","), "no greeting");
        Ok(frames)
    }

    /// Sends a frame; `first` is FIN, RSV1 to RSV3 and the opcode.
    pub async fn send(&mut self, first: u8, payload: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(&masked(first, payload)).await?)
    }

    /// Sends bytes that may be no frame at all.
    pub async fn send_bytes(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.stream.write_all(bytes).await?)
    }

    /// The next frame; an error when the relay has closed the connection.
    pub async fn next(&mut self) -> anyhow::Result<Frame> {
        timeout(PATIENCE, self.read()).await.context("the relay says nothing")?
    }

    async fn read(&mut self) -> anyhow::Result<Frame> {
        let (first, short) = (self.stream.read_u8().await?, self.stream.read_u8().await?);
        let length = match short {
            0..126 => u64::from(short),
            126 => u64::from(self.stream.read_u16().await?),
            127 => self.stream.read_u64().await?,
            _ => bail!("a relay's frames are not masked"),
        };
        let mut payload = vec![0; usize::try_from(length)?];
        self.stream.read_exact(&mut payload).await?;
        Ok(Frame { first, payload })
    }

    /// Waits until the relay has closed the connection; anything more that it says is an error.
    pub async fn expect_end(&mut self) -> anyhow::Result<()> {
        match timeout(PATIENCE, self.stream.read_u8()).await.context("the connection goes on")? {
            Ok(byte) => bail!("the relay says something more, beginning with {byte}"),
            Err(_) => Ok(()),
        }
    }
}

/// A client's frame.
pub fn masked(first: u8, payload: &[u8]) -> Vec<u8> {
    let mut frame = vec![first];
    match payload.len() {
        length @ 0..126 => frame.push(0x80 | length as u8),
        length @ 126..0x1_0000 => {
            frame.push(0x80 | 126);
            frame.extend_from_slice(&(length as u16).to_be_bytes());
        }
        length => {
            frame.push(0x80 | 127);
            frame.extend_from_slice(&(length as u64).to_be_bytes());
        }
    }
    let mask = [0x37, 0xfa, 0x21, 0x3d];
    frame.extend_from_slice(&mask);
    frame.extend(payload.iter().zip(mask.iter().cycle()).map(|(byte, mask)| byte ^ mask));
    frame
}
