//! A plugin may answer anything; what is taken for an answer reads the same when it is written properly.

use mercato::policy::Verdict;
use mercato::policy::plugin::protocol::{Said, read};

pub fn check(line: &[u8]) {
    let Said::Answer { id, verdict } = read(line) else { return };
    let (action, msg) = match &verdict {
        Verdict::Accept => ("accept", ""),
        Verdict::Reject(text) => ("reject", text.as_str()),
        Verdict::Shadow(text) => ("shadowReject", text.as_str()),
    };
    let written = serde_json::json!({ "id": id, "action": action, "msg": msg }).to_string();
    assert_eq!(read(written.as_bytes()), Said::Answer { id, verdict });
}
