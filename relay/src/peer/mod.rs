//! Links to other relays: this relay as their client.
//!
//! `socket` is one connection; `link` keeps one up and hands events down (`intake`, `pages`) and up (`feed`, `pipeline`);
//! `router` keeps as many links as a file asks for. `home` is our own side of all of them. A link runs inside the process
//! that writes the store: in the relay, or in the verb where no relay runs.

pub mod address;
mod backoff;
pub mod error;
pub mod feed;
pub mod home;
mod intake;
pub mod key;
mod link;
pub mod mark;
mod message;
pub mod pages;
pub mod pipeline;
pub mod recent;
pub mod router;
pub mod socket;
pub mod status;

pub use error::LinkError;
pub use home::{Home, Stock};
pub use key::LinkKey;
pub use mark::Marks;
pub use status::{LinkInfo, LinkState};
