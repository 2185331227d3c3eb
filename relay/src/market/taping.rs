//! The market's own hand on the tape: what it is told is spoken on it, line by line.

use mercato_scheduler::JobId;
use mercato_scheduler::tape::Line;

use super::clock::Moment;
use super::keys::Author;
use super::tape::{Note, Tape};
use super::{Announcement, Market, Output, journal};

impl Market {
    /// Begins the tape, goes on with it, or ends it, as the operator has it now.
    pub(super) fn resume_tape(&mut self, now: Moment, output: &mut Output) {
        let config = self.scheduler.config().clone();
        match (self.config.tape, &self.tape) {
            (true, Some(_)) => self.speak(now, Line::Restored { config }, output),
            (true, None) => {
                self.note(Note::Stands(Box::default()), output);
                let rows = self.scheduler.checkpoint();
                self.speak(now, Line::Began { config, rows: rows.len() as u64 }, output);
                rows.into_iter().for_each(|row| self.speak(now, Line::Row(row), output));
            }
            (false, Some(_)) => self.note(Note::Stopped, output),
            (false, None) => {}
        }
    }

    /// Adds a line to the tape. A page is published as soon as it is full, so that none is longer than a line beyond that.
    pub(super) fn speak(&mut self, now: Moment, line: Line, output: &mut Output) {
        if let Some(tape) = &self.tape {
            let note = tape.speak(now, line, &self.scheduler, &self.keys);
            self.note(note, output);
        }
        if self.tape.as_ref().is_some_and(Tape::is_full) {
            self.publish_tape(now, output);
        }
    }

    pub(super) fn reveal(&mut self, now: Moment, job: JobId, output: &mut Output) {
        let notes = self.tape.as_ref().map_or_else(Vec::new, |tape| tape.reveal(now, job));
        notes.into_iter().for_each(|note| self.note(note, output));
    }

    pub(super) fn publish_tape(&mut self, now: Moment, output: &mut Output) {
        if let Some(tape) = &self.tape {
            let draft = tape.draft();
            output.announcements.push(Announcement {
                draft,
                created_at: now.wall_s(),
                state_of: None,
                author: Author::Relay,
            });
            self.note(Note::Published, output);
        }
    }

    fn note(&mut self, note: Note, output: &mut Output) {
        self.journal_entries += 1;
        output.journal.push(journal::encode_note(&note));
        Tape::apply(&mut self.tape, note);
    }
}
