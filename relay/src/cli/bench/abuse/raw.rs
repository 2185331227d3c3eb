//! A connection over which anything may be sent.

use anyhow::{Context, ensure};
use tokio::io::{AsyncReadExt, AsyncWriteExt};
use tokio::net::TcpStream;
use tokio::time::timeout;

use super::super::client::{PATIENCE, RelayUrl};

/// What the handshake's answer may have at most.
const MAX_HEAD: usize = 16 * 1024;

pub struct Raw(TcpStream);

impl Raw {
    /// Shakes hands; offers to compress if `deflate`.
    pub async fn connect(url: &RelayUrl, deflate: bool) -> anyhow::Result<Self> {
        let mut stream = TcpStream::connect(url.authority()).await?;
        stream.set_nodelay(true)?;
        let extensions = if deflate { "Sec-WebSocket-Extensions: permessage-deflate\r\n" } else { "" };
        let request = format!(
            "GET / HTTP/1.1\r\nHost: {}\r\nConnection: Upgrade\r\nUpgrade: websocket\r\nSec-WebSocket-Version: 13\r\n\
             Sec-WebSocket-Key: AAAAAAAAAAAAAAAAAAAAAA==\r\n{extensions}\r\n",
            url.authority()
        );
        stream.write_all(request.as_bytes()).await?;
        let mut head = Vec::new();
        while !head.ends_with(b"\r\n\r\n") {
            ensure!(head.len() < MAX_HEAD, "a handshake without end");
            head.push(timeout(PATIENCE, stream.read_u8()).await.context("no handshake in time")??);
        }
        ensure!(head.starts_with(b"HTTP/1.1 101"), "no upgrade: {}", String::from_utf8_lossy(&head));
        Ok(Self(stream))
    }

    pub async fn send(&mut self, bytes: &[u8]) -> anyhow::Result<()> {
        Ok(self.0.write_all(bytes).await?)
    }

    /// A frame whose first byte is `first`, under a mask of zeros.
    pub async fn send_frame(&mut self, first: u8, payload: &[u8]) -> anyhow::Result<()> {
        let mut frame = vec![first];
        match payload.len() {
            length @ 0..126 => frame.push(0x80 | length as u8),
            length @ 126..65_536 => {
                frame.push(0x80 | 126);
                frame.extend((length as u16).to_be_bytes());
            }
            length => {
                frame.push(0x80 | 127);
                frame.extend((length as u64).to_be_bytes());
            }
        }
        frame.extend([0; 4]);
        frame.extend(payload);
        self.send(&frame).await
    }

    /// Reads until the relay hangs up.
    pub async fn until_closed(&mut self) -> anyhow::Result<()> {
        let mut buffer = [0; 4_096];
        while timeout(PATIENCE, self.0.read(&mut buffer)).await.context("the relay does not hang up")?? > 0 {}
        Ok(())
    }
}
