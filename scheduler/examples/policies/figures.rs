//! What came of a run, added up over seeds.

use crate::script::MINUTE;
use mercato_scheduler::ProviderId;
use std::collections::BTreeMap;
use std::fmt::Write as _;

/// The width of a place on the axis of time.
pub const BIN_MS: u64 = 10 * MINUTE;

/// Jobs that ended with a result in one span of time.
#[derive(Clone, Copy, Default)]
pub struct Bin {
    pub right: u64,
    pub wrong: u64,
    pub results: u64,
}

#[derive(Clone, Default)]
pub struct Figures {
    pub jobs: u64,
    pub right: u64,
    pub wrong: u64,
    pub failed: u64,
    pub refused: u64,
    /// Of those, of customers who pay.
    pub refused_payers: u64,
    pub unfinished: u64,
    pub leases: u64,
    /// Leases under which the work was begun.
    pub executions: u64,
    pub paid_msat: u64,
    pub lost_msat: u64,
    pub unpaid_msat: u64,
    pub cpu_ns: u64,
    pub honest_ms: u64,
    pub honest_leases: u64,
    pub newcomer_ms: u64,
    pub newcomer_leases: u64,
    /// How old honest newcomers were when they got their first lease.
    pub first_leases: BTreeMap<ProviderId, u64>,
    pub bins: Vec<Bin>,
    /// From the request to the accepted result.
    waits_ms: Vec<u64>,
    first_result_ms: Vec<u64>,
    newcomer_waits_ms: Vec<u64>,
}

/// A figure by name; ratios in thousandths, as nothing here counts in fractions.
pub type Row = Vec<(&'static str, u64)>;

fn share(part: u64, whole: u64, of: u64) -> u64 {
    u64::try_from(u128::from(part) * u128::from(of) / u128::from(whole.max(1))).unwrap_or(u64::MAX)
}

/// The value below which so many of a thousand are.
fn quantile(sorted: &[u64], permille: usize) -> u64 {
    let place = (sorted.len().saturating_sub(1)) * permille / 1_000;
    sorted.get(place).copied().unwrap_or(0)
}

impl Figures {
    /// A job ended with a result.
    pub fn ended(&mut self, now_ms: u64, is_right: bool, results: u64, wait_ms: u64) {
        if self.waits_ms.is_empty() {
            self.first_result_ms.push(now_ms);
        }
        self.waits_ms.push(wait_ms);
        let place = usize::try_from(now_ms / BIN_MS).unwrap_or(0);
        if self.bins.len() <= place {
            self.bins.resize(place + 1, Bin::default());
        }
        let bin = &mut self.bins[place];
        bin.results += results;
        if is_right {
            self.right += 1;
            bin.right += 1;
        } else {
            self.wrong += 1;
            bin.wrong += 1;
        }
    }

    /// Adds the run of another seed.
    pub fn add(&mut self, other: Self) {
        let sums = [
            (&mut self.jobs, other.jobs),
            (&mut self.right, other.right),
            (&mut self.wrong, other.wrong),
            (&mut self.failed, other.failed),
            (&mut self.refused, other.refused),
            (&mut self.refused_payers, other.refused_payers),
            (&mut self.unfinished, other.unfinished),
            (&mut self.leases, other.leases),
            (&mut self.executions, other.executions),
            (&mut self.paid_msat, other.paid_msat),
            (&mut self.lost_msat, other.lost_msat),
            (&mut self.unpaid_msat, other.unpaid_msat),
            (&mut self.cpu_ns, other.cpu_ns),
            (&mut self.honest_ms, other.honest_ms),
            (&mut self.honest_leases, other.honest_leases),
            (&mut self.newcomer_ms, other.newcomer_ms),
            (&mut self.newcomer_leases, other.newcomer_leases),
        ];
        sums.into_iter().for_each(|(sum, more)| *sum += more);
        self.newcomer_waits_ms.extend(other.first_leases.into_values());
        self.first_result_ms.extend(other.first_result_ms);
        self.waits_ms.extend(other.waits_ms);
        if self.bins.len() < other.bins.len() {
            self.bins.resize(other.bins.len(), Bin::default());
        }
        for (bin, more) in self.bins.iter_mut().zip(other.bins) {
            bin.right += more.right;
            bin.wrong += more.wrong;
            bin.results += more.results;
        }
    }

    /// So many of a thousand jobs had their result after how many milliseconds.
    pub fn wait_ms(&mut self, permille: usize) -> u64 {
        self.waits_ms.sort_unstable();
        quantile(&self.waits_ms, permille)
    }

    /// The figures as they are told.
    pub fn row(&mut self) -> Row {
        self.newcomer_waits_ms.sort_unstable();
        self.first_result_ms.sort_unstable();
        let ended = self.right + self.wrong;
        // Leases of an honest newcomer in its first half hour, against those of all honest providers in as much time.
        let usual = share(self.honest_leases, self.honest_ms, 1_000_000_000);
        let new = share(self.newcomer_leases, self.newcomer_ms, 1_000_000_000);
        vec![
            ("jobs", self.jobs),
            ("right", self.right),
            ("wrong", self.wrong),
            ("failed", self.failed),
            ("refused", self.refused),
            ("refused_payers", self.refused_payers),
            ("unfinished", self.unfinished),
            ("wrong_ppm", share(self.wrong, ended, 1_000_000)),
            ("extra_executions_permille", share(self.executions.saturating_sub(ended), ended, 1_000)),
            ("lost_msat", self.lost_msat),
            ("lost_permille_of_paid", share(self.lost_msat, self.paid_msat, 1_000)),
            ("mean_price_msat", share(self.paid_msat + self.unpaid_msat, ended, 1)),
            ("unpaid_msat", self.unpaid_msat),
            ("median_ms", self.wait_ms(500)),
            ("p99_ms", self.wait_ms(990)),
            ("first_result_ms", quantile(&self.first_result_ms, 500)),
            ("newcomer_first_lease_median_ms", quantile(&self.newcomer_waits_ms, 500)),
            ("newcomer_first_lease_p90_ms", quantile(&self.newcomer_waits_ms, 900)),
            ("newcomer_share_permille", share(new, usual, 1_000)),
            ("cpu_ns_per_job", share(self.cpu_ns, self.jobs, 1)),
        ]
    }
}

/// The figures of all schedulers, one line each.
pub fn table(rows: &[(&str, Row)]) -> String {
    let mut text = String::new();
    let names = rows.first().map(|(_, row)| row.iter().map(|(name, _)| *name).collect::<Vec<_>>());
    let head: Vec<_> = rows.iter().map(|(policy, _)| *policy).collect();
    let _ = writeln!(text, "| | {} |\n|---|{}", head.join(" | "), "---:|".repeat(rows.len()));
    for (at, name) in names.into_iter().flatten().enumerate() {
        let values: Vec<_> =
            rows.iter().filter_map(|(_, row)| row.get(at)).map(|(_, value)| value.to_string()).collect();
        let _ = writeln!(text, "| {} | {} |", name.replace('_', " "), values.join(" | "));
    }
    text
}

/// The same for machines: one JSON object a line.
pub fn json(providers: u64, rows: &[(&str, Row)]) -> String {
    let mut text = String::new();
    for (policy, row) in rows {
        let fields: Vec<_> = row.iter().map(|(name, value)| format!("\"{name}\":{value}")).collect();
        let _ = writeln!(text, "{{\"policy\":\"{policy}\",\"providers\":{providers},{}}}", fields.join(","));
    }
    text
}
