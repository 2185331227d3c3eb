//! A web of trust: the roots, whom they follow (NIP-02), whom those follow, and so on.

use std::collections::{HashMap, HashSet};
use std::ops::ControlFlow;

use crate::config::AdmissionConfig;
use crate::nostr::{Filter, Pubkey, kind};
use crate::store::{Progress, Scan, Store, StoreError};

/// Keys in the web at most: the nearest come first, and a step that would lead beyond is cut short.
const MAX_KEYS: usize = 2_000_000;
/// Authors asked about in one scan.
const AUTHORS: usize = 500;
/// Index entries looked at in one slice of a scan.
const SLICE: u32 = 4_096;

/// The keys within `trust_depth` steps of `roots`. One of the last step needs `trust_min_followers` among those before.
pub fn web(store: &dyn Store, roots: &[Pubkey], config: &AdmissionConfig) -> Result<HashSet<Pubkey>, StoreError> {
    let mut trusted: HashSet<Pubkey> = roots.iter().copied().collect();
    let mut edge: Vec<Pubkey> = trusted.iter().copied().collect();
    for step in 1..=config.trust_depth {
        let mut followers: HashMap<Pubkey, u32> = HashMap::new();
        for authors in edge.chunks(AUTHORS) {
            follows(store, authors, &mut |followed| {
                if !trusted.contains(&followed) && (followers.len() < MAX_KEYS || followers.contains_key(&followed)) {
                    *followers.entry(followed).or_default() += 1;
                }
            })?;
        }
        // Whom a root follows is trusted at once.
        let needed = if step == 1 { 1 } else { config.trust_min_followers };
        edge = followers.into_iter().filter(|(_, count)| *count >= needed).map(|(key, _)| key).collect();
        edge.sort_unstable();
        edge.truncate(MAX_KEYS.saturating_sub(trusted.len()));
        trusted.extend(&edge);
    }
    Ok(trusted)
}

/// Hands over whom each of `authors` follows, each once.
fn follows(store: &dyn Store, authors: &[Pubkey], each: &mut dyn FnMut(Pubkey)) -> Result<(), StoreError> {
    let mut authors = authors.to_vec();
    authors.sort_unstable();
    let filter = Filter { authors: Some(authors), kinds: Some(vec![kind::FOLLOWS]), ..Filter::default() };
    let mut scan = Scan::new(filter);
    let mut found = |head: &crate::store::Head<'_>| {
        let names = head.view().index_tags.named(b'p').filter_map(|value| std::str::from_utf8(value).ok());
        let mut keys: Vec<Pubkey> = names.filter_map(Pubkey::from_hex).collect();
        keys.sort_unstable();
        keys.dedup();
        keys.into_iter().for_each(&mut *each);
        ControlFlow::Continue(())
    };
    while store.scan_heads(&mut scan, SLICE, &mut found)? == Progress::More {}
    Ok(())
}
