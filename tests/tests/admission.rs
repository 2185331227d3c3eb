//! Who may publish where not everybody may: by list, by a web of trust, by payment.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::http::document;
use mercato_tests::manage::must;
use mercato_tests::{Draft, Event, Keys, Relay};
use serde_json::json;

fn hex(keys: &Keys) -> String {
    keys.public_key().to_hex()
}

/// Publishes until it is accepted: members are worked out now and then, not at once.
async fn admitted_in_time(client: &mut Client, keys: &Keys) -> anyhow::Result<()> {
    for attempt in 0..100 {
        if client.publish(&Draft::note(format!("attempt {attempt}")).sign(keys)).await?.accepted {
            return Ok(());
        }
        tokio::time::sleep(std::time::Duration::from_millis(200)).await;
    }
    anyhow::bail!("{} was not admitted", hex(keys))
}

#[tokio::test]
async fn only_who_is_listed_may_publish_but_anybody_may_write_to_a_member() -> anyhow::Result<()> {
    let (operator, member, stranger) = (Keys::generate(), Keys::generate(), Keys::generate());
    let relay =
        Relay::settings().set("relay.pubkey", hex(&operator)).set("admission.admit", r#"["listed"]"#).start()?;
    let mut client = Client::connect(&relay).await?;
    client.refused(&Draft::note("let me in").sign(&member), "restricted").await?;
    must(&relay, &operator, "allowpubkey", json!([hex(&member), "a friend"])).await?;
    client.store(&Draft::note("thank you").sign(&member)).await?;
    client.store(&Draft::note("the operator always may").sign(&operator)).await?;
    client.store(&Draft::new(1059).tag(["p", &hex(&member)]).sign(&stranger)).await?;
    client.refused(&Draft::new(1059).tag(["p", &hex(&stranger)]).sign(&stranger), "restricted").await?;
    must(&relay, &operator, "unallowpubkey", json!([hex(&member)])).await?;
    client.refused(&Draft::note("and out again").sign(&member), "restricted").await?;
    assert_eq!(document(&relay).await?["limitation"]["restricted_writes"], true);
    Ok(())
}

#[tokio::test]
async fn who_is_followed_by_the_root_or_by_enough_of_its_follows_is_trusted() -> anyhow::Result<()> {
    let [root, near, near_too, far, farther, stranger] = std::array::from_fn(|_| Keys::generate());
    let follows = |who: &Keys, whom: &[&Keys]| -> Event {
        Draft::new(3).tags(whom.iter().map(|key| vec!["p".to_owned(), hex(key)])).sign(who)
    };
    let relay = Relay::settings()
        .set("admission.admit", r#"["trusted"]"#)
        .set("admission.trust_roots", format!("[\"{}\"]", hex(&root)))
        .set("admission.trust_min_followers", 2)
        .set("admission.refresh_s", 1)
        .start()?;
    let mut client = Client::connect(&relay).await?;
    client.store(&follows(&root, &[&near, &near_too])).await?;
    admitted_in_time(&mut client, &near).await?;
    client.store(&follows(&near, &[&far, &farther])).await?;
    client.store(&follows(&near_too, &[&far])).await?;
    admitted_in_time(&mut client, &far).await?;
    // `far` became trusted by the same look at the store that would have admitted these.
    client.refused(&Draft::note("one follower is not enough").sign(&farther), "restricted").await?;
    client.refused(&Draft::note("nobody follows me").sign(&stranger), "restricted").await?;
    Ok(())
}

#[tokio::test]
async fn who_zaps_the_fee_is_admitted_and_a_forged_or_small_payment_is_not() -> anyhow::Result<()> {
    let [operator, zapper, payer, miser, forger] = std::array::from_fn(|_| Keys::generate());
    let relay = Relay::settings()
        .set("relay.pubkey", hex(&operator))
        .set("admission.admit", r#"["paid","listed"]"#)
        .set("admission.fee_msat", 1_000_000)
        .set("admission.zapper", hex(&zapper))
        .set("admission.refresh_s", 1)
        .start()?;
    let receipt = |payer: &Keys, signer: &Keys, invoice: &str, msat: &str| -> Event {
        let request = Draft::new(9734).tag(["p", &hex(&operator)]).tag(["amount", msat]).sign(payer);
        Draft::new(9735)
            .tag(["p", &hex(&operator)])
            .tag(["bolt11", invoice])
            .tag(["description", &request.to_json().to_string()])
            .sign(signer)
    };
    let mut client = Client::connect(&relay).await?;
    let refusal = client.refused(&Draft::note("not paid yet").sign(&payer), "restricted").await?;
    ensure!(refusal.contains("1000000 msat"), "{refusal}");
    assert_eq!(document(&relay).await?["fees"]["admission"][0]["amount"], 1_000_000);
    // Each 10u is 1,000,000 msat, the fee.
    client.store(&receipt(&forger, &forger, "lnbc10u1pforged", "1000000")).await?;
    client.store(&receipt(&miser, &zapper, "lnbc9u1psmall", "900000")).await?;
    client.store(&receipt(&miser, &zapper, "lnbc9u1psmall", "900000").clone()).await?;
    client.store(&receipt(&miser, &zapper, "lnbc9u1psmall2", "10000000")).await?;
    client.store(&receipt(&payer, &zapper, "lnbc10u1pgood", "1000000")).await?;
    admitted_in_time(&mut client, &payer).await?;
    for cheat in [&forger, &miser] {
        client.refused(&Draft::note("me too").sign(cheat), "restricted").await?;
    }
    Ok(())
}
