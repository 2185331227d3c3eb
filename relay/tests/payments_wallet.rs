//! A wallet is asked by NIP-47 whether invoices are settled: the real protocol with a wallet of ours, over a relay of ours.

mod payments_world;

use std::collections::HashMap;
use std::fs::Permissions;
use std::os::unix::fs::PermissionsExt;
use std::sync::{Arc, Mutex};
use std::time::Duration;

use anyhow::{Context, ensure};
use mercato::clock::now_s;
use mercato::nostr::{Event, EventId, Pubkey};
use mercato::payments::wallet::{Answer, Connection, Wallet};
use mercato::peer::socket::Said;
use mercato::relay::Relay;
use nostr::nips::{nip04, nip44};
use payments_world::{PATIENCE, Party, invoice, pubkey, relay, tags, url, value};
use serde_json::{Value, json};
use tokio::time::{sleep, timeout};

const CUSTOMER: u8 = 1;
const PROVIDER: u8 = 2;
const WALLET: u8 = 3;
const CLIENT: u8 = 4;

/// How a wallet of these tests encrypts.
#[derive(Clone, Copy, PartialEq)]
enum Speech {
    New,
    Old,
}

impl Speech {
    fn keys(client: &Pubkey) -> (nostr::SecretKey, nostr::PublicKey) {
        (nostr::SecretKey::from_slice(&[WALLET; 32]).unwrap(), nostr::PublicKey::from_slice(&client.0).unwrap())
    }

    fn open(self, client: &Pubkey, text: &str) -> String {
        let (own, client) = Self::keys(client);
        match self {
            Self::New => nip44::decrypt(&own, &client, text).unwrap(),
            Self::Old => nip04::decrypt(&own, &client, text).unwrap(),
        }
    }

    fn seal(self, client: &Pubkey, text: &str) -> String {
        let (own, client) = Self::keys(client);
        match self {
            Self::New => nip44::encrypt(&own, &client, text, nip44::Version::V2).unwrap(),
            Self::Old => nip04::encrypt(&own, &client, text).unwrap(),
        }
    }
}

/// What the wallet of a test knows, and was asked.
#[derive(Clone, Default)]
struct Books {
    /// By invoice. Others it does not find.
    results: Arc<Mutex<HashMap<String, Value>>>,
    asked: Arc<Mutex<Vec<String>>>,
}

impl Books {
    fn write(&self, invoice: &str, result: Value) {
        self.results.lock().unwrap().insert(invoice.to_owned(), result);
    }

    fn look_up(&self, invoice: &str) -> Option<Value> {
        self.asked.lock().unwrap().push(invoice.to_owned());
        self.results.lock().unwrap().get(invoice).cloned()
    }
}

/// A wallet that answers as NIP-47 has it.
async fn wallet(url: &str, speech: Speech, books: Books) -> anyhow::Result<()> {
    let party = Party::join(url, WALLET).await?;
    let modes = tags(&[&["encryption", "nip44_v2 nip04"]]);
    let modes = if speech == Speech::New { modes.as_slice() } else { &[] };
    party.say(13194, modes, "get_info lookup_invoice").await?;
    let mut asked = party.follow("asked", json!({ "kinds": [23194], "#p": [pubkey(WALLET).to_string()] })).await?;
    tokio::spawn(async move {
        while let Some(said) = asked.recv().await {
            let Said::Event(text) = said else { continue };
            let request = Event::parse(&text)?;
            ensure!(request.tags().iter().any(|tag| tag[0] == "encryption") == (speech == Speech::New), "encryption");
            let asked: Value = serde_json::from_str(&speech.open(&request.pubkey, &request.content()))?;
            ensure!(asked["method"] == "lookup_invoice", "{asked}");
            let invoice = asked["params"]["invoice"].as_str().context("an invoice")?.to_owned();
            let found = books.look_up(&invoice);
            let answer = match found {
                Some(result) => json!({ "result_type": "lookup_invoice", "error": null, "result": result }),
                None => json!({ "result_type": "lookup_invoice", "error": { "code": "NOT_FOUND", "message": "no" } }),
            };
            let about = tags(&[&["p", &request.pubkey.to_string()], &["e", &request.id.to_hex()]]);
            party.say(23195, &about, &speech.seal(&request.pubkey, &answer.to_string())).await?;
        }
        anyhow::Ok(())
    });
    Ok(())
}

fn connection(url: &str) -> String {
    let relay = url.replace(':', "%3A").replace('/', "%2F");
    format!("nostr+walletconnect://{}?relay={relay}&secret={}", pubkey(WALLET), const_hex::encode([CLIENT; 32]))
}

#[tokio::test]
async fn a_wallet_is_asked_in_the_better_of_its_ciphers() -> anyhow::Result<()> {
    for speech in [Speech::New, Speech::Old] {
        let folder = tempfile::tempdir()?;
        let relay = relay(folder.path(), &[]).await?;
        let books = Books::default();
        books.write("paid", json!({ "state": "settled", "preimage": "ab", "settled_at": 5 }));
        books.write("open", json!({ "state": "pending" }));
        wallet(&url(&relay), speech, books).await?;
        let asked = Wallet::new(Connection::read(&connection(&url(&relay))).context("a connection")?);
        assert_eq!(asked.look_up("paid").await, Answer::Settled { preimage: "ab".to_owned() });
        let (open, other) = tokio::join!(asked.look_up("open"), asked.look_up("other"));
        assert_eq!((open, other), (Answer::Pending, Answer::Unknown));
        relay.stop().await?;
    }
    Ok(())
}

/// A market whose provider is paid into the wallet.
struct Paid {
    _folders: [tempfile::TempDir; 2],
    relays: [Relay; 2],
    customer: Party,
    job: EventId,
}

impl Paid {
    /// A result was delivered for which an invoice is due.
    async fn due(books: &Books, preimage: u8) -> anyhow::Result<(Self, String)> {
        let folders = [tempfile::tempdir()?, tempfile::tempdir()?];
        let wallets = relay(folders[0].path(), &[]).await?;
        wallet(&url(&wallets), Speech::New, books.clone()).await?;
        let file = folders[1].path().join("wallet");
        std::fs::write(&file, connection(&url(&wallets)))?;
        std::fs::set_permissions(&file, Permissions::from_mode(0o600))?;
        let sets = [
            format!("payments.wallet_file={}", file.display()),
            format!("payments.wallet_providers=[\"{}\"]", pubkey(PROVIDER)),
        ];
        let market = relay(folders[1].path(), &sets).await?;
        let address = url(&market);
        let (provider, customer) = tokio::try_join!(Party::join(&address, PROVIDER), Party::join(&address, CUSTOMER))?;
        provider.say(31990, &tags(&[&["d", "x"], &["k", "5050"]]), "").await?;
        let job = customer.say(5050, &tags(&[&["bid", "2000"]]), "").await?;
        let invoice = invoice(now_s(), 2_000, preimage);
        provider.say(6050, &tags(&[&["e", &job.to_hex()], &["amount", "2000", &invoice]]), "done").await?;
        Ok((Self { _folders: folders, relays: [wallets, market], customer, job }, invoice))
    }

    async fn stop(self) -> anyhow::Result<()> {
        for relay in self.relays {
            relay.stop().await?;
        }
        Ok(())
    }
}

#[tokio::test]
async fn what_the_wallet_has_got_is_settled_without_any_receipt() -> anyhow::Result<()> {
    let books = Books::default();
    let (paid, invoice) = Paid::due(&books, 9).await?;
    assert_eq!(value(&paid.customer.state(paid.job).await?, "status").as_deref(), Some("succeeded"));
    let preimage = const_hex::encode([9; 32]);
    books.write(&invoice, json!({ "state": "settled", "preimage": preimage }));
    let state = paid.customer.state_with(paid.job, "status", "settled").await?;
    assert_eq!(value(&state, "confirmed").as_deref(), Some("2000"));
    assert_eq!(value(&state, "settled").as_deref(), Some("2000"));
    paid.stop().await
}

#[tokio::test]
async fn a_wrong_preimage_settles_nothing() -> anyhow::Result<()> {
    let books = Books::default();
    let (paid, invoice) = Paid::due(&books, 9).await?;
    books.write(&invoice, json!({ "state": "settled", "preimage": const_hex::encode([8; 32]) }));
    let asked = async {
        while !books.asked.lock().unwrap().contains(&invoice) {
            sleep(Duration::from_millis(100)).await;
        }
    };
    timeout(PATIENCE, asked).await.context("the wallet is never asked")?;
    sleep(Duration::from_secs(1)).await;
    assert_eq!(value(&paid.customer.state(paid.job).await?, "status").as_deref(), Some("succeeded"));
    paid.stop().await
}
