//! The relay's own request for validators, kind 5702 (docs/market.md).

use mercato_scheduler::{JobId, Panel, ResultId, VALIDATION_KIND};

use super::announce::{Draft, tag};

/// What validators of `result`, which was delivered for `job`, are asked until `until_s`.
pub fn draft(job: JobId, result: ResultId, panel: Panel, until_s: u64) -> Draft {
    let hex = |id: &[u8; 32]| const_hex::encode(id);
    let input = |id: &[u8; 32], marker: &str| tag("i", [hex(id), "event".to_owned(), String::new(), marker.to_owned()]);
    let mut tags = vec![
        input(&result.0, "result"),
        input(&job.0, "request"),
        tag("bid", [panel.bid_msat.to_string()]),
        tag("deadline", [until_s.to_string()]),
    ];
    if panel.validators > 1 {
        tags.push(tag("replicas", [panel.validators.to_string(), panel.quorum.to_string()]));
    }
    Draft { kind: VALIDATION_KIND, tags, content: String::new() }
}
