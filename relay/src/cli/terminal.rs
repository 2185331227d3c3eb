//! What the process is told by, and asks of, the system around it.

use std::io::IsTerminal;

/// How much fits on the terminal.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct Size {
    pub columns: usize,
    pub rows: usize,
}

/// Size of the terminal that standard output is; `None` when it is none.
pub fn size() -> Option<Size> {
    if !std::io::stdout().is_terminal() {
        return None;
    }
    let mut size = libc::winsize { ws_row: 0, ws_col: 0, ws_xpixel: 0, ws_ypixel: 0 };
    // SAFETY: TIOCGWINSZ writes one `winsize`, which it is given, and keeps no pointer to it.
    let done = unsafe { libc::ioctl(libc::STDOUT_FILENO, libc::TIOCGWINSZ, &raw mut size) } == 0;
    // A terminal that does not know its size says 0.
    let or = |value: u16, usual| if done && value > 0 { usize::from(value) } else { usual };
    Some(Size { columns: or(size.ws_col, 80), rows: or(size.ws_row, 24) })
}

/// Whether standard output takes colours: it is a terminal, and nobody objects (no-color.org).
pub fn has_colour() -> bool {
    let objection = std::env::var_os("NO_COLOR").is_some_and(|value| !value.is_empty());
    std::io::stdout().is_terminal() && !objection
}

/// Lets the process hold as many files and connections as the system allows it; the usual limit of 1024 is low for
/// both a relay and a large store.
pub fn raise_open_files() {
    let mut limit = libc::rlimit { rlim_cur: 0, rlim_max: 0 };
    // SAFETY: both calls read or write one `rlimit`, which they are given, and keep no pointer to it.
    unsafe {
        if libc::getrlimit(libc::RLIMIT_NOFILE, &raw mut limit) == 0 && limit.rlim_cur < limit.rlim_max {
            limit.rlim_cur = limit.rlim_max;
            // Where this is forbidden, the limit that was given must do.
            libc::setrlimit(libc::RLIMIT_NOFILE, &raw const limit);
        }
    }
}
