//! Who may publish what: the operator's lists (NIP-86), and the ways to be admitted where not everybody is.

mod lists;
mod members;
mod trust;
mod zap;

use std::net::IpAddr;
use std::path::{Path, PathBuf};
use std::sync::{Arc, Mutex, PoisonError};

use anyhow::{Context, bail};
use arc_swap::ArcSwap;

pub use self::lists::{Lists, Role};
pub use self::members::{Members, Refresher};
use crate::config::{AdmissionConfig, Config, Way};
use crate::nostr::{Event, Pubkey, kind};

/// The file, in the folder of the store.
const FILE: &str = "lists.json";

/// Asked about every event, changed by few.
#[derive(Debug)]
pub struct Access {
    lists: ArcSwap<Lists>,
    members: ArcSwap<Members>,
    config: AdmissionConfig,
    /// The operator: never shut out.
    operator: Option<Pubkey>,
    /// Who else may manage the relay.
    admins: Vec<Pubkey>,
    /// Held by whoever changes the lists.
    file: Mutex<PathBuf>,
}

impl Access {
    /// Reads what was decided before.
    pub fn open(config: &Config) -> anyhow::Result<Self> {
        let path = config.store.path.join(FILE);
        let lists = Lists::load(&path).with_context(|| format!("reading {}", path.display()))?;
        Ok(Self {
            lists: ArcSwap::from_pointee(lists),
            members: ArcSwap::default(),
            config: config.admission.clone(),
            operator: Pubkey::from_hex(&config.relay.pubkey),
            admins: config.admission.admins.iter().filter_map(|key| Pubkey::from_hex(key)).collect(),
            file: Mutex::new(path),
        })
    }

    pub fn lists(&self) -> Arc<Lists> {
        self.lists.load_full()
    }

    /// Applies a change and returns once it is on disk.
    pub fn change(&self, apply: impl FnOnce(&mut Lists) -> anyhow::Result<()>) -> anyhow::Result<()> {
        let path = self.file.lock().unwrap_or_else(PoisonError::into_inner);
        let before = self.lists.load();
        let mut lists = Lists::clone(&before);
        apply(&mut lists)?;
        if lists == **before {
            return Ok(());
        }
        if before.is_full() && lists.is_full() {
            bail!("the lists are full, remove an entry first");
        }
        // A first start may not have made the folder yet.
        let folder = path.parent().unwrap_or(Path::new("."));
        std::fs::create_dir_all(folder)
            .and_then(|()| lists.save(&path))
            .with_context(|| format!("writing {}", path.display()))?;
        self.lists.store(Arc::new(lists));
        Ok(())
    }

    /// Whether this key may manage the relay.
    pub fn is_admin(&self, pubkey: &Pubkey) -> bool {
        self.operator == Some(*pubkey) || self.admins.contains(pubkey)
    }

    pub fn blocks(&self, ip: IpAddr) -> bool {
        self.lists.load().blocks(ip)
    }

    /// Refuses an event that the operator does not want; the text starts with a machine prefix.
    pub fn admit(&self, event: &Event) -> Result<(), String> {
        let lists = self.lists.load();
        if self.is_admin(&event.pubkey) {
            return Ok(());
        }
        if lists.banned_pubkeys.contains_key(&event.pubkey) {
            return Err("blocked: this author is banned here".to_owned());
        }
        if lists.banned_events.contains_key(&event.id) {
            return Err("blocked: this event is banned here".to_owned());
        }
        if !lists.takes_kind(event.kind) {
            return Err(format!("blocked: kind {} is not taken here", event.kind));
        }
        match self.config.admit.is_empty() || self.is_member(&lists, &event.pubkey) || self.is_for_member(&lists, event)
        {
            true => Ok(()),
            false => Err(self.closed_door()),
        }
    }

    fn is_member(&self, lists: &Lists, pubkey: &Pubkey) -> bool {
        let members = self.members.load();
        self.operator == Some(*pubkey)
            || self.config.admit.iter().any(|way| match way {
                Way::Listed => lists.admits(pubkey),
                Way::Trusted => members.trusts(pubkey),
                Way::Paid => members.has_paid(pubkey),
            })
    }

    /// Gift wraps and zap receipts are signed by keys that nobody follows: they come in for who they are for.
    fn is_for_member(&self, lists: &Lists, event: &Event) -> bool {
        let delivers = matches!(event.kind, kind::GIFT_WRAP | kind::EPHEMERAL_GIFT_WRAP | kind::ZAP_RECEIPT);
        let mut recipients = event.index_tags().named(b'p').filter_map(|value| std::str::from_utf8(value).ok());
        delivers && recipients.any(|key| Pubkey::from_hex(key).is_some_and(|key| self.is_member(lists, &key)))
    }

    fn closed_door(&self) -> String {
        match self.config.admit.contains(&Way::Paid) {
            true => format!(
                "restricted: publishing here costs {} msat once, see the relay's information document",
                self.config.fee_msat
            ),
            false => "restricted: only members may publish here".to_owned(),
        }
    }
}
