//! The methods of NIP-86.

use std::net::IpAddr;
use std::sync::Arc;

use anyhow::{Context, bail};
use serde_json::{Value, json};
use tokio::sync::oneshot;

use super::moderation;
use crate::access::{Lists, Role};
use crate::config::Network;
use crate::nostr::{EventId, Filter, Pubkey};
use crate::policy::rate;
use crate::relay::Shared;
use crate::writer::Command;

const METHODS: [&str; 26] = [
    "supportedmethods",
    "banpubkey",
    "unbanpubkey",
    "listbannedpubkeys",
    "allowpubkey",
    "unallowpubkey",
    "listallowedpubkeys",
    "createrole",
    "editrole",
    "deleterole",
    "assignrole",
    "unassignrole",
    "listeventsneedingmoderation",
    "allowevent",
    "banevent",
    "listbannedevents",
    "changerelayname",
    "changerelaydescription",
    "changerelayicon",
    "allowkind",
    "disallowkind",
    "listallowedkinds",
    "listdisallowedkinds",
    "blockip",
    "unblockip",
    "listblockedips",
];

/// Carries out `method`; the error's text is for whoever called.
pub async fn run(method: &str, params: &[Value], shared: &Arc<Shared>) -> anyhow::Result<Value> {
    let (access, params) = (&shared.access, Params(params));
    let lists = access.lists();
    match method {
        "supportedmethods" => return Ok(METHODS.into()),
        "listbannedpubkeys" => return Ok(listed("pubkey", &lists.banned_pubkeys)),
        "listallowedpubkeys" => return Ok(listed("pubkey", &lists.allowed_pubkeys)),
        "listbannedevents" => return Ok(listed("id", &lists.banned_events)),
        "listblockedips" => return Ok(listed("ip", &lists.blocked_ips)),
        "listallowedkinds" => return Ok(lists.allowed_kinds.iter().copied().collect()),
        "listdisallowedkinds" => return Ok(lists.disallowed_kinds.iter().copied().collect()),
        "listeventsneedingmoderation" => {
            let (store, lists) = (shared.store.clone(), lists.clone());
            let waiting = tokio::task::spawn_blocking(move || moderation::waiting(&*store, &lists)).await??;
            return Ok(listed("id", &waiting));
        }
        _ => {}
    }
    let change = Change::read(method, params)?;
    // What is banned must not come back between its removal and the ban, so the ban comes first.
    let (access, applied) = (access.clone(), change.clone());
    tokio::task::spawn_blocking(move || access.change(|lists| applied.apply(lists))).await??;
    match change {
        Change::BanPubkey(author, _) => {
            remove(shared, Filter { authors: Some(vec![author]), ..Filter::default() }).await?
        }
        Change::BanEvent(id, _) => remove(shared, Filter { ids: Some(vec![id]), ..Filter::default() }).await?,
        Change::BlockIp(network, _) => shared.close_from(network),
        _ => {}
    }
    Ok(true.into())
}

/// Removes what matches, in the writer's own bounded steps.
async fn remove(shared: &Arc<Shared>, filter: Filter) -> anyhow::Result<()> {
    loop {
        let (reply, removed) = oneshot::channel();
        shared.writer.send(Command::Delete { filter: filter.clone(), reply }).await;
        match removed.await.context("the relay is stopping")?.map_err(anyhow::Error::msg)? {
            0 => return Ok(()),
            _ => continue,
        }
    }
}

fn listed<K: std::fmt::Display, V: std::fmt::Display>(name: &str, entries: impl IntoIterator<Item = (K, V)>) -> Value {
    let entry = |(key, reason): (K, V)| json!({ name: key.to_string(), "reason": reason.to_string() });
    entries.into_iter().map(entry).collect()
}

/// A call that changes the lists.
#[derive(Debug, Clone)]
enum Change {
    BanPubkey(Pubkey, String),
    UnbanPubkey(Pubkey),
    AllowPubkey(Pubkey, String),
    UnallowPubkey(Pubkey),
    CreateRole(String, Role),
    EditRole(String, Role),
    DeleteRole(String),
    AssignRole(Pubkey, String),
    UnassignRole(Pubkey, String),
    AllowEvent(EventId, String),
    BanEvent(EventId, String),
    Name(String),
    Description(String),
    Icon(String),
    AllowKind(u16),
    DisallowKind(u16),
    BlockIp(Network, String),
    UnblockIp(Network),
}

impl Change {
    fn read(method: &str, params: Params<'_>) -> anyhow::Result<Self> {
        Ok(match method {
            "banpubkey" => Self::BanPubkey(params.pubkey()?, params.reason()),
            "unbanpubkey" => Self::UnbanPubkey(params.pubkey()?),
            "allowpubkey" => Self::AllowPubkey(params.pubkey()?, params.reason()),
            "unallowpubkey" => Self::UnallowPubkey(params.pubkey()?),
            "createrole" => Self::CreateRole(params.text(0)?, params.role()?),
            "editrole" => Self::EditRole(params.text(0)?, params.role()?),
            "deleterole" => Self::DeleteRole(params.text(0)?),
            "assignrole" => Self::AssignRole(params.pubkey()?, params.text(1)?),
            "unassignrole" => Self::UnassignRole(params.pubkey()?, params.text(1)?),
            "allowevent" => Self::AllowEvent(params.event()?, params.reason()),
            "banevent" => Self::BanEvent(params.event()?, params.reason()),
            "changerelayname" => Self::Name(params.text(0)?),
            "changerelaydescription" => Self::Description(params.text(0)?),
            "changerelayicon" => Self::Icon(params.text(0)?),
            "allowkind" => Self::AllowKind(params.kind()?),
            "disallowkind" => Self::DisallowKind(params.kind()?),
            "blockip" => Self::BlockIp(params.network()?, params.reason()),
            "unblockip" => Self::UnblockIp(params.network()?),
            _ => bail!("unknown method {method}, ask for supportedmethods"),
        })
    }

    fn apply(self, lists: &mut Lists) -> anyhow::Result<()> {
        match self {
            Self::BanPubkey(key, reason) => {
                lists.allowed_pubkeys.remove(&key);
                lists.members.remove(&key);
                lists.banned_pubkeys.insert(key, reason);
            }
            Self::UnbanPubkey(key) => drop(lists.banned_pubkeys.remove(&key)),
            Self::AllowPubkey(key, reason) => {
                lists.banned_pubkeys.remove(&key);
                lists.allowed_pubkeys.insert(key, reason);
            }
            Self::UnallowPubkey(key) => drop(lists.allowed_pubkeys.remove(&key)),
            Self::CreateRole(id, role) => match lists.roles.contains_key(&id) {
                true => bail!("there is a role {id} already"),
                false => drop(lists.roles.insert(id, role)),
            },
            Self::EditRole(id, role) => *lists.roles.get_mut(&id).with_context(|| format!("no role {id}"))? = role,
            Self::DeleteRole(id) => {
                lists.roles.remove(&id).with_context(|| format!("no role {id}"))?;
                lists.members.retain(|_, roles| {
                    roles.remove(&id);
                    !roles.is_empty()
                });
            }
            Self::AssignRole(key, id) => match lists.roles.contains_key(&id) {
                true => drop(lists.members.entry(key).or_default().insert(id)),
                false => bail!("no role {id}"),
            },
            Self::UnassignRole(key, id) => {
                if let Some(roles) = lists.members.get_mut(&key) {
                    roles.remove(&id);
                }
                lists.members.retain(|_, roles| !roles.is_empty());
            }
            Self::AllowEvent(id, reason) => {
                lists.banned_events.remove(&id);
                lists.allowed_events.insert(id, reason);
            }
            Self::BanEvent(id, reason) => {
                lists.allowed_events.remove(&id);
                lists.banned_events.insert(id, reason);
            }
            Self::Name(text) => lists.name = Some(text),
            Self::Description(text) => lists.description = Some(text),
            Self::Icon(text) => lists.icon = Some(text),
            Self::AllowKind(kind) => match lists.disallowed_kinds.remove(&kind) {
                // Taking back a prohibition is not meant to forbid all others.
                true => {}
                false => drop(lists.allowed_kinds.insert(kind)),
            },
            Self::DisallowKind(kind) => match lists.allowed_kinds.remove(&kind) {
                true if !lists.allowed_kinds.is_empty() => {}
                true | false => drop(lists.disallowed_kinds.insert(kind)),
            },
            Self::BlockIp(network, reason) => drop(lists.blocked_ips.insert(network, reason)),
            Self::UnblockIp(network) => drop(lists.blocked_ips.remove(&network)),
        }
        Ok(())
    }
}

/// Positional parameters, read with a clear word about each that is wrong.
#[derive(Debug, Clone, Copy)]
struct Params<'a>(&'a [Value]);

impl Params<'_> {
    fn text(self, at: usize) -> anyhow::Result<String> {
        let text = self.0.get(at).and_then(Value::as_str);
        text.map(str::to_owned).with_context(|| format!("parameter {} must be a string", at + 1))
    }

    fn reason(self) -> String {
        self.0.get(1).and_then(Value::as_str).unwrap_or_default().to_owned()
    }

    fn pubkey(self) -> anyhow::Result<Pubkey> {
        Pubkey::from_hex(&self.text(0)?).context("a public key has 64 lower-case hex digits")
    }

    fn event(self) -> anyhow::Result<EventId> {
        EventId::from_hex(&self.text(0)?).context("an event id has 64 lower-case hex digits")
    }

    fn kind(self) -> anyhow::Result<u16> {
        let kind = self.0.first().and_then(Value::as_u64).and_then(|kind| kind.try_into().ok());
        kind.context("a kind is a number between 0 and 65535")
    }

    fn network(self) -> anyhow::Result<Network> {
        let text = self.text(0)?;
        let network = match text.parse::<IpAddr>() {
            // An IPv6 customer has a /64 to come from.
            Ok(ip) => match rate::client(ip) {
                IpAddr::V4(ip) => ip.to_string(),
                IpAddr::V6(net) => format!("{net}/64"),
            },
            Err(_) => text,
        };
        Network::try_from(network).map_err(anyhow::Error::msg)
    }

    /// `[id, label, description, color, order]`; what is missing is empty.
    fn role(self) -> anyhow::Result<Role> {
        let text = |at| self.0.get(at).and_then(Value::as_str).unwrap_or_default().to_owned();
        let number = |at: usize| match self.0.get(at) {
            Some(Value::String(text)) => text.parse().ok(),
            Some(value) => value.as_i64(),
            None => None,
        };
        let color = number(3).unwrap_or(0);
        let color = u16::try_from(color).ok().filter(|hue| *hue <= 360).context("a color is a hue of 0 to 360")?;
        Ok(Role { label: text(1), description: text(2), color, order: number(4).unwrap_or(0) })
    }
}
