//! `mercato stream`: live events from or to one relay.

use std::time::Duration;

use super::linking::{self, Plan};
use crate::config::Config;
use crate::nostr::Filter;
use crate::peer::address;
use crate::peer::router::{Direction, RouterFile, Stream};

/// How long the connection may take to open.
const CONNECTION_TIMEOUT: Duration = Duration::from_secs(20);

#[derive(Debug, clap::Args)]
pub struct StreamArgs {
    /// The other relay, as wss://relay.example.com.
    #[arg(value_parser = relay_url)]
    url: String,
    /// `down`: its events to us; `up`: ours to it; `both`.
    #[arg(long, default_value = "down")]
    dir: Direction,
    /// Only events that match, as in a REQ.
    #[arg(long, value_parser = super::parse_filter)]
    filter: Option<Filter>,
}

pub fn run(config: &Config, args: StreamArgs) -> anyhow::Result<()> {
    let filter = Filter { limit: None, ..args.filter.unwrap_or_default() };
    let stream = Stream {
        name: "stream".to_owned(),
        direction: args.dir,
        urls: vec![args.url],
        filter,
        // As strfry has it: what comes by a stream is judged like what clients publish.
        plugin_down: Some(config.plugins.write.clone()).filter(|command| !command.is_empty()),
        plugin_up: None,
    };
    let file = RouterFile { connection_timeout: CONNECTION_TIMEOUT, verbose: false, streams: vec![stream] };
    linking::run(config, Plan { file, path: None, keep: false })
}

pub fn relay_url(text: &str) -> Result<String, String> {
    address::check(text).map(|()| text.to_owned())
}
