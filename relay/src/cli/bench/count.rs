//! `bench count`: what it costs to be told how many events there are (NIP-45).

use std::time::{Duration, Instant};

use super::Common;
use super::client::{Client, count_frame};
use super::data::Data;
use super::fill;
use super::latency::Latencies;
use super::message::{Incoming, read};
use super::random::Random;
use super::report::{Report, Row};
use super::target::Target;

/// People who wrote the events.
const AUTHORS: usize = 1_000;

#[derive(Debug, clap::Args)]
pub struct Args {
    /// Events to store first
    #[arg(long, default_value_t = 100_000)]
    events: u32,
    /// Stores nothing: the relay at --url has what `generate --events` of this number, seed and day printed
    #[arg(long, conflicts_with = "events")]
    stored: Option<u32>,
    /// Questions of each class
    #[arg(long, default_value_t = 500)]
    queries: u32,
    /// Seconds after which a class ends
    #[arg(long, default_value_t = 10)]
    seconds: u64,
}

/// What is counted.
#[derive(Debug, Clone, Copy)]
enum Class {
    /// The followers that NIP-45 was made for.
    Followers,
    Reactions,
    AuthorKind,
    Kind,
    Hour,
}

impl Class {
    const ALL: [Self; 5] = [Self::Followers, Self::Reactions, Self::AuthorKind, Self::Kind, Self::Hour];

    fn name(self) -> &'static str {
        match self {
            Self::Followers => "#p of kind 3",
            Self::Reactions => "#e of kind 7",
            Self::AuthorKind => "author+kind",
            Self::Kind => "a whole kind",
            Self::Hour => "an hour",
        }
    }

    fn filter(self, random: &mut Random, data: &Data) -> String {
        match self {
            Self::Followers => {
                format!("{{\"#p\":[\"{}\"],\"kinds\":[3]}}", data.name(random.skewed(data.authors())))
            }
            Self::Reactions => format!("{{\"#e\":[\"{}\"],\"kinds\":[7]}}", data.thread(random.below(1_000))),
            Self::AuthorKind => {
                format!("{{\"authors\":[\"{}\"],\"kinds\":[1]}}", data.name(random.skewed(data.authors())))
            }
            Self::Kind => format!("{{\"kinds\":[{}]}}", random.pick(&[7, 6, 9735])),
            Self::Hour => {
                let (from_s, until_s) = data.span_s();
                let since_s = from_s + random.next() % (until_s - from_s);
                format!("{{\"since\":{since_s},\"until\":{}}}", since_s + 3_600)
            }
        }
    }
}

/// Fills the store, then asks on one connection.
///
/// # Errors
/// When the relay cannot be reached, ends the connection, or says nothing to a COUNT.
pub async fn run(args: &Args, common: &Common) -> anyhow::Result<Report> {
    let data = Data::new(common.seed, AUTHORS);
    let target = Target::open(common).await?;
    if args.stored.is_none() {
        fill::fill(&target.url, &data.sign(args.events as usize)).await?;
        target.settle().await;
    }
    let stored = args.stored.unwrap_or(args.events);
    let mut report = Report::new("count", format!("{stored} stored events, one connection"));
    let mut client = Client::connect(&target.url).await?;
    for class in Class::ALL {
        let mut random = Random::new(common.seed, 0x636f_756e);
        let deadline = Instant::now() + Duration::from_secs(args.seconds);
        let (mut latencies, mut asked, mut counted, mut refused) = (Latencies::default(), 0, 0, 0);
        let watch = target.watch();
        while asked < u64::from(args.queries) && Instant::now() < deadline {
            let sent = Instant::now();
            client.send(count_frame("c", &class.filter(&mut random, &data))).await?;
            match answer(&mut client).await? {
                Some(count) => counted += count,
                None => refused += 1,
            }
            asked += 1;
            latencies.add(sent.elapsed());
        }
        let spent = watch.read();
        report.push(
            Row::new(class.name())
                .with("queries", asked)
                .with("refused", refused)
                .with("counted_each", counted as f64 / asked.max(1) as f64)
                .with("cpu_us_per_query", spent.cpu_us_each(asked))
                .with("p50_ms", latencies.percentile_ms(50))
                .with("p99_ms", latencies.percentile_ms(99)),
        );
    }
    Ok(report)
}

/// The number; `None` when the relay refuses to count.
async fn answer(client: &mut Client) -> anyhow::Result<Option<u64>> {
    loop {
        match read(&client.next().await?) {
            Incoming::Count { count } => return Ok(Some(count)),
            Incoming::Closed { .. } | Incoming::Notice { .. } => return Ok(None),
            Incoming::Event { .. } | Incoming::Ok { .. } | Incoming::Eose | Incoming::Auth { .. } | Incoming::Other => {
            }
        }
    }
}
