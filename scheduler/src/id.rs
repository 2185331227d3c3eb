//! Names of things: 32 bytes each, told apart by type.

use serde::{Deserialize, Serialize};
use std::fmt;

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, PartialOrd, Ord, Hash, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl fmt::Debug for $name {
            fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
                let [a, b, c, d, ..] = self.0;
                write!(f, "{}({a:02x}{b:02x}{c:02x}{d:02x})", stringify!($name))
            }
        }
    };
}

id! {
    /// A job: the id of its request.
    JobId
}
id! {
    /// Who does the work: a public key.
    ProviderId
}
id! {
    /// Who asks for the work: a public key.
    CustomerId
}
id! {
    /// A result: the id of the message that delivered it.
    ResultId
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn debug_is_short_hex() {
        let id = JobId([0xab; 32]);
        assert_eq!(format!("{id:?}"), "JobId(abababab)");
    }
}
