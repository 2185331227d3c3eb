//! Links to other relays: this relay as their client.
//!
//! `socket` is one connection, `routes` the way to the peer at its other end. What a peer has is asked for in `question`s:
//! page by page (`pages`), or by NIP-77 (`comparison`) and then by id (`fetch`). `link` keeps a connection up and hands
//! events down (`intake`) and up (`feed`, `pipeline`); `router` keeps as many links as a file asks for. `home` is our own side of all of them. A link runs inside the process
//! that writes the store: in the relay, or in the verb where no relay runs.

pub mod address;
mod backoff;
pub mod comparison;
pub mod error;
pub mod feed;
pub mod fetch;
pub mod home;
mod intake;
pub mod key;
mod link;
pub mod mark;
mod message;
pub mod pages;
mod patience;
pub mod pipeline;
pub mod question;
pub mod recent;
pub mod router;
mod routes;
pub mod socket;
pub mod status;
pub mod taker;

pub use error::LinkError;
pub use home::{Home, Stock};
pub use key::LinkKey;
pub use mark::Marks;
pub use status::{LinkInfo, LinkState};
