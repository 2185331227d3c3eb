//! Ways to misbehave.

use std::time::Duration;

use super::super::client::{Client, RelayUrl, event_frame, req_frame};
use super::super::data::keypair;
use super::super::random::Random;
use super::Progress;
use super::raw::Raw;
use crate::clock;
use crate::nostr::Event;

/// How long an attacker that waits waits before it looks around.
const NAP: Duration = Duration::from_millis(50);

#[derive(Debug, Clone, Copy, PartialEq, Eq, clap::ValueEnum)]
pub enum Attack {
    /// Connections that never say anything
    Idle,
    /// Clients that ask for much and read nothing
    SlowReaders,
    /// Subscriptions opened and replaced without end
    Subscriptions,
    /// Bytes that are no Nostr
    Garbage,
    /// Messages that inflate to a thousand times their size
    DeflateBombs,
    /// Arrays in arrays in arrays
    Nesting,
    /// NEG-OPEN with what is no negentropy
    Negentropy,
    /// REQs that match everything, again and again
    Everything,
    /// Events with wrong signatures
    Signatures,
}

impl Attack {
    pub const ALL: [Self; 9] = [
        Self::Idle,
        Self::SlowReaders,
        Self::Subscriptions,
        Self::Garbage,
        Self::DeflateBombs,
        Self::Nesting,
        Self::Negentropy,
        Self::Everything,
        Self::Signatures,
    ];

    pub fn name(self) -> &'static str {
        match self {
            Self::Idle => "idle",
            Self::SlowReaders => "slow readers",
            Self::Subscriptions => "subscriptions",
            Self::Garbage => "garbage",
            Self::DeflateBombs => "deflate bombs",
            Self::Nesting => "nesting",
            Self::Negentropy => "negentropy",
            Self::Everything => "everything",
            Self::Signatures => "signatures",
        }
    }

    pub fn unit(self) -> &'static str {
        match self {
            Self::Idle => "connections",
            Self::Garbage => "KiB",
            Self::DeflateBombs => "MiB inflated",
            Self::SlowReaders | Self::Subscriptions | Self::Nesting => "messages",
            Self::Negentropy | Self::Everything | Self::Signatures => "messages",
        }
    }

    /// How many attackers work at once.
    pub fn tasks(self, connections: u16) -> u32 {
        match self {
            Self::Idle => u32::from(connections) * 100,
            _ => u32::from(connections),
        }
    }

    /// Attacks over one connection until it is told to stop or thrown out.
    pub async fn strike(self, url: &RelayUrl, number: u32, seed: u64, progress: &Progress) -> anyhow::Result<()> {
        let mut random = Random::new(seed, u64::from(number));
        match self {
            Self::Idle => idle(url, progress).await,
            Self::SlowReaders => slow_reader(url, progress).await,
            Self::Subscriptions => subscriptions(url, &mut random, progress).await,
            Self::Garbage => garbage(url, &mut random, progress).await,
            Self::DeflateBombs => deflate_bombs(url, progress).await,
            Self::Nesting => repeat(url, &"[".repeat(100_000), progress).await,
            Self::Negentropy => negentropy(url, &mut random, progress).await,
            Self::Everything => everything(url, progress).await,
            Self::Signatures => signatures(url, number, progress).await,
        }
    }
}

async fn idle(url: &RelayUrl, progress: &Progress) -> anyhow::Result<()> {
    let _client = Client::connect(url).await?;
    progress.add(1);
    while !progress.is_stopped() {
        tokio::time::sleep(NAP).await;
    }
    Ok(())
}

/// Its kernel's buffers fill, then the relay's outbox.
async fn slow_reader(url: &RelayUrl, progress: &Progress) -> anyhow::Result<()> {
    let (mut sender, _unread) = Client::connect(url).await?.split();
    for at in 0_u64.. {
        if progress.is_stopped() {
            break;
        }
        sender.feed(req_frame(&format!("s{}", at % 100), "{}")).await?;
        sender.flush().await?;
        progress.add(1);
        if at % 100 == 99 {
            tokio::time::sleep(NAP).await;
        }
    }
    Ok(())
}

async fn subscriptions(url: &RelayUrl, random: &mut Random, progress: &Progress) -> anyhow::Result<()> {
    let (mut sender, mut answers) = Client::connect(url).await?.split();
    let reading = tokio::spawn(async move { while answers.next().await.is_ok() {} });
    while !progress.is_stopped() && !reading.is_finished() {
        let authors: Vec<String> = (0..100).map(|_| format!("\"{:064x}\"", random.below(usize::MAX))).collect();
        let filter = format!("{{\"authors\":[{}],\"limit\":0}}", authors.join(","));
        sender.feed(req_frame(&format!("f{}", random.below(1_000)), &filter)).await?;
        sender.flush().await?;
        progress.add(1);
    }
    reading.abort();
    Ok(())
}

/// Frames of every length with anything inside, and sometimes bytes that are no frames.
async fn garbage(url: &RelayUrl, random: &mut Random, progress: &Progress) -> anyhow::Result<()> {
    let mut raw = Raw::connect(url, false).await?;
    let mut bytes = vec![0; 64 * 1024];
    while !progress.is_stopped() {
        let length = 1 + random.below(bytes.len());
        for chunk in bytes[..length].chunks_mut(8) {
            let fresh = random.below(usize::MAX).to_le_bytes();
            chunk.copy_from_slice(&fresh[..chunk.len()]);
        }
        match random.below(20) {
            0 => raw.send(&bytes[..length]).await?,
            1 => raw.send_frame(0x82, &bytes[..length]).await?,
            _ => {
                bytes[..length].iter_mut().for_each(|byte| *byte = 32 + *byte % 95);
                raw.send_frame(0x81, &bytes[..length]).await?;
            }
        }
        progress.add(length as u64 / 1_024);
    }
    Ok(())
}

async fn deflate_bombs(url: &RelayUrl, progress: &Progress) -> anyhow::Result<()> {
    const MIB: usize = 64;
    let mut compress = flate2::Compress::new(flate2::Compression::best(), false);
    let (zeros, mut bomb) = (vec![b' '; MIB << 20], Vec::with_capacity(1 << 20));
    compress.compress_vec(&zeros, &mut bomb, flate2::FlushCompress::Sync)?;
    drop(zeros);
    // RFC 7692 leaves out what every sync flush ends in.
    bomb.truncate(bomb.len().saturating_sub(4));
    while !progress.is_stopped() {
        let mut raw = Raw::connect(url, true).await?;
        progress.add(MIB as u64);
        // First fragment of a compressed text message, and the whole of one.
        raw.send_frame(0x41, &bomb[..bomb.len().min(60_000)]).await?;
        raw.send_frame(0xc1, &bomb).await?;
        raw.until_closed().await?;
    }
    Ok(())
}

/// One message without end.
async fn repeat(url: &RelayUrl, text: &str, progress: &Progress) -> anyhow::Result<()> {
    let mut client = Client::connect(url).await?;
    while !progress.is_stopped() {
        client.send(text).await?;
        client.next().await?;
        progress.add(1);
    }
    Ok(())
}

async fn negentropy(url: &RelayUrl, random: &mut Random, progress: &Progress) -> anyhow::Result<()> {
    let mut client = Client::connect(url).await?;
    while !progress.is_stopped() {
        let length = random.below(2_000);
        let bytes: Vec<u8> = (0..length).map(|_| random.below(256) as u8).collect();
        let version = if random.below(4) == 0 { "" } else { "61" };
        let id = random.below(50);
        let message = format!("[\"NEG-OPEN\",\"n{id}\",{{}},\"{version}{}\"]", const_hex::encode(&bytes));
        client.send(message).await?;
        client.next().await?;
        progress.add(1);
    }
    Ok(())
}

/// It reads what it gets, so that it is never too slow.
async fn everything(url: &RelayUrl, progress: &Progress) -> anyhow::Result<()> {
    let mut client = Client::connect(url).await?;
    while !progress.is_stopped() {
        client.subscribe("all", "{},{\"kinds\":[1]},{\"since\":1}").await?;
        progress.add(1);
    }
    Ok(())
}

async fn signatures(url: &RelayUrl, number: u32, progress: &Progress) -> anyhow::Result<()> {
    let author = keypair(u64::from(number), "forger");
    let honest = Event::sign(&author, clock::now_s(), 1, &[], "a note");
    let text = event_frame(&honest);
    // Each has an id that is right and a signature that is not.
    let (mut sender, mut answers) = Client::connect(url).await?.split();
    let reading = tokio::spawn(async move { while answers.next().await.is_ok() {} });
    let Some(at) = text.find("\"sig\":\"") else { anyhow::bail!("an event without a signature") };
    for turn in 0_u64.. {
        if progress.is_stopped() || reading.is_finished() {
            break;
        }
        let forged = format!("{}{turn:016x}{}", &text[..at + 7], &text[at + 7 + 16..]);
        sender.feed(forged.into()).await?;
        if turn % 16 == 15 {
            sender.flush().await?;
        }
        progress.add(1);
    }
    reading.abort();
    Ok(())
}
