//! Where an event or a question comes from, as policies are told.

use std::net::{IpAddr, SocketAddr};

use crate::connection::Connection;
use crate::nostr::Pubkey;

/// By which way something came.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Channel<'a> {
    /// A client's own connection.
    Client(SocketAddr),
    /// `mercato import`.
    Import,
    /// A relay that we follow, by its URL.
    Stream(&'a str),
    /// A relay with which we compared what we have (NIP-77), by its URL.
    Sync(&'a str),
    /// Our own store: the event is about to be sent to another relay.
    Stored,
}

/// Who sends something, and by which way.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Source<'a> {
    pub channel: Channel<'a>,
    /// A key that the sender has proved to hold (NIP-42).
    pub authed: Option<Pubkey>,
}

impl<'a> Source<'a> {
    /// A client. Of the keys that it has proved to hold, `author` is the one that says most; else the newest.
    pub fn client(connection: &Connection, author: Option<&Pubkey>) -> Self {
        let authed = connection.with_keys(|keys| {
            let of_author = author.filter(|author| keys.contains(author));
            of_author.or(keys.last()).copied()
        });
        Self { channel: Channel::Client(connection.address), authed }
    }

    /// Another relay, a file or our own store: nobody who could authenticate.
    pub fn link(channel: Channel<'a>) -> Self {
        Self { channel, authed: None }
    }

    /// strfry's `sourceType`.
    pub fn kind(&self) -> &'static str {
        match self.channel {
            Channel::Client(address) => match address.ip().to_canonical() {
                IpAddr::V4(_) => "IP4",
                IpAddr::V6(_) => "IP6",
            },
            Channel::Import => "Import",
            Channel::Stream(_) => "Stream",
            Channel::Sync(_) => "Sync",
            Channel::Stored => "Stored",
        }
    }

    /// strfry's `sourceInfo`: an address or a URL.
    pub fn info(&self) -> String {
        match self.channel {
            Channel::Client(address) => address.ip().to_canonical().to_string(),
            Channel::Stream(url) | Channel::Sync(url) => url.to_owned(),
            Channel::Import | Channel::Stored => String::new(),
        }
    }
}
