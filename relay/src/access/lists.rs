//! What the operator has decided about keys, events, kinds and addresses (NIP-86): a file that a human can read.

use std::collections::{BTreeMap, BTreeSet};
use std::fs::{File, OpenOptions};
use std::io::{self, Write};
use std::net::IpAddr;
use std::os::unix::fs::OpenOptionsExt;
use std::path::Path;

use serde::{Deserialize, Serialize};

use crate::config::Network;
use crate::nostr::{EventId, Pubkey};

/// Entries of all lists together; a further one is refused.
const MAX_ENTRIES: usize = 1_000_000;

/// Every list, each entry with the reason that was given for it.
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default, deny_unknown_fields)]
pub struct Lists {
    pub banned_pubkeys: BTreeMap<Pubkey, String>,
    pub allowed_pubkeys: BTreeMap<Pubkey, String>,
    pub banned_events: BTreeMap<EventId, String>,
    /// Events that somebody reported and the operator found harmless.
    pub allowed_events: BTreeMap<EventId, String>,
    /// When not empty, the only kinds that are taken.
    pub allowed_kinds: BTreeSet<u16>,
    pub disallowed_kinds: BTreeSet<u16>,
    pub blocked_ips: BTreeMap<Network, String>,
    pub roles: BTreeMap<String, Role>,
    /// Roles by member.
    pub members: BTreeMap<Pubkey, BTreeSet<String>>,
    /// What stands in NIP-11 instead of the configuration's.
    pub name: Option<String>,
    pub description: Option<String>,
    pub icon: Option<String>,
}

/// A named group of members (NIP-43, NIP-86).
#[derive(Debug, Clone, Default, PartialEq, Deserialize, Serialize)]
#[serde(default)]
pub struct Role {
    pub label: String,
    pub description: String,
    /// Hue, 0 to 360.
    pub color: u16,
    pub order: i64,
}

impl Lists {
    /// Reads the file; no file is no entries.
    pub fn load(path: &Path) -> io::Result<Self> {
        match std::fs::read(path) {
            Ok(bytes) => serde_json::from_slice(&bytes).map_err(io::Error::from),
            Err(error) if error.kind() == io::ErrorKind::NotFound => Ok(Self::default()),
            Err(error) => Err(error),
        }
    }

    /// Replaces the file, and returns once the new one would survive a power cut.
    pub fn save(&self, path: &Path) -> io::Result<()> {
        let fresh = path.with_extension("json.new");
        let mut file = OpenOptions::new().write(true).create(true).truncate(true).mode(0o600).open(&fresh)?;
        file.write_all(&serde_json::to_vec_pretty(self)?)?;
        file.sync_all()?;
        std::fs::rename(&fresh, path)?;
        match path.parent() {
            Some(folder) => File::open(folder)?.sync_all(),
            None => Ok(()),
        }
    }

    pub fn blocks(&self, ip: IpAddr) -> bool {
        self.blocked_ips.keys().any(|network| network.contains(ip))
    }

    /// Whether this key may publish where only listed ones may.
    pub fn admits(&self, pubkey: &Pubkey) -> bool {
        self.allowed_pubkeys.contains_key(pubkey) || self.members.get(pubkey).is_some_and(|roles| !roles.is_empty())
    }

    pub fn takes_kind(&self, kind: u16) -> bool {
        (self.allowed_kinds.is_empty() || self.allowed_kinds.contains(&kind)) && !self.disallowed_kinds.contains(&kind)
    }

    /// Whether one entry more would be too many.
    pub fn is_full(&self) -> bool {
        let roles: usize = self.members.values().map(BTreeSet::len).sum();
        let keys = self.banned_pubkeys.len() + self.allowed_pubkeys.len();
        let events = self.banned_events.len() + self.allowed_events.len();
        keys + events + self.blocked_ips.len() + self.roles.len() + self.members.len() + roles >= MAX_ENTRIES
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn lists_are_read_as_they_were_written_and_by_their_owner_only() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists.json");
        assert_eq!(Lists::load(&path).unwrap(), Lists::default());
        let mut lists = Lists::default();
        lists.banned_pubkeys.insert(Pubkey([1; 32]), "spam".to_owned());
        lists.banned_events.insert(EventId([2; 32]), String::new());
        lists.blocked_ips.insert(Network::try_from("2001:db8::/32".to_owned()).unwrap(), "abuse".to_owned());
        lists.members.entry(Pubkey([3; 32])).or_default().insert("king".to_owned());
        lists.name = Some("Another".to_owned());
        lists.save(&path).unwrap();
        assert_eq!(Lists::load(&path).unwrap(), lists);
        use std::os::unix::fs::PermissionsExt;
        assert_eq!(std::fs::metadata(&path).unwrap().permissions().mode() & 0o777, 0o600);
    }

    #[test]
    fn a_damaged_file_is_an_error_and_not_an_empty_list() {
        let folder = tempfile::tempdir().unwrap();
        let path = folder.path().join("lists.json");
        std::fs::write(&path, "{\"banned_pubkeys\":{\"x\":\"\"}}").unwrap();
        assert!(Lists::load(&path).is_err());
    }
}
