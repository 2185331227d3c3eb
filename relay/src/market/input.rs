//! `i` tags of type `job` (NIP-90): the result of another job is this one's input.

use mercato_scheduler::{Dispatch, JobId, Request, ResultId, Upstream};

use super::tag::{Malformed, Tags, shown};
use super::{Market, announce, catalogue, stamp};
use crate::nostr::{Event, EventId, Filter, kind};
use crate::store::StoreError;

/// Why a request with inputs is not taken.
pub enum Unusable {
    /// It can never get them; the text to refuse it with.
    Lost(String),
    /// The store does not say.
    Store(StoreError),
}

/// The jobs that a leased request names as inputs. In open dispatch nobody waits: whoever answers fetches them.
pub fn parse(tags: &Tags, dispatch: Dispatch) -> Result<Vec<Upstream>, Malformed> {
    let is_job = |tag: &&[String]| tag.get(1).is_some_and(|what| what == "job") && dispatch == Dispatch::Leased;
    let named = tags.named("i").filter(is_job).map(|tag| {
        let id = tag.first().map_or("", String::as_str);
        let what = || format!("{} is not the id of a job in 64 lower-case hex digits", shown(id));
        let job = EventId::from_hex(id).ok_or_else(|| Malformed::new("i", what()))?;
        Ok(Upstream { job: JobId(job.0), result: None })
    });
    named.collect()
}

impl Market {
    /// Fills in the results of inputs that the scheduler does not know: jobs that ended long ago, and requests that are
    /// stored here as ordinary events. One that nobody has seen yet may still come.
    pub(super) fn look_up_inputs(&self, request: &mut Request, now_s: u64) -> Result<(), Unusable> {
        let jobs = self.scheduler.state().jobs();
        for input in request.inputs.iter_mut().filter(|input| !jobs.contains_key(&input.job)) {
            let id = EventId(input.job.0);
            let state = stamp::stored_state(&*self.store, &self.keys.public(), &id, now_s).map_err(Unusable::Store)?;
            input.result = match state {
                Some(state) => ended_with(&state).map_err(|word| lost(&id, &format!("it is {word}")))?,
                None => match self.store.get(&id).map_err(Unusable::Store)? {
                    Some(record) => Some(self.stored_result(&id, record.view().kind, now_s)?),
                    None => None,
                },
            };
        }
        Ok(())
    }

    /// The first result of a request that was never a job here.
    fn stored_result(&self, id: &EventId, request_kind: u16, now_s: u64) -> Result<ResultId, Unusable> {
        if !kind::is_job_request(request_kind) {
            return Err(lost(id, "it is no job request"));
        }
        let filter = Filter {
            kinds: Some(vec![request_kind + 1_000]),
            tags: [(b'e', vec![id.to_hex().into_bytes().into_boxed_slice()])].into(),
            ..Filter::default()
        };
        let results = catalogue::find(&*self.store, filter, RESULTS_MAX, now_s).map_err(Unusable::Store)?;
        let first = results.iter().min_by_key(|result| (result.created_at, result.id));
        let first = first.ok_or_else(|| lost(id, "it is not scheduled here and has no result"))?;
        Ok(ResultId(first.id.0))
    }
}

/// Results looked at for the first one.
const RESULTS_MAX: u64 = 64;

/// The result that a signed state of a job names; or the word for its end without one. `None`: it has not ended.
fn ended_with(state: &Event) -> Result<Option<ResultId>, String> {
    let tags = Tags::of(state);
    let status = tags.values("status").find(|status| announce::is_final(status));
    let result = tags.values("result").find_map(EventId::from_hex);
    match (status, result) {
        (Some("succeeded"), Some(result)) => Ok(Some(ResultId(result.0))),
        (Some(status), _) => Err(status.to_owned()),
        (None, _) => Ok(None),
    }
}

fn lost(id: &EventId, why: &str) -> Unusable {
    Unusable::Lost(format!("blocked: the job {id}, whose result this one needs, has none: {why}"))
}
