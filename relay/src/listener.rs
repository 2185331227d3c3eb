//! The sockets that clients come to: opened by the relay, or handed over by systemd.

use std::net::SocketAddr;
use std::os::fd::FromRawFd;

use anyhow::{Context, ensure};
use tokio::net::{TcpListener, TcpSocket};

use crate::config::RelayConfig;

/// Connections that wait in the system's queue; the system has a bound of its own (net.core.somaxconn).
const BACKLOG: u32 = 4_096;

#[derive(Debug)]
pub struct Listeners {
    pub sockets: Vec<TcpListener>,
    /// systemd keeps them open when the relay is gone.
    pub inherited: bool,
}

impl Listeners {
    /// Takes what systemd passes (`LISTEN_FDS`), else opens what the configuration says. From then on nobody is refused:
    /// who comes before the relay serves waits in the system's queue.
    pub fn open(config: &RelayConfig) -> anyhow::Result<Self> {
        let passed = passed_by_systemd()?;
        if !passed.is_empty() {
            return Ok(Self { sockets: passed, inherited: true });
        }
        let address = SocketAddr::new(config.bind, config.port);
        let socket = bind(address, config.reuse_port).with_context(|| format!("listening on {address}"))?;
        Ok(Self { sockets: vec![socket], inherited: false })
    }

    /// Of the first of them.
    pub fn address(&self) -> anyhow::Result<SocketAddr> {
        let first = self.sockets.first().context("no socket to listen on")?;
        Ok(first.local_addr()?)
    }
}

pub fn bind(address: SocketAddr, reuse_port: bool) -> std::io::Result<TcpListener> {
    let socket = if address.is_ipv4() { TcpSocket::new_v4() } else { TcpSocket::new_v6() }?;
    socket.set_reuseaddr(true)?;
    socket.set_reuseport(reuse_port)?;
    socket.bind(address)?;
    socket.listen(BACKLOG)
}

fn passed_by_systemd() -> anyhow::Result<Vec<TcpListener>> {
    let passed = sd_notify::listen_fds().context("taking systemd's sockets")?;
    passed.map(adopt).collect()
}

fn adopt(descriptor: i32) -> anyhow::Result<TcpListener> {
    ensure!(is_stream_socket(descriptor), "systemd passes what is no TCP socket as descriptor {descriptor}");
    // SAFETY: systemd passes each descriptor to this process alone, and this is the only place that takes it.
    let socket = unsafe { std::net::TcpListener::from_raw_fd(descriptor) };
    socket.local_addr().context("systemd passes a socket without an address")?;
    socket.set_nonblocking(true)?;
    Ok(TcpListener::from_std(socket)?)
}

fn is_stream_socket(descriptor: i32) -> bool {
    let (mut kind, mut size) = (0, size_of::<libc::c_int>() as libc::socklen_t);
    // SAFETY: the call writes an int, for which there is room; a descriptor that is no socket is an error.
    let asked =
        unsafe { libc::getsockopt(descriptor, libc::SOL_SOCKET, libc::SO_TYPE, (&raw mut kind).cast(), &raw mut size) };
    asked == 0 && kind == libc::SOCK_STREAM
}
