//! What the market has others asked about payments, and what it makes of their answers. It never waits for one: until it comes, a
//! claim is a claim.

use std::sync::Arc;

use mercato_scheduler::{Bill, Input, Job, Marks};
use sha2::{Digest, Sha256};

use super::clock::Moment;
use super::intake::fault;
use super::payment::inquiry::{Inquiry, Settled};
use super::payment::{Claim, quote, zap};
use super::tag::Tags;
use super::{Market, Output, catalogue, job_id};
use crate::nostr::{Event, EventId, Filter, Pubkey, kind};
use crate::payments::{Address, Desk, Known};
use crate::store::StoreError;

/// Adverts of a provider that are looked through for its lightning address.
const ADVERTS_MAX: u64 = 8;

/// Jobs that are taken up again after a restart.
const TAKEN_UP_MAX: usize = 256;

impl Market {
    /// Has others asked from now on.
    pub fn consult(&mut self, desk: Arc<Desk>) {
        self.desk = Some(desk);
    }

    /// What is still to be asked when the market begins: nobody remembers the questions of before.
    pub fn open_inquiries(&self, now: impl Into<Moment>) -> Vec<Inquiry> {
        let (now_s, mut output) = (self.moment(now.into()).wall_s(), Output::default());
        if self.desk.is_some() {
            let jobs = self.scheduler.state().jobs().values().filter(|job| is_unproven(job));
            for job in jobs.take(TAKEN_UP_MAX) {
                self.take_up(job, now_s, &mut output).unwrap_or_else(|error| {
                    tracing::warn!(%error, "payments are not asked about again");
                });
            }
        }
        output.inquiries
    }

    fn take_up(&self, job: &Job, now_s: u64, output: &mut Output) -> Result<(), StoreError> {
        let id = EventId(job.id.0);
        for receipt in job.money.receipts.iter().filter(|receipt| receipt.counts && !receipt.confirmed) {
            let stored = self.store.get(&EventId(receipt.marks.receipt))?.map(|record| record.event()).transpose()?;
            // What was judged before is good; a nutzap nobody can be asked about.
            if let Some(claim) =
                stored.filter(|event| event.kind == kind::ZAP_RECEIPT).and_then(|event| zap::read(&event).ok())
            {
                self.inquire_claim(id, &claim, false, now_s, output);
            }
        }
        for quote in &job.money.quotes {
            let provider = Pubkey(quote.provider.0);
            for event in self.said_by(&provider, &id, now_s)? {
                self.inquire_quote(id, &event, &Tags::of(&event), now_s, output);
            }
        }
        Ok(())
    }

    /// Somebody who was asked says that a payment's money has moved.
    pub fn on_settled(&mut self, now: impl Into<Moment>, settled: &Settled) -> Output {
        let (now, mut output) = (self.moment(now.into()), Output::default());
        let (job, payment_hash) = (job_id(&settled.job), settled.payment_hash);
        let row = self.scheduler.state().jobs().get(&job);
        let has_receipt =
            row.is_some_and(|row| row.money.receipts.iter().any(|receipt| receipt.marks.payment_hash == payment_hash));
        if has_receipt {
            self.step_surely(now, Input::Confirmed { job, payment_hash }, &mut output);
        } else if let Some(claim) = &settled.claim
            && let Err(text) = self.take_claim(now, claim, &mut output)
        {
            tracing::info!(job = %settled.job, text, "a payment that the wallet knows does not count");
        }
        output
    }

    /// Whether the provider's lightning server is known to sign its receipts with this one's key. An error when it is
    /// known to sign with another: then it is not its receipt.
    pub(super) fn is_signed_by_server(&self, claim: &Claim, now_s: u64) -> Result<bool, String> {
        let (Some(desk), Some(zap)) = (&self.desk, &claim.zap) else { return Ok(false) };
        if !desk.asks_servers() {
            return Ok(false);
        }
        let Some(address) = self.address_of(&claim.payee, now_s).map_err(|error| fault(&error))? else {
            return Ok(false);
        };
        match desk.signer(&address) {
            Known::Signer(signer) if signer == zap.author => Ok(true),
            Known::Signer(_) => {
                Err("invalid: pubkey: the provider's lightning server signs its receipts with another key".to_owned())
            }
            Known::Nobody => Err("invalid: pubkey: the provider's lightning server writes no zap receipts".to_owned()),
            Known::Nothing => Ok(false),
        }
    }

    /// A claim that is not proven: whoever may know more is asked.
    pub(super) fn inquire_claim(&self, job: EventId, claim: &Claim, is_own: bool, now_s: u64, output: &mut Output) {
        let (Some(desk), Some(zap)) = (&self.desk, &claim.zap) else { return };
        let settled = || Box::new(Settled { job, payment_hash: claim.marks.payment_hash, claim: None });
        if desk.asks_servers()
            && let Some(address) = self.known_address(&claim.payee, now_s)
        {
            output.inquiries.push(Inquiry::Signer { address, receipt: Some((settled(), zap.author)) });
        }
        // Any invoice of that wallet could be shown as one for this job; only the provider, or the hash of the zap
        // request in the invoice, says that it is.
        if let Some(invoice) = &zap.invoice
            && desk.asks_wallet_of(&claim.payee)
            && !is_own
        {
            let (invoice, until_s) = (invoice.clone(), zap.until_s);
            output.inquiries.push(Inquiry::Invoice { settled: settled(), invoice, until_s });
        }
    }

    /// A provider asks for money: its server is asked who signs, before the receipt comes, and its wallet for the invoice.
    pub(super) fn inquire_quote(&self, id: EventId, event: &Event, tags: &Tags, now_s: u64, output: &mut Output) {
        let Some(desk) = &self.desk else { return };
        if desk.asks_servers()
            && let Some(address) = self.known_address(&event.pubkey, now_s)
            && desk.signer(&address) == Known::Nothing
        {
            output.inquiries.push(Inquiry::Signer { address, receipt: None });
        }
        let row = self.scheduler.state().jobs().get(&job_id(&id));
        let (Some(row), Some(text), Some(invoice)) = (row, quote::bolt11(tags), quote::invoice(tags)) else { return };
        let Some(msat) = invoice.msat.filter(|_| desk.asks_wallet_of(&event.pubkey)) else { return };
        let (payment_hash, request) = (invoice.payment_hash, Sha256::digest(invoice.payment_hash).into());
        let claim = Claim {
            payer: Pubkey(row.customer.0),
            payee: event.pubkey,
            about: Some(id),
            msat,
            marks: Marks { receipt: event.id.0, payment_hash, request },
            has_preimage: true,
            zap: None,
        };
        let settled = Box::new(Settled { job: id, payment_hash, claim: Some(claim) });
        let (invoice, until_s) = (text.to_owned(), invoice.expires_s);
        output.inquiries.push(Inquiry::Invoice { settled, invoice, until_s });
    }

    fn known_address(&self, provider: &Pubkey, now_s: u64) -> Option<Address> {
        self.address_of(provider, now_s).unwrap_or_else(|error| {
            tracing::warn!(%error, %provider, "the lightning address of a provider cannot be read");
            None
        })
    }

    /// The lightning address of a provider: of its profile, else of its newest advert that names one.
    fn address_of(&self, provider: &Pubkey, now_s: u64) -> Result<Option<Address>, StoreError> {
        for (kind, room) in [(kind::PROFILE, 1), (kind::PROVIDER_ADVERT, ADVERTS_MAX)] {
            let filter = Filter { authors: Some(vec![*provider]), kinds: Some(vec![kind]), ..Filter::default() };
            let found = catalogue::find(&*self.store, filter, room, now_s)?;
            let address = found.iter().find_map(|event| Address::of_profile(&event.content()));
            if address.is_some() {
                return Ok(address);
            }
        }
        Ok(None)
    }
}

/// Whether there is money of this job that somebody else may know of.
fn is_unproven(job: &Job) -> bool {
    let awaits = job.is_open() && !job.money.quotes.is_empty() || matches!(job.money.bill, Bill::Due { .. });
    awaits || job.money.receipts.iter().any(|receipt| receipt.counts && !receipt.confirmed)
}
