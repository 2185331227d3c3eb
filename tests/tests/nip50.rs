//! NIP-50: a relay without a search index says so.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::relay::{Shared, run_verb};
use mercato_tests::said::prefix;
use mercato_tests::{Draft, Keys};
use serde_json::json;

static RELAY: Shared = Shared::new();

#[tokio::test]
async fn a_search_is_refused_and_does_not_answer_with_what_was_not_asked_for() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    client.store(&Draft::note("an orange").sign(&Keys::generate())).await?;
    for filters in [vec![json!({"search": "orange"})], vec![json!({"kinds": [7]}), json!({"search": ""})]] {
        client.request("s", &filters).await?;
        let text = client.closed("s").await?;
        ensure!(prefix(&text) == Some("unsupported") && text.contains("search"), "{text}");
    }
    Ok(())
}

#[test]
fn an_operator_cannot_remove_by_a_search_that_nobody_makes() {
    let filter = r#"{"search":"spam"}"#;
    let said = run_verb(&["delete", "--filter", filter, "--set", "store.path=nowhere"], b"");
    assert!(format!("{said:?}").contains("search"), "{said:?}");
}
