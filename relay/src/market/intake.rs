//! What each kind of event asks of the scheduler: one verb for each.

use mercato_scheduler::{Advert, Answer, Feedback, Input, Presence, Refusal, ResultId};

use super::catalogue::Row;
use super::clock::Moment;
use super::input::Unusable;
use super::request::{self, Asked};
use super::tag::{Malformed, Tags};
use super::{
    Market, Output, advert, announce, answer, customer_id, feedback, job_id, payment, provider_id, refusal, stamp,
    subject,
};
use crate::nostr::{Event, EventId, Pubkey, kind};
use crate::store::StoreError;

impl Market {
    /// Reads an event by its kind. An error is the text to refuse it with; nothing has changed then.
    pub(super) fn take(&mut self, now: Moment, event: &Event, output: &mut Output) -> Result<(), String> {
        match event.kind {
            kind::DELETION => {
                self.take_deletion(now, event, output);
                Ok(())
            }
            kind::VANISH => {
                self.take_vanishing(now, event, output);
                Ok(())
            }
            kind::PROVIDER_ADVERT => self.take_advert(now, event, output),
            kind::JOB_FEEDBACK => self.take_feedback(now, event, output),
            kind::ZAP_RECEIPT => self.take_zap(now, event, output),
            kind::NUTZAP => self.take_nutzap(now, event, output),
            request if kind::is_job_request(request) => self.take_request(now, event, output),
            result if kind::is_job_result(result) => self.take_result(now, event, output),
            _ => Ok(()),
        }
    }

    /// Of the past only adverts count, and that somebody wanted to vanish.
    pub(super) fn take_import(&mut self, now: Moment, event: &Event, output: &mut Output) -> Result<(), String> {
        match event.kind {
            kind::VANISH => {
                self.take_vanishing(now, event, output);
                Ok(())
            }
            kind::PROVIDER_ADVERT => self.take_advert(now, event, output),
            _ => Ok(()),
        }
    }

    /// A sign of life of a provider without a connection: anything that it signed lately. Somebody may bring an old
    /// event of it any time.
    pub(super) fn see(&mut self, now: Moment, event: &Event, output: &mut Output) {
        let provider = provider_id(&event.pubkey);
        let row = self.scheduler.state().providers().get(&provider);
        let is_away = row.is_some_and(|row| row.presence != Presence::Online);
        let is_recent = now.wall_s() < event.created_at.saturating_add(self.config.liveness_s);
        if is_away && is_recent {
            self.step_surely(now, Input::Seen { provider }, output);
        }
    }

    /// Tells the scheduler that a provider which it knows is connected, unless it knows that too.
    pub(super) fn greet(&mut self, now: Moment, pubkey: &Pubkey, output: &mut Output) {
        let provider = provider_id(pubkey);
        let row = self.scheduler.state().providers().get(&provider);
        let is_away = row.is_some_and(|row| row.presence != Presence::Online);
        if is_away && self.presence.is_connected(pubkey) {
            self.step_surely(now, Input::Online { provider }, output);
        }
    }

    /// Tells the scheduler what the adverts of a provider add up to now, if that is news.
    pub(super) fn advertise(&mut self, now: Moment, pubkey: &Pubkey, output: &mut Output) {
        let provider = provider_id(pubkey);
        let row = self.scheduler.state().providers().get(&provider);
        let advertised = row.filter(|row| !row.walk_in);
        let known = advertised.and_then(|row| Some((row.advert.as_ref()?, row.slots)));
        match self.catalogue.union(pubkey) {
            // The scheduler would find nothing new either.
            Some(union) if known == Some((&union, self.slots(&union))) => {}
            Some(advert) => {
                if let Err(refusal) = self.step(now, Input::Advertise { provider, advert }, output) {
                    // The directory is full: the advert is an event like any other.
                    tracing::info!(%refusal, %pubkey, "an advert does not count");
                    self.catalogue.forget(pubkey);
                }
            }
            None if known.is_some() => self.step_surely(now, Input::Unadvertise { provider }, output),
            None => {}
        }
        self.greet(now, pubkey, output);
        self.hear(now, pubkey, output);
    }

    /// Slots that count, under the operator's bounds of today.
    fn slots(&self, advert: &Advert) -> u32 {
        advert.slots.unwrap_or(self.config.slots).min(self.config.max_slots)
    }

    fn take_request(&mut self, now: Moment, event: &Event, output: &mut Output) -> Result<(), String> {
        let asked = request::parse(event, &self.config, &self.keys.public(), now).map_err(malformed)?;
        let request = match asked {
            Asked::Here(mut request) => {
                self.look_up_inputs(&mut request, now.wall_s()).map_err(|unusable| match unusable {
                    Unusable::Lost(text) => text,
                    Unusable::Store(error) => fault(&error),
                })?;
                request
            }
            Asked::Elsewhere | Asked::Past => return Ok(()),
        };
        self.uncommitted.put(event, &*self.store);
        let (job, customer) = (job_id(&event.id), customer_id(&event.pubkey));
        self.step(now, Input::Request { job, customer, request: *request }, output).map_err(|refusal| {
            self.uncommitted.forget(&event.id);
            refusal::text(&refusal)
        })
    }

    fn take_advert(&mut self, now: Moment, event: &Event, output: &mut Output) -> Result<(), String> {
        let now_s = now.wall_s();
        if event.is_expired(now_s) {
            return Ok(());
        }
        let advert = advert::parse(event).map_err(malformed)?;
        let provider = &event.pubkey;
        if !self.catalogue.knows(provider) {
            if advert.is_none() {
                return Ok(());
            }
            self.catalogue.load(&*self.store, provider, now_s).map_err(|error| fault(&error))?;
        }
        let row = advert.map(|advert| Row::new(event, advert));
        self.catalogue.put(provider, event.identifier().to_vec(), row);
        self.advertise(now, provider, output);
        Ok(())
    }

    /// NIP-09. What is not the author's own is passed over, as the store does.
    fn take_deletion(&mut self, now: Moment, event: &Event, output: &mut Output) {
        let tags = Tags::of(event);
        let ids = subject::named(&tags);
        let by = customer_id(&event.pubkey);
        for id in &ids {
            let job = self.scheduler.state().jobs().get(&job_id(id));
            if job.is_some_and(|job| job.customer == by) {
                self.step_surely(now, Input::Cancel { job: job_id(id), by }, output);
            }
        }
        if self.catalogue.knows(&event.pubkey) && self.delete_adverts(event, &tags, &ids) {
            self.advertise(now, &event.pubkey, output);
        }
    }

    /// NIP-62: what its author has asked for or offered up to then ends as if it were deleted.
    fn take_vanishing(&mut self, now: Moment, event: &Event, output: &mut Output) {
        let by = customer_id(&event.pubkey);
        for job in self.scheduler.state().jobs().ids_of(|job| job.customer == by && job.is_open()) {
            self.step_surely(now, Input::Cancel { job, by }, output);
        }
        if self.catalogue.delete_up_to(&event.pubkey, event.created_at) {
            self.advertise(now, &event.pubkey, output);
        }
    }

    fn delete_adverts(&mut self, event: &Event, tags: &Tags, ids: &[EventId]) -> bool {
        let provider = &event.pubkey;
        let prefix = format!("{}:{provider}:", kind::PROVIDER_ADVERT);
        let mut deleted = 0;
        for id in ids {
            deleted += usize::from(self.catalogue.delete_event(provider, id));
        }
        for identifier in tags.values("a").filter_map(|address| address.strip_prefix(&prefix)) {
            deleted += usize::from(self.catalogue.delete_address(provider, identifier.as_bytes(), event.created_at));
        }
        deleted > 0
    }

    fn take_feedback(&mut self, now: Moment, event: &Event, output: &mut Output) -> Result<(), String> {
        let tags = Tags::of(event);
        let Some(id) = self.job_of(&tags, now.wall_s())? else { return Ok(()) };
        if payment::proof::is_one(&tags) && self.is_customer(&id, &event.pubkey) {
            return self.take_proof(now, event, id, output);
        }
        let feedback = feedback::parse(event, &tags).map_err(malformed)?;
        if feedback == Feedback::Partial && !event.content().is_empty() && self.compares(&id) {
            return Err("blocked: others work on this job too and must not see yours: deliver it whole".to_owned());
        }
        let (job, provider) = (job_id(&id), provider_id(&event.pubkey));
        let asks = matches!(feedback, Feedback::PaymentRequired { .. });
        let input = Input::Feedback { job, provider, lease: feedback::lease(&tags).map_err(malformed)?, feedback };
        self.step(now, input, output).map_err(refused)?;
        if asks {
            self.inquire_quote(id, event, &tags, now.wall_s(), output);
        }
        Ok(())
    }

    fn take_result(&mut self, now: Moment, event: &Event, output: &mut Output) -> Result<(), String> {
        let tags = Tags::of(event);
        let Some(id) = self.job_of(&tags, now.wall_s())? else { return Ok(()) };
        let asked_msat = payment::quote::read(&tags).map_err(malformed)?;
        let input = Input::Result {
            job: job_id(&id),
            provider: provider_id(&event.pubkey),
            lease: feedback::lease(&tags).map_err(malformed)?,
            result: ResultId(event.id.0),
            kind: event.kind,
            answer: self.answer(&id, event, &tags)?,
        };
        self.step(now, input, output).map_err(refused)?;
        self.take_quote(now, id, &event.pubkey, asked_msat, output);
        if asked_msat.is_some() {
            self.inquire_quote(id, event, &tags, now.wall_s(), output);
        }
        Ok(())
    }

    fn is_customer(&self, id: &EventId, pubkey: &Pubkey) -> bool {
        let job = self.scheduler.state().jobs().get(&job_id(id));
        job.is_some_and(|job| job.customer == customer_id(pubkey))
    }

    /// Whether the results of an open job are compared.
    fn compares(&self, id: &EventId) -> bool {
        let job = self.scheduler.state().jobs().get(&job_id(id));
        job.is_some_and(|job| job.is_open() && job.compares())
    }

    fn answer(&self, id: &EventId, event: &Event, tags: &Tags) -> Result<Answer, String> {
        let job = self.scheduler.state().jobs().get(&job_id(id));
        let read = job.filter(|job| job.is_open() && job.reads_answers()).map(|job| job.request.validate);
        match read {
            Some(validate) => answer::parse(event, tags, validate).map_err(malformed),
            None => Ok(Answer::Unread),
        }
    }

    /// The job that an event answers, if the scheduler knows it. One that it has forgotten is refused by the state that
    /// the relay signed when it ended.
    fn job_of(&self, tags: &Tags, now_s: u64) -> Result<Option<EventId>, String> {
        let ids = subject::named(tags);
        let jobs = self.scheduler.state().jobs();
        let job = subject::only_job(&ids, |id| jobs.contains_key(&job_id(id))).map_err(malformed)?;
        if job.is_none() {
            for id in ids.iter().take(subject::NAMED_MAX) {
                self.check_not_ended(id, now_s)?;
            }
        }
        Ok(job)
    }

    fn check_not_ended(&self, job: &EventId, now_s: u64) -> Result<(), String> {
        let state =
            stamp::stored_state(&*self.store, &self.keys.public(), job, now_s).map_err(|error| fault(&error))?;
        let Some(state) = state else { return Ok(()) };
        match Tags::of(&state).values("status").find(|status| announce::is_final(status)) {
            Some(status) => Err(format!("blocked: this job has ended: it is {status}")),
            None => Ok(()),
        }
    }
}

pub(super) fn malformed(malformed: Malformed) -> String {
    malformed.to_string()
}

pub(super) fn refused(refusal: Refusal) -> String {
    refusal::text(&refusal)
}

pub(super) fn fault(error: &StoreError) -> String {
    tracing::error!(%error, "the market cannot read the store");
    "error: the store cannot be read now; try again later".to_owned()
}
