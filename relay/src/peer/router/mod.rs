//! The links that a file asks for: started, changed and ended as the file changes.

pub mod file;
pub mod syntax;
mod watch;

use std::collections::HashMap;
use std::sync::Arc;
use std::time::Duration;

use tokio::sync::mpsc;
use tokio::task::JoinHandle;
use tokio::time::{MissedTickBehavior, interval};

use super::home::Home;
use super::link::{Link, Spec};
use super::mark::Marks;
use super::status::{LinkInfo, Status};
pub use file::{Direction, RouterError, RouterFile, Stream};
pub use watch::{read, watch};

/// How often the links' marks are saved.
const SAVE_PERIOD: Duration = Duration::from_secs(5);

/// Keeps links as the last file wants them; dropping it ends them.
pub struct Router {
    home: Arc<Home>,
    marks: Arc<Marks>,
    links: HashMap<(String, String), Running>,
}

struct Running {
    spec: Spec,
    status: Arc<Status>,
    task: JoinHandle<()>,
}

impl Router {
    /// `marks` says where links had come to, and is told where they come.
    pub fn new(home: Arc<Home>, marks: Arc<Marks>) -> Self {
        Self { home, marks, links: HashMap::new() }
    }

    /// Takes up each file that comes, until there will be no more.
    pub async fn run(mut self, mut files: mpsc::Receiver<RouterFile>) {
        let mut saves = interval(SAVE_PERIOD);
        saves.set_missed_tick_behavior(MissedTickBehavior::Delay);
        loop {
            tokio::select! {
                file = files.recv() => match file {
                    Some(file) => self.apply(&file),
                    None => return,
                },
                _ = saves.tick() => self.save().await,
            }
        }
    }

    /// Ends links that the file does not want, starts those that it wants anew, and leaves the others alone.
    pub fn apply(&mut self, file: &RouterFile) {
        let mut wanted: HashMap<(String, String), Spec> =
            file.streams.iter().flat_map(|stream| specs(stream, file)).collect();
        self.links.retain(|name, running| wanted.get(name) == Some(&running.spec));
        wanted.retain(|name, _| !self.links.contains_key(name));
        for (name, spec) in wanted {
            self.start(name, spec);
        }
        for running in self.links.values() {
            running.status.set_verbose(file.verbose);
        }
    }

    fn start(&mut self, name: (String, String), spec: Spec) {
        let status = Arc::new(Status::new(&spec.stream, &spec.url, spec.direction));
        self.home.links.add(&status);
        let link = Link::new(spec.clone(), self.home.clone(), status.clone(), self.marks.clone());
        self.links.insert(name, Running { spec, status, task: tokio::spawn(link.run()) });
    }

    pub fn info(&self) -> Vec<LinkInfo> {
        let mut links: Vec<LinkInfo> = self.links.values().map(|running| running.status.info()).collect();
        links.sort_by(|one, other| (&one.stream, &one.url).cmp(&(&other.stream, &other.url)));
        links
    }

    pub async fn save(&self) {
        let marks = self.marks.clone();
        // A panic over there has been reported by its thread.
        let _ = tokio::task::spawn_blocking(move || marks.save()).await;
    }
}

impl Drop for Router {
    fn drop(&mut self) {
        self.links.clear();
        self.marks.save();
    }
}

impl Drop for Running {
    fn drop(&mut self) {
        self.task.abort();
    }
}

fn specs<'a>(stream: &'a Stream, file: &'a RouterFile) -> impl Iterator<Item = ((String, String), Spec)> + 'a {
    stream.urls.iter().map(|url| {
        let spec = Spec {
            stream: stream.name.clone(),
            url: url.clone(),
            direction: stream.direction,
            filter: stream.filter.clone(),
            plugin_down: stream.plugin_down.clone(),
            plugin_up: stream.plugin_up.clone(),
            connection_timeout: file.connection_timeout,
        };
        ((stream.name.clone(), url.clone()), spec)
    })
}
