//! Names of things: 32 bytes each, told apart by type.

use serde::{Deserialize, Serialize};
use std::cmp::Ordering;
use std::fmt;
use std::hash::{Hash, Hasher};

macro_rules! id {
    ($(#[$doc:meta])* $name:ident) => {
        $(#[$doc])*
        #[derive(Clone, Copy, PartialEq, Eq, Serialize, Deserialize)]
        pub struct $name(pub [u8; 32]);

        impl $name {
            /// The first eight bytes, in their order.
            #[inline]
            fn head(&self) -> u64 {
                self.0.first_chunk().copied().map_or(0, u64::from_be_bytes)
            }
        }

        impl Ord for $name {
            /// The order of the bytes. Nearly always the first eight decide, without a call.
            #[inline]
            fn cmp(&self, other: &Self) -> Ordering {
                self.head().cmp(&other.head()).then_with(|| self.0.cmp(&other.0))
            }
        }

        impl Hash for $name {
            /// They are hashes and keys: the first eight bytes tell them apart.
            #[inline]
            fn hash<H: Hasher>(&self, hasher: &mut H) {
                hasher.write_u64(self.head());
            }
        }

        impl PartialOrd for $name {
            #[inline]
            fn partial_cmp(&self, other: &Self) -> Option<Ordering> {
                Some(self.cmp(other))
            }
        }

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
    fn ids_are_ordered_as_their_bytes() {
        let ids = [[0; 32], [1; 32], [255; 32]].into_iter().flat_map(|bytes| {
            (0..32).map(move |at| {
                let mut bytes: [u8; 32] = bytes;
                bytes[at] = 7;
                bytes
            })
        });
        let ids: Vec<[u8; 32]> = ids.collect();
        for one in &ids {
            for other in &ids {
                assert_eq!(JobId(*one).cmp(&JobId(*other)), one.cmp(other));
            }
        }
    }

    #[test]
    fn debug_is_short_hex() {
        let id = JobId([0xab; 32]);
        assert_eq!(format!("{id:?}"), "JobId(abababab)");
    }
}
