//! What a process has used, as Linux tells.

use anyhow::{Context, ensure};

/// Processor time of all its threads, those that have ended included, user and system, in seconds.
///
/// # Errors
/// When there is no such process.
pub fn cpu_s(pid: u32) -> anyhow::Result<f64> {
    let (mut clock, mut time) = (0, libc::timespec { tv_sec: 0, tv_nsec: 0 });
    let pid = libc::pid_t::try_from(pid).context("no process has this number")?;
    // SAFETY: both only write to the place they are given, and say so when they do not.
    let failed =
        unsafe { libc::clock_getcpuclockid(pid, &mut clock) != 0 || libc::clock_gettime(clock, &mut time) != 0 };
    ensure!(!failed, "the processor time of process {pid} cannot be read");
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// Processor time of this thread, in seconds.
///
/// # Errors
/// When the system does not count it.
pub fn thread_cpu_s() -> anyhow::Result<f64> {
    let mut time = libc::timespec { tv_sec: 0, tv_nsec: 0 };
    // SAFETY: it only writes to the place it is given, and says so when it does not.
    let failed = unsafe { libc::clock_gettime(libc::CLOCK_THREAD_CPUTIME_ID, &mut time) != 0 };
    ensure!(!failed, "the processor time of this thread cannot be read");
    Ok(time.tv_sec as f64 + time.tv_nsec as f64 / 1e9)
}

/// Processor time of every child that has ended and was waited for, in seconds.
pub fn children_cpu_s() -> f64 {
    let mut usage = std::mem::MaybeUninit::<libc::rusage>::zeroed();
    // SAFETY: it fills the structure it is given, which is all zeros, hence whole, should it fail.
    let usage = unsafe {
        libc::getrusage(libc::RUSAGE_CHILDREN, usage.as_mut_ptr());
        usage.assume_init()
    };
    let seconds = |time: libc::timeval| time.tv_sec as f64 + time.tv_usec as f64 / 1e6;
    seconds(usage.ru_utime) + seconds(usage.ru_stime)
}

/// Anonymous memory in MiB: what it has allocated, without mapped files.
///
/// # Errors
/// When there is no such process, or it is somebody else's.
pub fn anonymous_mib(pid: u32) -> anyhow::Result<f64> {
    let path = format!("/proc/{pid}/smaps_rollup");
    let rollup = std::fs::read_to_string(&path).with_context(|| format!("reading {path}"))?;
    let line = rollup.lines().find_map(|line| line.strip_prefix("Anonymous:"));
    let kib = line.and_then(|line| line.trim().strip_suffix("kB")).and_then(|kib| kib.trim().parse::<f64>().ok());
    Ok(kib.with_context(|| format!("{path} has another form"))? / 1_024.0)
}

/// Asks a process to end in good order.
pub fn terminate(pid: u32) {
    if let Ok(pid) = libc::pid_t::try_from(pid) {
        // SAFETY: a signal touches no memory of ours; a process that is gone is no error here.
        unsafe {
            libc::kill(pid, libc::SIGTERM);
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn this_process_has_used_something() {
        let pid = std::process::id();
        assert!(cpu_s(pid).is_ok_and(|used_s| used_s >= 0.0));
        assert!(anonymous_mib(pid).is_ok_and(|used_mib| used_mib > 0.0));
        assert!(cpu_s(u32::MAX).is_err());
    }
}
