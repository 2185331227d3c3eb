//! The real strfry: what it and this relay say to each other is tested where `$MERCATO_STRFRY` names its program.

use std::fs::File;
use std::net::{Ipv4Addr, TcpListener, TcpStream};
use std::path::{Path, PathBuf};
use std::process::{Command, Output, Stdio};
use std::time::{Duration, Instant};

use anyhow::{Context, ensure};
use tempfile::TempDir;

use crate::relay::Running;

/// How long it may take to listen.
const START: Duration = Duration::from_secs(30);

/// A store of strfry's, and the relay on it.
pub struct Strfry {
    program: PathBuf,
    port: u16,
    /// Before its folder, so that the process is gone first.
    _relay: Running,
    folder: TempDir,
}

impl Strfry {
    /// `None`, and a word about it, where no strfry is named.
    pub fn start() -> anyhow::Result<Option<Self>> {
        let Some(program) = std::env::var_os("MERCATO_STRFRY").map(PathBuf::from) else {
            eprintln!("not run: MERCATO_STRFRY names no strfry");
            return Ok(None);
        };
        let folder = tempfile::tempdir()?;
        // Free a moment ago; strfry cannot be given a socket.
        let port = TcpListener::bind((Ipv4Addr::LOCALHOST, 0))?.local_addr()?.port();
        std::fs::create_dir(folder.path().join("db"))?;
        let text = format!(
            "db = {:?}\nrelay {{ bind = \"127.0.0.1\" port = {port} nofiles = 0\n  auth {{ enabled = true serviceUrl = \"ws://127.0.0.1:{port}\" }}\n}}\n",
            folder.path().join("db").join("")
        );
        std::fs::write(folder.path().join("strfry.conf"), text)?;
        let relay = Running::start(command(&program, folder.path(), &["relay"])?)?;
        let strfry = Self { program, port, _relay: relay, folder };
        strfry.listens()?;
        Ok(Some(strfry))
    }

    pub fn port(&self) -> u16 {
        self.port
    }

    pub fn url(&self) -> String {
        format!("ws://127.0.0.1:{}", self.port)
    }

    /// A verb that runs until it is dropped.
    pub fn run(&self, arguments: &[&str]) -> anyhow::Result<Running> {
        Running::start(command(&self.program, self.folder.path(), arguments)?)
    }

    /// A verb that runs to its end; what it prints.
    pub fn out(&self, arguments: &[&str], input: &[u8]) -> anyhow::Result<String> {
        let file = self.folder.path().join("input");
        std::fs::write(&file, input)?;
        let mut command = command(&self.program, self.folder.path(), arguments)?;
        let Output { status, stdout, .. } = command.stdin(File::open(file)?).stdout(Stdio::piped()).output()?;
        ensure!(status.success(), "strfry {arguments:?} ended with {status}: {}", self.log());
        String::from_utf8(stdout).context("strfry wrote something that is not UTF-8")
    }

    /// The same for a verb that has to fail.
    pub fn fails(&self, arguments: &[&str]) -> anyhow::Result<()> {
        ensure!(self.out(arguments, b"").is_err(), "strfry {arguments:?} did not fail");
        Ok(())
    }

    /// A file for its router.
    pub fn router_file(&self, text: &str) -> anyhow::Result<String> {
        let file = self.folder.path().join("router.conf");
        std::fs::write(&file, text)?;
        Ok(file.display().to_string())
    }

    /// What its processes have said.
    pub fn log(&self) -> String {
        std::fs::read_to_string(self.folder.path().join("log")).unwrap_or_default()
    }

    fn listens(&self) -> anyhow::Result<()> {
        let begun = Instant::now();
        while TcpStream::connect((Ipv4Addr::LOCALHOST, self.port)).is_err() {
            ensure!(begun.elapsed() < START, "strfry does not listen: {}", self.log());
            std::thread::sleep(Duration::from_millis(50));
        }
        Ok(())
    }
}

impl Drop for Strfry {
    fn drop(&mut self) {
        // Captured by the test harness, which shows it for tests that fail.
        eprintln!("-- what strfry has said\n{}", self.log());
    }
}

fn command(program: &Path, folder: &Path, arguments: &[&str]) -> anyhow::Result<Command> {
    let log = File::options().create(true).append(true).open(folder.join("log"))?;
    let mut command = Command::new(program);
    command.arg(format!("--config={}", folder.join("strfry.conf").display())).args(arguments);
    command.current_dir(folder).stdout(Stdio::null()).stderr(log);
    Ok(command)
}
