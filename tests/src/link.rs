//! What stands between two relays in a test: a wire that can be cut, a router file, a peer that says what it likes.

use std::io::Write;
use std::net::SocketAddr;
use std::path::{Path, PathBuf};
use std::sync::Arc;
use std::time::{Duration, Instant};

use anyhow::{Context, bail};
use futures_util::{SinkExt, StreamExt};
use serde_json::{Value, json};
use tempfile::TempDir;
use tokio::net::{TcpListener, TcpStream};
use tokio::sync::watch;
use tokio::task::JoinHandle;
use tokio_tungstenite::WebSocketStream;
use tokio_tungstenite::tungstenite::Message;

use crate::client::{Client, PATIENCE};
use crate::event::Event;

/// How long a link may take to come back, back-off included.
pub const RECOVERY: Duration = Duration::from_secs(60);

/// A router file of a test's own.
pub struct Router {
    file: PathBuf,
    _folder: TempDir,
}

impl Router {
    pub fn new(text: &str) -> anyhow::Result<Self> {
        let folder = tempfile::tempdir()?;
        let router = Self { file: folder.path().join("router.conf"), _folder: folder };
        router.write(text)?;
        Ok(router)
    }

    /// One stream between whoever reads this and `urls`.
    pub fn linking(direction: &str, urls: &[String]) -> anyhow::Result<Self> {
        Self::new(&stream(direction, urls))
    }

    pub fn write(&self, text: &str) -> anyhow::Result<()> {
        std::fs::File::create(&self.file)?.write_all(text.as_bytes()).context("writing the router file")
    }

    pub fn path(&self) -> &Path {
        &self.file
    }
}

/// A file with one stream.
pub fn stream(direction: &str, urls: &[String]) -> String {
    let urls: Vec<String> = urls.iter().map(|url| format!("        {url:?}\n")).collect();
    format!(
        "streams {{\n    # a test\n    test {{\n      dir = {direction:?}\n      urls = [\n{}      ]\n    }}\n}}\n",
        urls.concat()
    )
}

/// Passes bytes between its own port and another, until it is cut.
pub struct Wire {
    address: SocketAddr,
    whole: watch::Sender<bool>,
    accepting: JoinHandle<()>,
}

impl Wire {
    pub async fn to(port: u16) -> anyhow::Result<Self> {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let (whole, watching) = watch::channel(true);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let mut watching = watching.clone();
                if *watching.borrow() {
                    tokio::spawn(async move {
                        tokio::select! {
                            () = pass(stream, port) => {}
                            _ = watching.wait_for(|whole| !whole) => {}
                        }
                    });
                }
            }
        });
        Ok(Self { address, whole, accepting })
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }

    /// Breaks what is connected, and lets nothing connect.
    pub fn cut(&self) {
        self.whole.send_replace(false);
    }

    pub fn mend(&self) {
        self.whole.send_replace(true);
    }
}

impl Drop for Wire {
    fn drop(&mut self) {
        self.accepting.abort();
        self.cut();
    }
}

async fn pass(mut stream: TcpStream, port: u16) {
    if let Ok(mut other) = TcpStream::connect(("127.0.0.1", port)).await {
        // Either side may end it in any way.
        let _ = tokio::io::copy_bidirectional(&mut stream, &mut other).await;
    }
}

/// One conversation of a peer that a test plays.
pub type Socket = WebSocketStream<TcpStream>;

/// A relay that behaves as `serve` does, for each connection anew.
pub struct Peer {
    address: SocketAddr,
    accepting: JoinHandle<()>,
}

impl Peer {
    pub async fn new<F>(serve: impl Fn(Socket) -> F + Send + Sync + 'static) -> anyhow::Result<Self>
    where
        F: Future<Output = anyhow::Result<()>> + Send + 'static,
    {
        let listener = TcpListener::bind(("127.0.0.1", 0)).await?;
        let address = listener.local_addr()?;
        let serve = Arc::new(serve);
        let accepting = tokio::spawn(async move {
            while let Ok((stream, _)) = listener.accept().await {
                let serve = serve.clone();
                tokio::spawn(async move {
                    if let Ok(socket) = tokio_tungstenite::accept_async(stream).await
                        && let Err(error) = serve(socket).await
                    {
                        eprintln!("the played peer: {error:#}");
                    }
                });
            }
        });
        Ok(Self { address, accepting })
    }

    pub fn url(&self) -> String {
        format!("ws://{}", self.address)
    }
}

impl Drop for Peer {
    fn drop(&mut self) {
        self.accepting.abort();
    }
}

/// The next message of the link, as JSON.
pub async fn hear(socket: &mut Socket) -> anyhow::Result<Value> {
    loop {
        match socket.next().await.context("the link has gone")?? {
            Message::Text(text) => return Ok(serde_json::from_str(&text)?),
            Message::Close(_) => bail!("the link has closed"),
            _ => {}
        }
    }
}

/// Waits for a REQ that is not about anything stored: the link's live subscription. Answers others with nothing.
pub async fn hear_live_req(socket: &mut Socket) -> anyhow::Result<String> {
    loop {
        let message = hear(socket).await?;
        if message[0] != "REQ" {
            continue;
        }
        let subscription = message[1].as_str().context("a REQ without id")?.to_owned();
        say(socket, json!(["EOSE", subscription])).await?;
        if message[2]["limit"] == 0 {
            return Ok(subscription);
        }
    }
}

pub async fn say(socket: &mut Socket, message: Value) -> anyhow::Result<()> {
    Ok(socket.send(Message::text(message.to_string())).await?)
}

/// Waits until the relay has every one of these events, and says which it lacks when it does not get them.
pub async fn wait_for_all(client: &mut Client, events: &[Event], patience: Duration) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let mut missing = 0;
        for chunk in events.chunks(100) {
            let ids: Vec<&str> = chunk.iter().map(|event| event.id.as_str()).collect();
            missing += chunk.len() - client.query([json!({"ids": ids, "limit": 100})]).await?.len();
        }
        if missing == 0 {
            return Ok(());
        }
        if begun.elapsed() > patience {
            bail!("{missing} of {} events are missing", events.len());
        }
        tokio::time::sleep(Duration::from_millis(200)).await;
    }
}

/// Waits until every link that the relay keeps is in sync, by its control socket.
pub async fn wait_in_sync(folder: &Path, links: usize) -> anyhow::Result<()> {
    let begun = Instant::now();
    loop {
        let found = links_of(folder)?;
        let in_sync = found.iter().filter(|link| link["state"] == "live").count();
        if in_sync == links && found.len() == links {
            return Ok(());
        }
        if begun.elapsed() > RECOVERY {
            bail!("not in sync: {found:?}");
        }
        tokio::time::sleep(Duration::from_millis(50)).await;
    }
}

/// What the relay whose store lies in `folder` says of its links.
pub fn links_of(folder: &Path) -> anyhow::Result<Vec<Value>> {
    use std::io::{BufRead, BufReader};
    use std::os::unix::net::UnixStream;
    let mut stream = UnixStream::connect(folder.join("control.sock")).context("asking for links")?;
    stream.set_read_timeout(Some(PATIENCE))?;
    stream.write_all(b"{\"verb\":\"links\"}\n")?;
    let mut line = String::new();
    BufReader::new(stream).read_line(&mut line)?;
    let answer: Value = serde_json::from_str(&line)?;
    Ok(answer["links"].as_array().context("no links")?.clone())
}
