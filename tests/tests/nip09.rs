//! NIP-09: deletion requests.

use anyhow::ensure;
use mercato_tests::client::Client;
use mercato_tests::event::{Draft, Event, now_s};
use mercato_tests::relay::Shared;
use mercato_tests::{Keys, Relay};
use serde_json::json;

static RELAY: Shared = Shared::new();

fn deletion_of(event: &Event) -> Draft {
    Draft::new(5).tag(["e", &event.id]).tag(["k", &event.kind.to_string()])
}

async fn is_served(client: &mut Client, event: &Event) -> anyhow::Result<bool> {
    Ok(!client.query([json!({"ids": [event.id]})]).await?.is_empty())
}

#[tokio::test]
async fn an_author_deletes_its_event_by_id_and_it_stays_deleted() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let note = Draft::note("regretted").tag(["t", "deleted"]).sign(&keys);
    client.store(&note).await?;
    client.store(&deletion_of(&note).sign(&keys)).await?;
    ensure!(!is_served(&mut client, &note).await?, "still served by id");
    let by_author = client.query([json!({"authors": [note.pubkey], "kinds": [1]})]).await?;
    let by_tag = client.query([json!({"authors": [note.pubkey], "#t": ["deleted"]})]).await?;
    ensure!(by_author.is_empty() && by_tag.is_empty(), "still served");
    assert_eq!(client.refused(&note, "deleted").await?, "deleted: user requested deletion");
    ensure!(!is_served(&mut client, &note).await?, "served again");
    Ok(())
}

#[tokio::test]
async fn a_deletion_that_comes_first_keeps_its_event_out() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let note = Draft::note("never seen").sign(&keys);
    client.store(&deletion_of(&note).sign(&keys)).await?;
    client.refused(&note, "deleted").await?;
    Ok(())
}

#[tokio::test]
async fn nobody_deletes_the_event_of_another() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let (author, stranger) = (Keys::generate(), Keys::generate());
    let note = Draft::note("mine").sign(&author);
    let page = Draft::new(30_023).tag(["d", "page"]).sign(&author);
    let later = Draft::note("mine too").sign(&author);
    client.store(&note).await?;
    client.store(&page).await?;
    client.publish(&deletion_of(&note).sign(&stranger)).await?;
    client.publish(&deletion_of(&later).sign(&stranger)).await?;
    let address = format!("30023:{}:page", page.pubkey);
    client.publish(&Draft::new(5).tag(["a", &address]).sign(&stranger)).await?;
    client.store(&later).await?;
    for event in [&note, &page, &later] {
        ensure!(is_served(&mut client, event).await?, "deleted by a stranger");
    }
    Ok(())
}

#[tokio::test]
async fn one_deletion_takes_several_events_and_leaves_strangers_alone() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let own = [Draft::note("1").sign(&keys), Draft::note("2").sign(&keys)];
    let other = Draft::note("3").sign(&Keys::generate());
    for event in own.iter().chain([&other]) {
        client.store(event).await?;
    }
    let all = Draft::new(5).tag(["e", &own[0].id]).tag(["e", &other.id]).tag(["e", &own[1].id]);
    client.store(&all.sign(&keys)).await?;
    ensure!(!is_served(&mut client, &own[0]).await? && !is_served(&mut client, &own[1]).await?, "kept");
    ensure!(is_served(&mut client, &other).await?, "a stranger's event was deleted");
    Ok(())
}

#[tokio::test]
async fn an_address_is_deleted_up_to_the_time_of_the_deletion() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let time = now_s() - 100;
    let page = |age: u64, name: &str| Draft::new(30_023).at(time + age).tag(["d", name]).sign(&keys);
    let (old, neighbour, at_the_time, newer) = (page(0, "p"), page(0, "pp"), page(10, "p"), page(11, "p"));
    client.store(&old).await?;
    client.store(&neighbour).await?;
    let address = format!("30023:{}:p", old.pubkey);
    client.store(&Draft::new(5).at(time + 10).tag(["a", &address]).sign(&keys)).await?;
    ensure!(!is_served(&mut client, &old).await?, "still served");
    ensure!(is_served(&mut client, &neighbour).await?, "another address was deleted");
    client.refused(&old, "deleted").await?;
    client.refused(&at_the_time, "deleted").await?;
    client.store(&newer).await?;
    ensure!(is_served(&mut client, &newer).await?, "a later version is a new event");
    Ok(())
}

#[tokio::test]
async fn a_replaceable_event_is_deleted_by_its_address() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let list = Draft::new(10_002).at(now_s() - 10).sign(&keys);
    client.store(&list).await?;
    client.store(&Draft::new(5).tag(["a", &format!("10002:{}:", list.pubkey)]).sign(&keys)).await?;
    ensure!(!is_served(&mut client, &list).await?, "still served");
    client.refused(&list, "deleted").await?;
    Ok(())
}

#[tokio::test]
async fn a_deletion_is_served_and_delivered_and_cannot_be_deleted() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let note = Draft::note("n").sign(&keys);
    client.store(&note).await?;
    client.subscribe("s", [json!({"authors": [note.pubkey], "kinds": [5]})]).await?;
    let deletion = deletion_of(&note).sign(&keys);
    client.store(&deletion).await?;
    assert_eq!(client.live("s").await?, deletion);
    client.publish(&deletion_of(&deletion).sign(&keys)).await?;
    ensure!(is_served(&mut client, &deletion).await?, "a deletion was deleted");
    client.refused(&note, "deleted").await?;
    Ok(())
}

#[tokio::test]
async fn a_gift_wrap_is_deleted_by_its_recipient_only() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let (wrapper, recipient, stranger) = (Keys::generate(), Keys::generate(), Keys::generate());
    let wrap = Draft::new(1_059).tag(["p", &recipient.public_key().to_hex()]).content("sealed").sign(&wrapper);
    client.store(&wrap).await?;
    client.publish(&deletion_of(&wrap).sign(&stranger)).await?;
    // Whether wraps are served to those not involved is another rule; their recipient may ask.
    client.authenticate(&recipient).await?;
    ensure!(is_served(&mut client, &wrap).await?, "deleted by a stranger");
    client.store(&deletion_of(&wrap).sign(&recipient)).await?;
    ensure!(!is_served(&mut client, &wrap).await?, "its recipient asked for its deletion");
    Ok(())
}

#[tokio::test]
async fn deletions_outlive_a_power_cut() -> anyhow::Result<()> {
    let mut relay = Relay::settings().start()?;
    let keys = Keys::generate();
    let note = Draft::note("regretted").sign(&keys);
    let mut client = Client::connect(&relay).await?;
    client.store(&note).await?;
    client.store(&deletion_of(&note).sign(&keys)).await?;
    relay.kill()?;
    relay.restart()?;
    let mut client = Client::connect(&relay).await?;
    ensure!(!is_served(&mut client, &note).await?, "served again");
    client.refused(&note, "deleted").await?;
    Ok(())
}

#[tokio::test]
async fn the_kind_that_a_deletion_names_does_not_matter() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let keys = Keys::generate();
    let note = Draft::note("n").sign(&keys);
    client.store(&note).await?;
    client.store(&Draft::new(5).tag(["e", &note.id]).tag(["k", "30023"]).sign(&keys)).await?;
    ensure!(!is_served(&mut client, &note).await?, "still served");
    Ok(())
}

#[tokio::test]
async fn whichever_comes_first_a_deletion_and_its_target_end_alike() -> anyhow::Result<()> {
    let relay = RELAY.get()?;
    let mut client = Client::connect(&relay).await?;
    let time = now_s() - 100;
    for order in [[0, 1, 2], [0, 2, 1], [1, 0, 2], [1, 2, 0], [2, 0, 1], [2, 1, 0]] {
        let keys = Keys::generate();
        let page = |age: u64| Draft::new(30_023).at(time + age).tag(["d", "p"]).sign(&keys);
        let address = format!("30023:{}:p", keys.public_key().to_hex());
        let events = [page(1), page(3), Draft::new(5).at(time + 2).tag(["a", &address]).sign(&keys)];
        for at in order {
            client.publish(&events[at]).await?;
        }
        let left = client.query([json!({"authors": [keys.public_key().to_hex()]})]).await?;
        assert_eq!(left, [events[1].clone(), events[2].clone()], "{order:?}");
    }
    Ok(())
}
