//! Who signs zap receipts is asked of the provider's lightning server: within bounds, and nowhere else than on the public
//! internet, unless the operator says so.

#[macro_use]
#[path = "market_world/mod.rs"]
mod market_world;
mod payments_world;

use std::path::Path;
use std::sync::Arc;

use market_world::World;
use mercato::clock::now_s;
use mercato::market::{Inquiry, Settled};
use mercato::nostr::{Event, EventId};
use mercato::payments::fetch::{FetchError, Fetcher};
use mercato::payments::reach::Reach;
use mercato::payments::{Address, Desk, Known, Signers};
use payments_world::{Party, invoice, pubkey, relay, someone, tags, url as url_of, value};
use tokio::io::{AsyncRead, AsyncReadExt, AsyncWrite, AsyncWriteExt};
use tokio::net::TcpListener;
use tokio::sync::mpsc;
use tokio_rustls::TlsAcceptor;
use tokio_rustls::rustls::crypto::ring;
use tokio_rustls::rustls::pki_types::pem::PemObject;
use tokio_rustls::rustls::pki_types::{CertificateDer, PrivateKeyDer};
use tokio_rustls::rustls::{RootCertStore, ServerConfig};

const CUSTOMER: u8 = 1;
const PROVIDER: u8 = 2;
const WALLET: u8 = 3;
const STRANGER: u8 = 4;

fn loopback() -> Reach {
    Reach { own: vec!["127.0.0.0/8".to_owned().try_into().unwrap(), "::1".to_owned().try_into().unwrap()] }
}

/// What this server answers to each path.
fn answer(path: &str) -> String {
    let ok = |body: &str| format!("HTTP/1.1 200 OK\r\nContent-Length: {}\r\n\r\n{body}", body.len());
    let to = |location: &str| format!("HTTP/1.1 302 Found\r\nLocation: {location}\r\nContent-Length: 0\r\n\r\n");
    match path {
        "/pay" => ok(&format!(r#"{{"tag":"payRequest","allowsNostr":true,"nostrPubkey":"{}"}}"#, pubkey(WALLET))),
        "/mute" => ok(r#"{"tag":"payRequest"}"#),
        "/once" => to("/pay"),
        "/loop" => to("/loop"),
        "/away" => to("http://192.0.2.1/pay"),
        "/file" => to("file:///etc/passwd"),
        "/long" => ok(&"x".repeat(65_537)),
        "/endless" => format!("HTTP/1.1 200 OK\r\nContent-Length: 99999999\r\n\r\n{}", "x".repeat(200_000)),
        "/head" => format!("HTTP/1.1 200 OK\r\nX: {}\r\n\r\n", "x".repeat(100_000)),
        "/broken" => "HTTP/1.1 200 OK\r\nContent-Length: 50\r\n\r\n{".to_owned(),
        "/garbage" => "SSH-2.0-OpenSSH\r\n".to_owned(),
        _ => "HTTP/1.1 404 Not Found\r\nContent-Length: 0\r\n\r\n".to_owned(),
    }
}

async fn serve(mut stream: impl AsyncRead + AsyncWrite + Unpin) {
    let (mut asked, mut buffer) = (Vec::new(), [0; 1_024]);
    while !asked.windows(4).any(|end| end == b"\r\n\r\n") {
        match stream.read(&mut buffer).await {
            Ok(read) if read > 0 => asked.extend_from_slice(&buffer[..read]),
            _ => return,
        }
    }
    let asked = String::from_utf8_lossy(&asked).into_owned();
    let path = asked.split(' ').nth(1).unwrap_or_default();
    // A client that has seen enough may have gone.
    let _ = stream.write_all(answer(path).as_bytes()).await;
    let _ = stream.shutdown().await;
}

/// A server on this machine; its port.
async fn server(tls: Option<TlsAcceptor>) -> u16 {
    let listener = TcpListener::bind("127.0.0.1:0").await.unwrap();
    let port = listener.local_addr().unwrap().port();
    tokio::spawn(async move {
        while let Ok((stream, _)) = listener.accept().await {
            let tls = tls.clone();
            tokio::spawn(async move {
                match tls {
                    Some(tls) => serve(tls.accept(stream).await.ok()?).await,
                    None => serve(stream).await,
                }
                Some(())
            });
        }
    });
    port
}

#[tokio::test]
async fn one_small_document_is_fetched_and_nothing_beyond() {
    let port = server(None).await;
    let fetcher = Fetcher::new(loopback()).unwrap();
    let get = async |path: &str| fetcher.get(format!("http://127.0.0.1:{port}{path}").parse().unwrap()).await;
    for path in ["/pay", "/once"] {
        assert!(get(path).await.unwrap().starts_with(b"{\"tag\""), "{path}");
    }
    assert!(matches!(get("/loop").await, Err(FetchError::Redirects)));
    assert!(matches!(get("/away").await, Err(FetchError::Forbidden(_))));
    assert!(matches!(get("/file").await, Err(FetchError::Address(_))));
    assert!(matches!(get("/gone").await, Err(FetchError::Status(_))));
    for path in ["/long", "/endless", "/broken"] {
        assert!(matches!(get(path).await, Err(FetchError::Body | FetchError::Http(_))), "{path}");
    }
    for path in ["/head", "/garbage"] {
        assert!(matches!(get(path).await, Err(FetchError::Http(_))), "{path}");
    }
}

#[tokio::test]
async fn this_machine_is_not_asked_however_it_is_named() {
    let port = server(None).await;
    let fetcher = Fetcher::new(Reach::default()).unwrap();
    for host in ["127.0.0.1", "localhost", "[::1]", "[::ffff:127.0.0.1]", "0.0.0.0", "127.1", "2130706433"] {
        for scheme in ["http", "https"] {
            let asked = fetcher.get(format!("{scheme}://{host}:{port}/pay").parse().unwrap()).await;
            assert!(
                matches!(asked, Err(FetchError::Forbidden(_) | FetchError::Connection(_))),
                "{scheme} {host}: {asked:?}"
            );
        }
    }
}

#[tokio::test]
async fn a_servers_certificate_is_checked() {
    let data = |name: &str| Path::new(env!("CARGO_MANIFEST_DIR")).join("../tests/data/tls").join(name);
    let certificate = CertificateDer::from_pem_file(data("old.crt")).unwrap();
    let builder = ServerConfig::builder_with_provider(Arc::new(ring::default_provider()));
    let builder = builder.with_safe_default_protocol_versions().unwrap().with_no_client_auth();
    let key = PrivateKeyDer::from_pem_file(data("old.key")).unwrap();
    let tls = builder.with_single_cert(vec![certificate.clone()], key).unwrap();
    let port = server(Some(TlsAcceptor::from(Arc::new(tls)))).await;
    let uri = || format!("https://localhost:{port}/pay").parse().unwrap();
    let mut roots = RootCertStore::empty();
    roots.add(certificate).unwrap();
    assert!(Fetcher::trusting(roots, loopback()).unwrap().get(uri()).await.unwrap().starts_with(b"{\"tag\""));
    let distrusted = Fetcher::new(loopback()).unwrap().get(uri()).await;
    assert!(matches!(distrusted, Err(FetchError::Connection(_))), "{distrusted:?}");
}

/// The profile of somebody whose lightning server is on this machine.
fn profile(port: u16, path: &str) -> String {
    let url = format!("http://127.0.0.1:{port}{path}");
    let lud06 = bech32::encode::<bech32::Bech32>(bech32::Hrp::parse("lnurl").unwrap(), url.as_bytes()).unwrap();
    serde_json::json!({ "name": "provider", "lud06": lud06 }).to_string()
}

/// A market whose provider has its lightning server on this machine, at a path.
struct Paid {
    world: World,
    signers: Arc<Signers>,
    job: EventId,
    _queue: mpsc::Receiver<Inquiry>,
}

impl Paid {
    async fn at(path: &str) -> Self {
        let port = server(None).await;
        let mut world = World::new();
        let signers = Arc::new(Signers::new(Fetcher::new(loopback()).unwrap()));
        let (sender, queue) = mpsc::channel(8);
        world.market.consult(Arc::new(Desk::new(Some(signers.clone()), Vec::new(), sender)));
        let content = profile(port, path);
        world.publish(&Event::sign(&someone(PROVIDER), world.now_s(), 0, &[], &content)).unwrap();
        world.provider(PROVIDER, &[5050]);
        let job = world.say(CUSTOMER, 5050, tags!["bid", "2000"]).unwrap();
        Self { world, signers, job, _queue: queue }
    }

    fn zap(&mut self, author: u8) -> Result<(), String> {
        let about = tags!["p", pubkey(PROVIDER); "e", self.job; "amount", "2000"];
        let request = self.world.sign(CUSTOMER, 9734, about);
        let request = String::from_utf8(request.body().to_vec()).unwrap();
        let invoice = invoice(self.world.now_s(), 2_000, 9);
        let tags = tags!["p", pubkey(PROVIDER); "e", self.job; "bolt11", invoice; "description", request];
        let receipt = self.world.sign(author, 9735, tags);
        self.world.publish(&receipt)
    }

    fn confirmed(&self) -> Option<String> {
        value(&self.world.stored_state(self.job).unwrap(), "confirmed")
    }

    fn asked(&self) -> (Address, Option<(Box<Settled>, mercato::nostr::Pubkey)>) {
        match self.world.inquiries.as_slice() {
            [Inquiry::Signer { address, receipt }] => (address.clone(), receipt.clone()),
            other => panic!("{other:?}"),
        }
    }
}

#[tokio::test]
async fn a_receipt_counts_as_proof_only_with_the_servers_signature() {
    let mut paid = Paid::at("/pay").await;
    let job = paid.job;
    paid.world.say(PROVIDER, 7000, tags!["status", "payment-required"; "e", job; "amount", "2000"]).unwrap();
    let (address, receipt) = paid.asked();
    assert_eq!(receipt, None);
    assert_eq!(paid.signers.look_up(&address).await, Known::Signer(pubkey(WALLET)));
    let refused = paid.zap(STRANGER).unwrap_err();
    assert!(refused.starts_with("invalid: pubkey: the provider's lightning server signs"), "{refused}");
    assert_eq!(paid.world.state(job).0, "awaiting-payment");
    paid.zap(WALLET).unwrap();
    assert_eq!((paid.world.state(job).0.as_str(), paid.confirmed().as_deref()), ("running", Some("2000")));
    assert_eq!(paid.world.inquiries, []);
}

#[tokio::test]
async fn until_the_server_has_answered_a_receipt_is_a_claim() {
    let mut paid = Paid::at("/pay").await;
    paid.zap(WALLET).unwrap();
    assert_eq!(paid.confirmed().as_deref(), Some("0"));
    let (_, receipt) = paid.asked();
    let (settled, author) = receipt.expect("a receipt waits");
    assert_eq!((author, settled.job), (pubkey(WALLET), paid.job));
    // Nobody remembers the question after a restart: it is asked again.
    assert_eq!(paid.world.market.open_inquiries(paid.world.now_ms), paid.world.inquiries);
    let output = paid.world.market.on_settled(paid.world.now_ms, &settled);
    paid.world.commit(None, output);
    assert_eq!(paid.confirmed().as_deref(), Some("2000"));
    assert_eq!(paid.world.market.open_inquiries(paid.world.now_ms), []);
}

#[tokio::test]
async fn a_server_that_writes_no_receipts_has_none_and_one_that_fails_says_nothing() {
    let mut paid = Paid::at("/mute").await;
    paid.zap(STRANGER).unwrap();
    assert_eq!(paid.confirmed().as_deref(), Some("0"));
    let (address, _) = paid.asked();
    assert_eq!(paid.signers.look_up(&address).await, Known::Nobody);
    let mut other = Paid::at("/garbage").await;
    let job = other.job;
    other.world.say(PROVIDER, 7000, tags!["status", "payment-required"; "e", job; "amount", "2000"]).unwrap();
    let (address, _) = other.asked();
    assert_eq!(other.signers.look_up(&address).await, Known::Nothing);
    other.zap(STRANGER).unwrap();
    assert_eq!(other.confirmed().as_deref(), Some("0"));
    let mut mute = Paid::at("/mute").await;
    let job = mute.job;
    mute.world.say(PROVIDER, 7000, tags!["status", "payment-required"; "e", job; "amount", "2000"]).unwrap();
    let (address, _) = mute.asked();
    assert_eq!(mute.signers.look_up(&address).await, Known::Nobody);
    assert!(mute.zap(WALLET).unwrap_err().contains("writes no zap receipts"));
}

#[tokio::test]
async fn a_relay_asks_by_itself_and_confirms_what_it_took_for_a_claim() -> anyhow::Result<()> {
    let folder = tempfile::tempdir()?;
    let sets = ["payments.lnurl=true".to_owned(), "payments.lnurl_networks=[\"127.0.0.0/8\"]".to_owned()];
    let market = relay(folder.path(), &sets).await?;
    let address = url_of(&market);
    let provider = Party::join(&address, PROVIDER).await?;
    let customer = Party::join(&address, CUSTOMER).await?;
    provider.say(0, &[], &profile(server(None).await, "/once")).await?;
    provider.say(31990, &tags(&[&["d", "x"], &["k", "5050"]]), "").await?;
    let job = customer.say(5050, &tags(&[&["bid", "2000"]]), "").await?;
    let (payee, about) = (pubkey(PROVIDER).to_string(), job.to_hex());
    let asked = tags(&[&["p", &payee], &["e", &about], &["amount", "2000"]]);
    let request = Event::sign(&someone(CUSTOMER), now_s(), 9734, &asked, "");
    let (request, bolt11) = (String::from_utf8(request.body().to_vec())?, invoice(now_s(), 2_000, 9));
    let receipt = tags(&[&["p", &payee], &["e", &about], &["bolt11", &bolt11], &["description", &request]]);
    Party::join(&address, WALLET).await?.say(9735, &receipt, "").await?;
    customer.state_with(job, "confirmed", "2000").await?;
    market.stop().await
}
