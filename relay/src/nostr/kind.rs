//! Kinds, and how NIP-01 says each range is kept.

/// Profile of an author (NIP-01).
pub const PROFILE: u16 = 0;
/// NIP-02 follows.
pub const FOLLOWS: u16 = 3;
/// NIP-04 direct message.
pub const DIRECT_MESSAGE: u16 = 4;
/// NIP-09 deletion request.
pub const DELETION: u16 = 5;
/// NIP-18 repost of a note.
pub const REPOST: u16 = 6;
/// NIP-18 repost of anything else.
pub const GENERIC_REPOST: u16 = 16;
/// NIP-28 metadata of a channel.
pub const CHANNEL_METADATA: u16 = 41;
/// NIP-62 request to vanish.
pub const VANISH: u16 = 62;
/// NIP-59 gift wrap.
pub const GIFT_WRAP: u16 = 1059;
/// NIP-59 gift wrap that is not kept.
pub const EPHEMERAL_GIFT_WRAP: u16 = 21059;
/// A piece of the tape of a market, signed by its relay (docs/market.md).
pub const MARKET_TAPE: u16 = 1386;
/// NIP-32 label.
pub const LABEL: u16 = 1985;
/// NIP-56 report.
pub const REPORT: u16 = 1984;
/// NIP-90 job feedback.
pub const JOB_FEEDBACK: u16 = 7000;
/// NIP-57 zap receipt.
pub const ZAP_RECEIPT: u16 = 9735;
/// NIP-61 nutzap.
pub const NUTZAP: u16 = 9321;
/// Liveness of a provider that does not authenticate (docs/market.md).
pub const PROVIDER_HEARTBEAT: u16 = 11998;
/// NIP-47: what a wallet says of itself.
pub const WALLET_INFO: u16 = 13194;
/// NIP-47: what a wallet is asked.
pub const WALLET_REQUEST: u16 = 23194;
/// NIP-47: what it answers.
pub const WALLET_RESPONSE: u16 = 23195;
/// NIP-42 authentication.
pub const AUTH: u16 = 22242;
/// NIP-98 authorization of an HTTP request.
pub const HTTP_AUTH: u16 = 27235;
/// NIP-85 assertion about a key.
pub const ASSERTION: u16 = 30382;
/// State of a job, signed by the relay (docs/market.md).
pub const JOB_STATE: u16 = 30383;
/// NIP-89 advert of what a provider does.
pub const PROVIDER_ADVERT: u16 = 31990;

/// How many events of a kind a relay keeps, and for whom.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Retention {
    /// All of them.
    Regular,
    /// The newest of an author.
    Replaceable,
    /// None: only delivered to who listens.
    Ephemeral,
    /// The newest of an author and `d` tag.
    Addressable,
}

pub fn retention(kind: u16) -> Retention {
    match kind {
        0 | 3 | 10000..=19999 => Retention::Replaceable,
        20000..=29999 => Retention::Ephemeral,
        30000..=39999 => Retention::Addressable,
        _ => Retention::Regular,
    }
}

/// Kinds that only the parties to them may read.
pub const PRIVATE: [u16; 3] = [DIRECT_MESSAGE, GIFT_WRAP, EPHEMERAL_GIFT_WRAP];

pub fn is_private(kind: u16) -> bool {
    PRIVATE.contains(&kind)
}

/// NIP-90 job requests.
pub fn is_job_request(kind: u16) -> bool {
    (5000..=5999).contains(&kind)
}

/// NIP-90 job results.
pub fn is_job_result(kind: u16) -> bool {
    (6000..=6999).contains(&kind)
}
