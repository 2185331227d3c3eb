//! Lightning invoices (BOLT 11), as far as they matter here.

use lightning_invoice::{Bolt11Invoice, Bolt11InvoiceDescriptionRef, Currency};
use sha2::{Digest, Sha256};

/// The longest invoice that is read; real ones have some hundred characters.
const LENGTH_MAX: usize = 4_096;

/// An invoice whose signature is good.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct Invoice {
    /// `None`: whatever the payer likes.
    pub msat: Option<u64>,
    pub payment_hash: [u8; 32],
    /// The sha256 of what it is for, if it says no more.
    pub description_hash: Option<[u8; 32]>,
    /// When it was made, in unix seconds.
    pub made_s: u64,
    /// Until when it can be paid.
    pub expires_s: u64,
}

/// Reads an invoice for real bitcoin; a test network's says nothing about money.
pub fn read(text: &str) -> Option<Invoice> {
    let text = text.trim();
    if text.len() > LENGTH_MAX {
        return None;
    }
    let invoice: Bolt11Invoice = text.parse().ok()?;
    if invoice.currency() != Currency::Bitcoin {
        return None;
    }
    let description_hash = match invoice.description() {
        Bolt11InvoiceDescriptionRef::Direct(_) => None,
        Bolt11InvoiceDescriptionRef::Hash(hash) => Some(*hash.0.as_ref()),
    };
    let made_s = invoice.duration_since_epoch().as_secs();
    Some(Invoice {
        msat: invoice.amount_milli_satoshis(),
        payment_hash: *invoice.payment_hash().as_ref(),
        description_hash,
        made_s,
        expires_s: made_s.saturating_add(invoice.expiry_time().as_secs()),
    })
}

impl Invoice {
    /// Whether this is its preimage, in hex: only who was paid can have given it away.
    pub fn is_paid_by(&self, preimage: &str) -> bool {
        let mut bytes = [0; 32];
        let is_read = preimage.len() == 64 && const_hex::decode_to_slice(preimage, &mut bytes).is_ok();
        is_read && <[u8; 32]>::from(Sha256::digest(bytes)) == self.payment_hash
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    /// The example of NIP-57, appendix E.
    const NIP57: &str = "lnbc10u1p3unwfusp5t9r3yymhpfqculx78u027lxspgxcr2n2987mx2j55nnfs95nxnzqpp5jmrh92pfld78spqs78v9euf2385t83uvpwk9ldrlvf6ch7tpascqhp5zvkrmemgth3tufcvflmzjzfvjt023nazlhljz2n9hattj4f8jq8qxqyjw5qcqpjrzjqtc4fc44feggv7065fqe5m4ytjarg3repr5j9el35xhmtfexc42yczarjuqqfzqqqqqqqqlgqqqqqqgq9q9qxpqysgq079nkq507a5tw7xgttmj4u990j7wfggtrasah5gd4ywfr2pjcn29383tphp4t48gquelz9z78p4cq7ml3nrrphw5w6eckhjwmhezhnqpy6gyf0";

    #[test]
    fn the_invoice_of_nip_57_is_read() {
        let invoice = read(NIP57).expect("read");
        assert_eq!(invoice.msat, Some(1_000_000));
        assert!(invoice.description_hash.is_some() && invoice.expires_s > invoice.made_s);
        assert!(invoice.is_paid_by("5d006d2cf1e73c7148e7519a4c68adc81642ce0e25a432b2434c99f97344c15f"));
        assert!(!invoice.is_paid_by("5d006d2cf1e73c7148e7519a4c68adc81642ce0e25a432b2434c99f97344c15e"));
        assert_eq!(read(&NIP57.to_uppercase()), Some(invoice));
    }

    #[test]
    fn what_is_no_invoice_for_bitcoin_is_not_read() {
        let cut = &NIP57[..NIP57.len() - 1];
        let other = NIP57.replace("lnbc10u", "lnbc20u");
        for text in ["", "lnbc", "lnurl1dp68gurn8ghj7", cut, &other, &"lnbc1".repeat(1_000)] {
            assert_eq!(read(text), None, "{text}");
        }
    }

    proptest::proptest! {
        #[test]
        fn whatever_it_is_reading_it_does_no_harm(text in "(lnbc|LNBC|lntb|)[0-9munp]{0,6}1?[qpzry9x8gf2tvdw0s3jn54khce6mua7l]{0,200}") {
            proptest::prop_assert_eq!(read(&text), None);
        }
    }
}
