//! Ends and new beginnings: draining, systemd's socket and its notices, one process after another.

use std::net::TcpListener;
use std::os::fd::OwnedFd;
use std::os::unix::net::UnixDatagram;
use std::path::Path;
use std::process::{Child, Command, Stdio};
use std::sync::Arc;
use std::sync::atomic::{AtomicBool, Ordering};
use std::time::{Duration, Instant};

use anyhow::{Context, bail, ensure};
use mercato_tests::client::{Client, PATIENCE};
use mercato_tests::http::{ask, ask_port};
use mercato_tests::relay::binary;
use mercato_tests::{Draft, Keys, Relay};
use serde_json::json;

/// How long a process may take to end: as long as it may take to start.
const END: Duration = Duration::from_secs(30);

fn signal(pid: u32, name: &str) -> anyhow::Result<()> {
    let sent = Command::new("kill").args([&format!("-{name}"), &pid.to_string()]).status().context("running kill")?;
    ensure!(sent.success(), "kill failed");
    Ok(())
}

async fn ends_well(child: &mut Child) -> anyhow::Result<()> {
    let begun = Instant::now();
    while begun.elapsed() < END {
        if let Some(status) = child.try_wait()? {
            ensure!(status.success(), "it ended with {status}");
            return Ok(());
        }
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    bail!("it did not end")
}

/// A relay on a socket that a parent keeps, as systemd does it.
struct Activated {
    child: Child,
}

impl Activated {
    fn start(socket: &TcpListener, folder: &Path) -> anyhow::Result<Self> {
        let store = format!("store.path={}", folder.join("store").display());
        let mut command = Command::new("sh");
        // The descriptor comes as stdin and is passed on as 3, for the very process that runs the relay.
        command.args(["-c", "LISTEN_PID=$$ LISTEN_FDS=1 exec \"$@\" 3<&0 0</dev/null", "sh"]);
        command.arg(binary()?).args(["relay", "--set", &store]).current_dir(folder).env_remove("MERCATO_CONFIG");
        let child = command.stdin(Stdio::from(OwnedFd::from(socket.try_clone()?))).spawn()?;
        Ok(Self { child })
    }
}

impl Drop for Activated {
    fn drop(&mut self) {
        // It may have ended already.
        let _ = self.child.kill();
        let _ = self.child.wait();
    }
}

#[tokio::test]
async fn a_drain_takes_no_more_clients_and_ends_when_the_last_has_left() -> anyhow::Result<()> {
    let mut relay = Relay::settings().set("relay.drain_s", 3_600).start()?;
    let (mut client, idle) = (Client::connect(&relay).await?, Client::connect(&relay).await?);
    signal(relay.pid(), "USR1")?;
    let begun = Instant::now();
    while ask(&relay, "GET", "/ready", &[]).await.is_ok_and(|answer| answer.status == 200) {
        ensure!(begun.elapsed() < PATIENCE, "still ready");
        tokio::time::sleep(Duration::from_millis(20)).await;
    }
    ensure!(Client::connect(&relay).await.is_err(), "a new client was taken");
    client.store(&Draft::note("still served").sign(&Keys::generate())).await?;
    relay.check_alive()?;
    drop((client, idle));
    relay.await_end()
}

#[tokio::test]
async fn a_drain_ends_at_its_deadline() -> anyhow::Result<()> {
    let mut relay = Relay::settings().set("relay.drain_s", 1).start()?;
    let mut client = Client::connect(&relay).await?;
    signal(relay.pid(), "USR1")?;
    ensure!(client.is_closed().await?, "the client may stay for ever");
    relay.await_end()
}

#[tokio::test]
async fn a_restart_under_systemds_socket_refuses_nobody() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let socket = TcpListener::bind("127.0.0.1:0")?;
    let port = socket.local_addr()?.port();
    let mut relay = Activated::start(&socket, folder.path())?;
    let over = Arc::new(AtomicBool::new(false));
    // Clients come all the while, one after the other; every one of them is served.
    let knocking = {
        let over = over.clone();
        tokio::spawn(async move {
            let (mut served, keys) = (Vec::new(), Keys::generate());
            while !over.load(Ordering::Relaxed) {
                let number = served.len();
                let mut client =
                    Client::connect_ungreeted(port).await.with_context(|| format!("client {number} was refused"))?;
                let note = Draft::note(format!("{number}")).sign(&keys);
                // A stop may cut a conversation off, be it before the greeting; only who connects must not be turned away.
                if client.challenged().await.is_ok()
                    && client.publish(&note).await.is_ok_and(|verdict| verdict.accepted)
                {
                    served.push(note.id);
                }
                tokio::time::sleep(Duration::from_millis(20)).await;
            }
            anyhow::Ok(served)
        })
    };
    for name in ["TERM", "USR1", "TERM"] {
        Client::connect_to(port).await?;
        signal(relay.child.id(), name)?;
        ends_well(&mut relay.child).await?;
        relay = Activated::start(&socket, folder.path())?;
    }
    Client::connect_to(port).await?;
    over.store(true, Ordering::Relaxed);
    let served = knocking.await??;
    ensure!(!served.is_empty(), "nobody was served");
    let mut client = Client::connect_to(port).await?;
    for id in served {
        ensure!(client.query_ids([json!({"ids": [id]})]).await?.len() == 1, "{id} was lost");
    }
    Ok(())
}

#[tokio::test]
async fn the_next_process_waits_for_the_store_while_its_clients_wait_in_the_queue() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let (first_socket, second_socket) = (TcpListener::bind("127.0.0.1:0")?, TcpListener::bind("127.0.0.1:0")?);
    let port = second_socket.local_addr()?.port();
    let mut first = Activated::start(&first_socket, folder.path())?;
    Client::connect_to(first_socket.local_addr()?.port()).await?;
    let mut second = Activated::start(&second_socket, folder.path())?;
    let waiting = tokio::spawn(async move { ask_port(port, "GET", "/ready", &[]).await });
    tokio::time::sleep(Duration::from_millis(500)).await;
    ensure!(second.child.try_wait()?.is_none(), "the second did not wait");
    ensure!(!waiting.is_finished(), "answered by a relay without a store");
    signal(first.child.id(), "TERM")?;
    ends_well(&mut first.child).await?;
    assert_eq!(waiting.await??.status, 200);
    Ok(())
}

#[tokio::test]
async fn systemd_is_told_of_the_start_of_life_and_of_the_end() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let path = folder.path().join("notify");
    let notices = UnixDatagram::bind(&path)?;
    notices.set_read_timeout(Some(END))?;
    let await_notice = |word: &str| -> anyhow::Result<()> {
        let mut buffer = [0; 4_096];
        loop {
            let size = notices.recv(&mut buffer).with_context(|| format!("waiting for {word}"))?;
            if String::from_utf8_lossy(&buffer[..size]).lines().any(|line| line == word) {
                return Ok(());
            }
        }
    };
    let store = format!("store.path={}", folder.path().join("store").display());
    let mut command = Command::new(binary()?);
    command.args(["relay", "--set", &store, "--set", "relay.port=0"]).current_dir(folder.path());
    command.env_remove("MERCATO_CONFIG").env("NOTIFY_SOCKET", &path).env("WATCHDOG_USEC", "300000");
    let mut relay = Activated { child: command.stdin(Stdio::null()).spawn()? };
    await_notice("READY=1")?;
    await_notice("WATCHDOG=1")?;
    await_notice("WATCHDOG=1")?;
    signal(relay.child.id(), "HUP")?;
    await_notice("RELOADING=1")?;
    await_notice("READY=1")?;
    signal(relay.child.id(), "TERM")?;
    await_notice("STOPPING=1")?;
    ends_well(&mut relay.child).await
}
