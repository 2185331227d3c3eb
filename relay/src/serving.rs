//! The threads that serve connections, each with an event loop of its own.
//!
//! A connection stays with the thread it is given to, so whoever has something for it wakes that thread and no other. A
//! runtime that shares its tasks among threads wakes a second one at nearly every turn, to look for work: for the small
//! messages of a relay that costs more than the messages do.

use std::io;
use std::sync::{Mutex, PoisonError};
use std::thread::{self, JoinHandle};

use tokio::net::TcpStream;
use tokio::runtime::{Builder, Handle};
use tokio::sync::watch;

/// Turns of tasks after which a busy thread looks for what has come from the network. One turn of a connection is
/// bounded (`websocket`), so this bounds how long its neighbours wait.
const TURNS: u32 = 8;

/// Ends its threads when dropped, as `stop` does.
#[derive(Debug)]
pub struct Serving {
    threads: Vec<Handle>,
    running: Mutex<Vec<JoinHandle<()>>>,
    stopped: watch::Sender<bool>,
}

impl Serving {
    /// Starts `threads` threads; 0: one a core.
    pub fn start(threads: usize) -> io::Result<Self> {
        let cores = || thread::available_parallelism().map_or(2, usize::from);
        let count = if threads == 0 { cores() } else { threads };
        let (stopped, stop) = watch::channel(false);
        let started = (0..count).map(|number| start_thread(number, stop.clone())).collect::<io::Result<Vec<_>>>()?;
        let (threads, running) = started.into_iter().unzip();
        Ok(Self { threads, running: Mutex::new(running), stopped })
    }

    /// Has the thread with the fewest tasks serve a connection.
    pub fn spawn<F>(&self, stream: TcpStream, serve: impl FnOnce(TcpStream) -> F + Send + 'static) -> io::Result<()>
    where
        F: Future<Output = ()> + Send + 'static,
    {
        let idlest = self.threads.iter().min_by_key(|thread| thread.metrics().num_alive_tasks());
        let Some(thread) = idlest else { return Ok(()) };
        // It is watched over by the loop of the thread that accepted it; the new one registers it anew.
        let stream = stream.into_std()?;
        thread.spawn(async move {
            match TcpStream::from_std(stream) {
                Ok(stream) => serve(stream).await,
                Err(error) => tracing::warn!(%error, "a connection could not be served"),
            }
        });
        Ok(())
    }

    /// Ends every thread; what is still connected is cut off.
    pub fn stop(&self) {
        self.stopped.send_replace(true);
    }

    /// Waits until they have ended, after `stop`. Not to be called from one of them.
    pub fn join(&self) {
        for thread in std::mem::take(&mut *self.running.lock().unwrap_or_else(PoisonError::into_inner)) {
            // A panic over there has been reported by its thread.
            let _ = thread.join();
        }
    }
}

fn start_thread(number: usize, mut stop: watch::Receiver<bool>) -> io::Result<(Handle, JoinHandle<()>)> {
    let runtime =
        Builder::new_current_thread().enable_all().event_interval(TURNS).global_queue_interval(TURNS / 2).build()?;
    let handle = runtime.handle().clone();
    let running = thread::Builder::new().name(format!("serve-{number}")).spawn(move || {
        // An error says that `Serving` is gone, which means the same.
        let _ = runtime.block_on(stop.wait_for(|stopped| *stopped));
    })?;
    Ok((handle, running))
}
