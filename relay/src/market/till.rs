//! Receipts come in: whether they concern a job here, were used before, and prove anything.

use std::collections::BTreeMap;

use mercato_scheduler::{Input, JobId};

use super::clock::Moment;
use super::intake::{fault, malformed, refused};
use super::payment::{Claim, nutzap, proof, quote, zap};
use super::tag::Tags;
use super::{Market, Output, catalogue, customer_id, job_id, provider_id, subject};
use crate::nostr::{Event, EventId, Filter, Pubkey, kind};
use crate::store::StoreError;

/// Events of a provider that are looked through for its invoice.
const QUOTES_MAX: u64 = 64;

impl Market {
    /// A zap receipt. One that names no job of ours, or is no payment of the customer to its provider, is an event like any
    /// other; one that is, and cannot be right, is refused.
    pub(super) fn take_zap(&mut self, now: Moment, event: &Event, output: &mut Output) -> Result<(), String> {
        if self.job_paid(zap::subjects(event), now)?.is_none() {
            return Ok(());
        }
        let claim = zap::read(event).map_err(malformed)?;
        self.take_claim(now, &claim, output)
    }

    /// A nutzap, likewise.
    pub(super) fn take_nutzap(&mut self, now: Moment, event: &Event, output: &mut Output) -> Result<(), String> {
        if self.job_paid(subject::named(&Tags::of(event)), now)?.is_none() {
            return Ok(());
        }
        match nutzap::read(event).map_err(malformed)? {
            Some(claim) => self.take_claim(now, &claim, output),
            None => Ok(()),
        }
    }

    /// Who asks for a payment with a result, or after it. An answer is not refused for what its provider asks in vain.
    pub(super) fn take_quote(
        &mut self,
        now: Moment,
        job: EventId,
        by: &Pubkey,
        msat: Option<u64>,
        output: &mut Output,
    ) {
        let Some(msat) = msat else { return };
        let input = Input::Quoted { job: job_id(&job), provider: provider_id(by), msat };
        if let Err(refusal) = self.step(now, input, output) {
            tracing::debug!(%refusal, %job, "a price does not count");
        }
    }

    /// The customer shows an invoice's preimage. It must be an invoice that the provider named for this job.
    pub(super) fn take_proof(
        &mut self,
        now: Moment,
        event: &Event,
        job: EventId,
        output: &mut Output,
    ) -> Result<(), String> {
        let claim = proof::read(event, &Tags::of(event), job).map_err(malformed)?;
        if !self.is_own_invoice(&job, &claim, now)? {
            return Err("invalid: bolt11: the provider named no such invoice for this job".to_owned());
        }
        self.take_claim(now, &claim, output)
    }

    pub(super) fn take_claim(&mut self, now: Moment, claim: &Claim, output: &mut Output) -> Result<(), String> {
        let Some(id) = self.job_paid(claim.about.into_iter().collect(), now)? else { return Ok(()) };
        let (job, provider, payer) = (job_id(&id), provider_id(&claim.payee), customer_id(&claim.payer));
        let row = self.scheduler.state().jobs().get(&job);
        // A tip of somebody else, or to somebody else.
        if row.is_none_or(|row| row.customer != payer || !row.has_tried(provider)) || claim.msat == 0 {
            return Ok(());
        }
        self.check_unused(claim, now)?;
        let is_own = (claim.has_preimage || claim.zap.is_some()) && self.is_own_invoice(&id, claim, now)?;
        let proven = claim.has_preimage && is_own;
        let confirmed = proven || self.is_signed_by_server(claim, now.wall_s())?;
        let (msat, marks) = (claim.msat, claim.marks);
        let input = Input::Claimed { job, provider, payer, msat, marks, confirmed };
        self.step(now, input, output).map_err(refused)?;
        if !confirmed {
            self.inquire_claim(id, claim, is_own, now.wall_s(), output);
        }
        Ok(())
    }

    /// The job that one of these is, or is a result of.
    fn job_paid(&self, ids: Vec<EventId>, now: Moment) -> Result<Option<EventId>, String> {
        let known = |id: &EventId| self.scheduler.state().jobs().contains_key(&JobId(id.0));
        for id in ids.iter().take(subject::NAMED_MAX) {
            if known(id) {
                return Ok(Some(*id));
            }
            let filter = Filter { ids: Some(vec![*id]), ..Filter::default() };
            let found = catalogue::find(&*self.store, filter, 1, now.wall_s()).map_err(|error| fault(&error))?;
            let result = found.into_iter().find(|event| kind::is_job_result(event.kind));
            let job = result.and_then(|result| subject::named(&Tags::of(&result)).into_iter().find(known));
            if job.is_some() {
                return Ok(job);
            }
        }
        Ok(None)
    }

    /// A payment that was used for a job which the scheduler has forgotten: what the relay said of it then is stored.
    fn check_unused(&self, claim: &Claim, now: Moment) -> Result<(), String> {
        // A filter's lists are sorted.
        let mut names = [claim.marks.payment_hash, claim.marks.request];
        names.sort_unstable();
        let values = names.iter().map(|name| const_hex::encode(name).into_bytes().into_boxed_slice()).collect();
        let filter = Filter {
            authors: Some(vec![self.keys.public()]),
            kinds: Some(vec![kind::JOB_FEEDBACK]),
            tags: BTreeMap::from([(b'x', values)]),
            ..Filter::default()
        };
        let found = catalogue::find(&*self.store, filter, 1, now.wall_s()).map_err(|error| fault(&error))?;
        if found.is_empty() { Ok(()) } else { Err("blocked: this payment was used before".to_owned()) }
    }

    /// Whether the provider itself named the invoice for this job: then its preimage proves that the provider was paid.
    fn is_own_invoice(&self, job: &EventId, claim: &Claim, now: Moment) -> Result<bool, String> {
        let said = self.said_by(&claim.payee, job, now.wall_s()).map_err(|error| fault(&error))?;
        let mut invoices = said.iter().filter_map(|event| quote::invoice(&Tags::of(event)));
        Ok(invoices.any(|invoice| invoice.payment_hash == claim.marks.payment_hash))
    }

    /// What a provider said of a job.
    pub(super) fn said_by(&self, provider: &Pubkey, job: &EventId, now_s: u64) -> Result<Vec<Event>, StoreError> {
        let filter = Filter {
            authors: Some(vec![*provider]),
            tags: BTreeMap::from([(b'e', vec![job.to_hex().into_bytes().into_boxed_slice()])]),
            ..Filter::default()
        };
        catalogue::find(&*self.store, filter, QUOTES_MAX, now_s)
    }
}
