//! What the index keeps of an event.

use tantivy::TantivyDocument;
use tantivy::schema::{FAST, Field, INDEXED, STORED, Schema, TEXT, Value};

use super::text;
use crate::nostr::EventId;
use crate::store::Record;

#[derive(Debug, Clone)]
pub struct Fields {
    pub id: Field,
    pub author: Field,
    pub kind: Field,
    pub created_at: Field,
    pub text: Field,
}

impl Fields {
    pub fn schema() -> (Schema, Self) {
        let mut schema = Schema::builder();
        let fields = Self {
            id: schema.add_bytes_field("id", INDEXED | STORED),
            author: schema.add_bytes_field("author", INDEXED),
            kind: schema.add_u64_field("kind", INDEXED),
            created_at: schema.add_u64_field("created_at", FAST),
            text: schema.add_text_field("text", TEXT),
        };
        (schema.build(), fields)
    }

    /// `None` when the event says nothing in words.
    pub fn document(&self, record: &Record) -> Option<TantivyDocument> {
        let words = text::of(record)?;
        let view = record.view();
        let mut document = TantivyDocument::default();
        document.add_bytes(self.id, &view.id.0);
        document.add_bytes(self.author, &view.pubkey.0);
        document.add_u64(self.kind, u64::from(view.kind));
        document.add_u64(self.created_at, view.created_at);
        document.add_text(self.text, words);
        Some(document)
    }

    pub fn id_of(&self, document: &TantivyDocument) -> Option<EventId> {
        document.get_first(self.id)?.as_bytes()?.try_into().ok().map(EventId)
    }
}
