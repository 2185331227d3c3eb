//! What a router file asks for, checked.

use std::time::Duration;

use serde::{Deserialize, Serialize};
use serde_json::{Map, Value};

use super::syntax::{self, SyntaxError};
use crate::nostr::{Filter, FilterLimits};
use crate::peer::address;

/// Links that one file may ask for.
const MAX_LINKS: usize = 1_000;
/// Seconds that a connection may take to open, unless the file says.
const CONNECTION_TIMEOUT_S: u64 = 20;

/// Which way events go.
#[derive(Debug, Clone, Copy, PartialEq, Eq, Deserialize, Serialize)]
#[serde(rename_all = "lowercase")]
pub enum Direction {
    /// From the peer to us.
    Down,
    /// From us to the peer.
    Up,
    Both,
}

impl Direction {
    pub fn is_down(self) -> bool {
        self != Self::Up
    }

    pub fn is_up(self) -> bool {
        self != Self::Down
    }
}

impl std::str::FromStr for Direction {
    type Err = String;

    fn from_str(text: &str) -> Result<Self, String> {
        match text {
            "down" => Ok(Self::Down),
            "up" => Ok(Self::Up),
            "both" => Ok(Self::Both),
            _ => Err("dir must be \"up\", \"down\" or \"both\"".to_owned()),
        }
    }
}

/// A file as it is to be carried out.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct RouterFile {
    /// How long a connection may take to open.
    pub connection_timeout: Duration,
    /// Whether each refused event is told.
    pub verbose: bool,
    pub streams: Vec<Stream>,
}

/// One section of `streams`.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Stream {
    pub name: String,
    pub direction: Direction,
    pub urls: Vec<String>,
    pub filter: Filter,
    /// Command of the plugin that judges what comes from the peers.
    pub plugin_down: Option<String>,
    /// Command of the plugin that judges what goes to the peers.
    pub plugin_up: Option<String>,
}

#[derive(Debug, Clone, PartialEq, Eq, thiserror::Error)]
pub enum RouterError {
    #[error(transparent)]
    Syntax(#[from] SyntaxError),
    #[error("{0}")]
    Value(String),
    #[error("stream {stream}: {what}")]
    Stream { stream: String, what: String },
}

impl RouterFile {
    pub fn parse(text: &str) -> Result<Self, RouterError> {
        let members = syntax::parse(text)?;
        let value = |what: &str| RouterError::Value(what.to_owned());
        let connection_timeout_s = match members.get("connectionTimeout") {
            None => CONNECTION_TIMEOUT_S,
            Some(seconds) => seconds
                .as_u64()
                .filter(|seconds| (1..=3_600).contains(seconds))
                .ok_or_else(|| value("connectionTimeout must be a number of seconds, 1 to 3600"))?,
        };
        let verbose = match members.get("verbose") {
            None => true,
            Some(verbose) => verbose.as_bool().ok_or_else(|| value("verbose must be true or false"))?,
        };
        let sections = match members.get("streams") {
            Some(Value::Object(sections)) => sections,
            Some(_) | None => return Err(value("a section streams is needed")),
        };
        let read = |(name, section): (&String, &Value)| {
            Stream::read(name, section).map_err(|what| RouterError::Stream { stream: name.clone(), what })
        };
        let streams: Vec<Stream> = sections.iter().map(read).collect::<Result<_, _>>()?;
        if streams.iter().map(|stream| stream.urls.len()).sum::<usize>() > MAX_LINKS {
            return Err(value("more than 1000 urls"));
        }
        Ok(Self { connection_timeout: Duration::from_secs(connection_timeout_s), verbose, streams })
    }

    /// The file as JSON, which is such a file too: how one process hands it to another.
    pub fn to_json(&self) -> String {
        let streams = self.streams.iter().map(|stream| (stream.name.clone(), stream.to_value())).collect();
        serde_json::json!({
            "connectionTimeout": self.connection_timeout.as_secs(),
            "verbose": self.verbose,
            "streams": Value::Object(streams),
        })
        .to_string()
    }
}

impl Stream {
    fn read(name: &str, section: &Value) -> Result<Self, String> {
        let Value::Object(members) = section else { return Err("is not a section".to_owned()) };
        let direction = text(members, "dir")?.ok_or("dir is missing")?.parse()?;
        let urls = members.get("urls").ok_or("urls is missing")?;
        let mut urls: Vec<String> = serde_json::from_value(urls.clone()).map_err(|_| "urls must be a list of texts")?;
        if urls.is_empty() {
            return Err("urls is empty".to_owned());
        }
        for url in &urls {
            address::check(url)?;
        }
        urls.sort();
        urls.dedup();
        let filter = match members.get("filter") {
            None => Filter::default(),
            Some(filter @ Value::Object(_)) => read_filter(filter)?,
            Some(_) => return Err("filter must be one filter, as { \"kinds\": [1] }".to_owned()),
        };
        let plugin = |name| Ok::<_, String>(text(members, name)?.filter(|command| !command.is_empty()));
        Ok(Self {
            name: name.to_owned(),
            direction,
            urls,
            filter,
            plugin_down: plugin("pluginDown")?,
            plugin_up: plugin("pluginUp")?,
        })
    }

    fn to_value(&self) -> Value {
        let filter = serde_json::from_str(&self.filter.to_json()).unwrap_or_else(|_| Value::Object(Map::new()));
        let mut section = serde_json::json!({"dir": self.direction, "urls": self.urls, "filter": filter});
        for (name, plugin) in [("pluginDown", &self.plugin_down), ("pluginUp", &self.plugin_up)] {
            if let Some(command) = plugin {
                section[name] = Value::from(command.as_str());
            }
        }
        section
    }
}

fn text(members: &Map<String, Value>, name: &str) -> Result<Option<String>, String> {
    match members.get(name) {
        None => Ok(None),
        Some(Value::String(text)) => Ok(Some(text.clone())),
        Some(_) => Err(format!("{name} must be text")),
    }
}

fn read_filter(filter: &Value) -> Result<Filter, String> {
    let limits = FilterLimits { max_elements: usize::MAX, max_tags: usize::MAX };
    let mut filter = Filter::parse(&filter.to_string(), limits).map_err(|error| format!("filter: {error}"))?;
    // strfry sets a limit of its own, and so does a link: it is about what comes, not about what was.
    filter.limit = None;
    Ok(filter)
}

#[cfg(test)]
mod tests {
    use super::*;

    const EXAMPLE: &str = r#"
        connectionTimeout = 20

        verbose = false

        streams {
            ## Stream down events from our friend relays

            friends {
                dir = "down"
                pluginDown = "/home/user/spam-filter.js"

                urls = [
                    "wss://nos.lol"
                    "wss://relayable.org"
                ]
            }

            ## Backup profiles and contact lists to our directory node

            directory {
                dir = "up"
                filter = { "kinds": [0, 3] }

                urls = [
                    "ws://internal-directory.example.com"
                ]
            }
        }
    "#;

    #[test]
    fn a_file_of_strfry_is_understood() {
        let file = RouterFile::parse(EXAMPLE).unwrap();
        assert_eq!(file.connection_timeout, Duration::from_secs(20));
        assert!(!file.verbose);
        let named = |name: &str| file.streams.iter().find(|stream| stream.name == name).unwrap();
        let (friends, directory) = (named("friends"), named("directory"));
        assert_eq!(friends.direction, Direction::Down);
        assert_eq!(friends.urls, ["wss://nos.lol", "wss://relayable.org"]);
        assert_eq!(friends.plugin_down.as_deref(), Some("/home/user/spam-filter.js"));
        assert_eq!(directory.direction, Direction::Up);
        assert_eq!(directory.filter.kinds, Some(vec![0, 3]));
        assert_eq!(RouterFile::parse(&file.to_json()).unwrap(), file);
    }

    #[test]
    fn what_is_wrong_with_a_stream_is_told_with_its_name() {
        let fault = |section: &str| RouterFile::parse(&format!("streams {{ x {section} }}")).unwrap_err().to_string();
        assert_eq!(fault("{ urls = ['ws://a'] }"), "stream x: dir is missing");
        assert_eq!(fault("{ dir = 'in' urls = ['ws://a'] }"), "stream x: dir must be \"up\", \"down\" or \"both\"");
        assert_eq!(fault("{ dir = 'up' }"), "stream x: urls is missing");
        assert_eq!(fault("{ dir = 'up' urls = [] }"), "stream x: urls is empty");
        assert_eq!(
            fault("{ dir = 'up' urls = ['http://a'] }"),
            "stream x: http://a is not the address of a relay, as wss://relay.example.com"
        );
        assert_eq!(
            fault("{ dir = 'up' urls = ['ws://a'] filter = { kind = 1 } }"),
            "stream x: filter: unknown filter key kind"
        );
        assert!(RouterFile::parse("").is_err());
        assert!(RouterFile::parse("streams {} connectionTimeout = 0").is_err());
    }
}
