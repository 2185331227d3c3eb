//! The conversation with a wallet over one of its relays.

use std::collections::HashMap;
use std::time::Duration;

use anyhow::{Context, bail, ensure};
use serde::Deserialize;
use serde_json::json;
use tokio::sync::{mpsc, oneshot};
use tokio::time::{sleep, timeout};

use super::cipher::Cipher;
use super::{Answer, Connection, Question};
use crate::clock::now_s;
use crate::market::Tags;
use crate::nostr::{Event, EventId, kind};
use crate::peer::key::LinkKey;
use crate::peer::socket::{Driver, Peer, Said, Terms, body, connect};

/// How long a relay may take to be there, and to answer.
const OPENING: Duration = Duration::from_secs(10);
/// How long a connection without questions is kept.
const IDLE: Duration = Duration::from_secs(90);
/// How long the wallet is left alone after a connection failed.
const REST: Duration = Duration::from_secs(10);
/// How long a wallet may take to take up a question, in seconds (NIP-40).
const VALID_S: u64 = 60;
/// Questions without an answer that are remembered.
const OPEN_MAX: usize = 64;

/// The answer of NIP-47.
#[derive(Deserialize)]
struct Response {
    #[serde(default)]
    error: Option<Fault>,
    #[serde(default)]
    result: Option<Transaction>,
}

#[derive(Deserialize)]
struct Fault {
    #[serde(default)]
    code: String,
}

#[derive(Deserialize)]
struct Transaction {
    #[serde(default)]
    state: Option<String>,
    #[serde(default)]
    preimage: Option<String>,
    #[serde(default)]
    settled_at: Option<u64>,
}

/// Answers questions until nobody can ask any more.
pub async fn run(connection: Connection, mut questions: mpsc::Receiver<Question>) {
    while let Some(question) = questions.recv().await {
        let held = converse(&connection, question, &mut questions).await;
        if let Err(error) = held {
            // Who waited for an answer hears that there is none, and asks again later.
            tracing::warn!(wallet = %connection.wallet, "wallet: {error:#}");
            sleep(REST).await;
        }
    }
}

async fn converse(
    connection: &Connection,
    first: Question,
    questions: &mut mpsc::Receiver<Question>,
) -> anyhow::Result<()> {
    let (peer, driver) = reach(connection).await?;
    driver.run_for(talk(connection, &peer, first, questions)).await
}

/// The first relay of the wallet that is there.
async fn reach(connection: &Connection) -> anyhow::Result<(Peer, Driver)> {
    let mut reason = None;
    for relay in &connection.relays {
        match connect(relay, Terms::new(Some(LinkKey::of(connection.key)), OPENING)).await {
            Ok(reached) => return Ok(reached),
            Err(error) => reason = Some(error),
        }
    }
    match reason {
        Some(error) => Err(error).context("none of its relays is there"),
        None => bail!("it has no relay"),
    }
}

async fn talk(
    connection: &Connection,
    peer: &Peer,
    first: Question,
    questions: &mut mpsc::Receiver<Question>,
) -> anyhow::Result<()> {
    peer.authenticated().await?;
    let cipher = choose(connection, peer).await?;
    let mut answers = peer.listen("answers");
    let (wallet, client) = (connection.wallet, connection.client());
    let filter = json!({ "kinds": [kind::WALLET_RESPONSE], "authors": [wallet.to_string()], "#p": [client.to_string()], "limit": 0 });
    peer.send(format!("[\"REQ\",\"answers\",{filter}]")).await?;
    let mut open = HashMap::new();
    ask(connection, peer, cipher, first, &mut open).await?;
    loop {
        tokio::select! {
            question = timeout(IDLE, questions.recv()) => match question {
                Ok(Some(question)) => ask(connection, peer, cipher, question, &mut open).await?,
                // Nobody asks any more, now or ever.
                Ok(None) | Err(_) => return Ok(()),
            },
            said = answers.recv() => match said {
                Some(Said::Event(event)) => hear(connection, cipher, &event, &mut open),
                Some(Said::Closed(text)) => bail!("the relay ended the subscription: {text}"),
                Some(Said::Eose | Said::NegMsg(_) | Said::NegErr(_)) => {}
                None => bail!("the connection is gone"),
            },
        }
    }
}

/// What the wallet says of itself: how it encrypts, and whether it can be asked at all.
async fn choose(connection: &Connection, peer: &Peer) -> anyhow::Result<Cipher> {
    let mut said = peer.listen("info");
    let filter = json!({ "kinds": [kind::WALLET_INFO], "authors": [connection.wallet.to_string()], "limit": 1 });
    peer.send(format!("[\"REQ\",\"info\",{filter}]")).await?;
    let mut info = None;
    loop {
        match timeout(OPENING, said.recv()).await.context("the relay says nothing")? {
            Some(Said::Event(event)) => info = of_wallet(connection, kind::WALLET_INFO, &event).or(info),
            Some(Said::Eose) => break,
            Some(Said::Closed(text)) => bail!("the relay does not tell of the wallet: {text}"),
            Some(Said::NegMsg(_) | Said::NegErr(_)) => {}
            None => bail!("the connection is gone"),
        }
    }
    peer.forget("info");
    peer.send("[\"CLOSE\",\"info\"]").await?;
    // Without a word about itself it is taken for one of the first, which had none.
    let Some(info) = info else { return Ok(Cipher::Nip04) };
    let can_look_up = info.content().split_whitespace().any(|method| method == "lookup_invoice");
    ensure!(can_look_up, "the wallet does not offer lookup_invoice");
    Ok(Cipher::best(Tags::of(&info).values("encryption").next()))
}

/// An event, if it is the wallet's and of this kind.
fn of_wallet(connection: &Connection, kind: u16, text: &str) -> Option<Event> {
    let event = Event::parse(text).ok()?;
    let is_meant = event.kind == kind && event.pubkey == connection.wallet;
    (is_meant && event.verify_signature().is_ok()).then_some(event)
}

async fn ask(
    connection: &Connection,
    peer: &Peer,
    cipher: Cipher,
    question: Question,
    open: &mut HashMap<EventId, oneshot::Sender<Answer>>,
) -> anyhow::Result<()> {
    open.retain(|_, waiting| !waiting.is_closed());
    if open.len() >= OPEN_MAX {
        return Ok(());
    }
    let method = json!({ "method": "lookup_invoice", "params": { "invoice": question.invoice } }).to_string();
    let content = cipher.encrypt(&connection.key, &connection.wallet, &method)?;
    let tag = |name: &str, value: String| vec![name.to_owned(), value];
    let mut tags = vec![tag("p", connection.wallet.to_string())];
    tags.extend(cipher.name().map(|name| tag("encryption", name.to_owned())));
    tags.push(tag("expiration", now_s().saturating_add(VALID_S).to_string()));
    let event = Event::sign(&connection.key, now_s(), kind::WALLET_REQUEST, &tags, &content);
    open.insert(event.id, question.answer);
    Ok(peer.send(format!("[\"EVENT\",{}]", body(event.body()))).await?)
}

fn hear(connection: &Connection, cipher: Cipher, text: &str, open: &mut HashMap<EventId, oneshot::Sender<Answer>>) {
    let Some(event) = of_wallet(connection, kind::WALLET_RESPONSE, text) else { return };
    let asked = Tags::of(&event).values("e").find_map(EventId::from_hex);
    let Some(waiting) = asked.and_then(|asked| open.remove(&asked)) else { return };
    let plain = cipher.decrypt(&connection.key, &connection.wallet, &event.content());
    let answer = plain.map_or(Answer::Nothing, |plain| read(&plain));
    // Who asked may have given up.
    let _ = waiting.send(answer);
}

/// What an answer to `lookup_invoice` says.
fn read(text: &str) -> Answer {
    let Ok(response) = serde_json::from_str::<Response>(text) else { return Answer::Nothing };
    if let Some(fault) = response.error {
        tracing::debug!(code = fault.code, "the wallet refuses");
        return if fault.code == "NOT_FOUND" { Answer::Unknown } else { Answer::Nothing };
    }
    let Some(transaction) = response.result else { return Answer::Nothing };
    let state = transaction.state.as_deref().map(str::to_ascii_lowercase);
    // `state` came late to NIP-47; before, the time of settling said it.
    let is_settled = state.map_or(transaction.settled_at.is_some_and(|at| at > 0), |state| state == "settled");
    match transaction.preimage.filter(|preimage| !preimage.is_empty()) {
        Some(preimage) if is_settled => Answer::Settled { preimage },
        // Settled without a preimage proves nothing; perhaps it still comes.
        Some(_) | None => Answer::Pending,
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn answers_are_read_as_wallets_write_them() {
        let settled = Answer::Settled { preimage: "ab".to_owned() };
        let of = |result: &str| read(&format!(r#"{{"result_type":"lookup_invoice","error":null,"result":{result}}}"#));
        assert_eq!(of(r#"{"type":"incoming","state":"settled","preimage":"ab","settled_at":5}"#), settled);
        assert_eq!(of(r#"{"preimage":"ab","settled_at":5}"#), settled);
        for pending in [
            r#"{"state":"pending","preimage":"ab"}"#,
            r#"{"state":"settled"}"#,
            r#"{"preimage":"ab"}"#,
            r#"{"preimage":"","state":"SETTLED"}"#,
        ] {
            assert_eq!(of(pending), Answer::Pending, "{pending}");
        }
        assert_eq!(read(r#"{"error":{"code":"NOT_FOUND","message":"no"}}"#), Answer::Unknown);
        for useless in ["", "{}", r#"{"error":{"code":"RATE_LIMITED"}}"#, r#"{"result":5}"#] {
            assert_eq!(read(useless), Answer::Nothing, "{useless}");
        }
    }
}
