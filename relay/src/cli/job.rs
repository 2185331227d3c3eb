//! `mercato job`: the whole story of one job, from the signed events that tell of it.

mod line;
mod story;

use anyhow::{Context, bail};

use self::story::Story;
use super::jobs::board::Board;
use super::output::Output;
use super::{keys, storage};
use crate::clock::now_s;
use crate::config::Config;
use crate::nostr::EventId;
use crate::store::rocks::RocksStore;

#[derive(Debug, clap::Args)]
pub struct JobArgs {
    /// The request: its id in hex, the first digits of it, note1... or nevent1...
    id: String,
    /// A JSON line for each event of the story instead of text.
    #[arg(long)]
    json: bool,
}

pub fn run(config: &Config, args: &JobArgs) -> anyhow::Result<()> {
    let store = storage::open_to_read(config)?;
    let own = keys::own(config)?.context("there are no jobs: this relay was never started")?;
    let mut board = Board::new(own);
    board.update(&store)?;
    let id = find(&args.id, &board, &store)?;
    let story = Story::read(&store, own, id)?;
    let mut output = Output::new();
    match args.json {
        true => story.lines.iter().try_for_each(|line| output.line(serde_json::to_string(line)?))?,
        false => story.text(now_s()).iter().try_for_each(|line| output.line(line))?,
    }
    output.flush()
}

/// The request that `text` means.
fn find(text: &str, board: &Board, store: &RocksStore) -> anyhow::Result<EventId> {
    if let Some(id) = whole(text) {
        use crate::store::Store;
        let is_known = board.get(&id.to_hex()).is_some() || store.get(&id)?.is_some();
        return if is_known { Ok(id) } else { bail!("there is no job {id} here") };
    }
    let begins: Vec<&str> = board.ids().filter(|id| id.starts_with(text)).take(2).collect();
    match begins[..] {
        [id] => EventId::from_hex(id).context("a state names a job by something else than its id"),
        [] => bail!("{text:?} is neither the id of a job here nor the beginning of one"),
        _ => bail!("several jobs begin with {text}: give more digits"),
    }
}

fn whole(text: &str) -> Option<EventId> {
    use nostr::nips::nip19::{FromBech32, Nip19Event};
    let text = text.strip_prefix("nostr:").unwrap_or(text);
    let of_note = nostr::EventId::from_bech32(text).ok();
    let id = of_note.or_else(|| Nip19Event::from_bech32(text).ok().map(|event| event.event_id));
    id.map(|id| EventId(id.to_bytes())).or_else(|| EventId::from_hex(text))
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn an_id_is_read_in_every_form() {
        use nostr::nips::nip19::{Nip19Event, ToBech32};
        let id = EventId([7; 32]);
        let other = nostr::EventId::from_byte_array(id.0);
        let forms = [id.to_hex(), other.to_bech32().unwrap(), Nip19Event::new(other).to_bech32().unwrap()];
        for form in forms {
            assert_eq!(whole(&form), Some(id), "{form}");
            assert_eq!(whole(&format!("nostr:{form}")), Some(id), "{form}");
        }
        assert_eq!(whole("0707"), None);
    }
}
