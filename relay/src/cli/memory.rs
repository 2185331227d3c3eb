//! How much memory this machine, or the part of it that the relay may use, has.

use std::fs;

/// Bytes; `None` where the system does not say.
pub fn total_bytes() -> Option<u64> {
    let machine = fs::read_to_string("/proc/meminfo").ok().and_then(|text| mem_total(&text));
    // What a service or a container may take of it (cgroup v2).
    let group = fs::read_to_string("/proc/self/cgroup").ok().and_then(|text| {
        let path = text.lines().find_map(|line| line.strip_prefix("0::"))?.trim_end_matches('/').to_owned();
        limit(&path, |path| fs::read_to_string(format!("/sys/fs/cgroup{path}/memory.max")).ok())
    });
    machine.into_iter().chain(group).min()
}

fn mem_total(meminfo: &str) -> Option<u64> {
    let line = meminfo.lines().find_map(|line| line.strip_prefix("MemTotal:"))?;
    let kib: u64 = line.trim().strip_suffix("kB")?.trim().parse().ok()?;
    kib.checked_mul(1024)
}

/// The lowest bound on a group and on those that it is part of.
fn limit(group: &str, read: impl Fn(&str) -> Option<String>) -> Option<u64> {
    let parents = group.char_indices().filter(|(_, letter)| *letter == '/').map(|(at, _)| &group[..at]);
    // "max" is no number, and no bound.
    parents.chain([group]).filter_map(|path| read(path)?.trim().parse().ok()).min()
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn the_machines_memory_is_read_in_kib() {
        assert_eq!(mem_total("MemTotal:       24684544 kB\nMemFree: 1 kB\n"), Some(24_684_544 << 10));
        assert_eq!(mem_total("MemFree: 1 kB\n"), None);
        assert_eq!(mem_total("MemTotal: much\n"), None);
    }

    #[test]
    fn of_nested_groups_the_tightest_bound_holds() {
        let read = |path: &str| match path {
            "" => None,
            "/system.slice" => Some("2000\n".to_owned()),
            "/system.slice/mercato.service" => Some("max\n".to_owned()),
            other => panic!("no such group: {other}"),
        };
        assert_eq!(limit("/system.slice/mercato.service", read), Some(2_000));
        assert_eq!(limit("/system.slice", |_| Some("max\n".to_owned())), None);
    }
}
