//! The keys that the relay signs with, each in a file of its own that only the relay's user can read.

use std::fs::{DirBuilder, File, OpenOptions, Permissions};
use std::io::{self, Read, Write};
use std::os::unix::fs::{DirBuilderExt, OpenOptionsExt, PermissionsExt};
use std::path::{Path, PathBuf};

use secp256k1::Keypair;
use sha2::{Digest, Sha256};

use super::signer::Signer;
use crate::nostr::{Event, Pubkey, hex};

/// Why the relay has no key to sign with. No text of it holds a secret.
#[derive(Debug, thiserror::Error)]
pub enum KeyError {
    /// The file or its folder cannot be used.
    #[error("key {path}: {source}")]
    Io {
        /// Which.
        path: PathBuf,
        /// What the system says.
        source: io::Error,
    },
    /// Somebody else could read or replace the key.
    #[error(
        "{path} is open to others (mode {mode:03o}): take that away with `chmod {wanted:03o} {path}`, and make a new key if somebody may have read it"
    )]
    Open {
        /// The file or its folder.
        path: PathBuf,
        /// Its permissions now.
        mode: u32,
        /// What they must be.
        wanted: u32,
    },
    /// The file does not hold a secret key.
    #[error(
        "{path} does not hold 64 hex digits of a secret key: put the key back from a copy, or remove the file to have a new key made"
    )]
    Damaged {
        /// Which.
        path: PathBuf,
    },
    /// The system has no randomness to make a key from.
    #[error("no randomness for a new key: {0}")]
    Random(#[from] getrandom::Error),
}

/// The relay's key pairs.
#[derive(Clone)]
pub struct MarketKeys {
    /// `self` of NIP-11: signs leases and job states.
    relay: Signer,
    /// Signs what the relay asserts about providers and customers: NIP-85 wants a key for each algorithm.
    reputation: Signer,
}

/// The keys that others know the relay by.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub struct PublicKeys {
    /// `self` of NIP-11: the author of leases and job states.
    pub relay: Pubkey,
    /// The author of assertions.
    pub reputation: Pubkey,
}

/// Which of the keys signs.
#[derive(Debug, Clone, Copy, PartialEq, Eq)]
pub enum Author {
    /// `self` of NIP-11.
    Relay,
    /// The author of assertions.
    Reputation,
}

impl MarketKeys {
    /// Reads the keys from the folder `keys` in `dir`; on the first start makes them.
    ///
    /// # Errors
    /// When a file or the folder is readable by others, is damaged, or cannot be read or written.
    pub fn load_or_create(dir: &Path) -> Result<Self, KeyError> {
        let folder = dir.join("keys");
        let made = DirBuilder::new().recursive(true).mode(0o700).create(&folder);
        made.and_then(|()| File::open(&folder))
            .and_then(|file| file.metadata())
            .map_err(|source| KeyError::Io { path: folder.clone(), source })
            .and_then(|metadata| check_private(&folder, &metadata.permissions(), 0o700))?;
        let key = |name: &str| {
            let path = folder.join(name);
            let found = read(&path)?;
            found.map_or_else(|| create(&folder, &path), Ok).map(Signer::new)
        };
        Ok(Self { relay: key("relay.key")?, reputation: key("reputation.key")? })
    }

    /// Keys that exist in memory only.
    ///
    /// # Errors
    /// When the system has no randomness.
    pub fn ephemeral() -> Result<Self, KeyError> {
        Ok(Self { relay: Signer::new(generate()?), reputation: Signer::new(generate()?) })
    }

    /// `self` of NIP-11: the author of leases and job states.
    pub fn public(&self) -> Pubkey {
        self.public_of(Author::Relay)
    }

    /// What others know it by.
    pub fn all_public(&self) -> PublicKeys {
        PublicKeys { relay: self.public(), reputation: self.public_of(Author::Reputation) }
    }

    /// The public key of an author.
    pub fn public_of(&self, author: Author) -> Pubkey {
        Pubkey(self.signer(author).pair().x_only_public_key().0.to_byte_array())
    }

    /// What nobody else can know, a different one for each place of a tape: `sha256` of a name, the secret and the place.
    pub fn salt(&self, head: &[u8; 32], number: u64) -> [u8; 32] {
        let hash = Sha256::new().chain_update("mercato tape salt").chain_update(self.relay.pair().to_secret_bytes());
        hash.chain_update(head).chain_update(number.to_le_bytes()).finalize().into()
    }

    /// Signs an event as the relay.
    pub fn sign(&self, created_at: u64, kind: u16, tags: &[Vec<String>], content: &str) -> Event {
        self.sign_as(Author::Relay, created_at, kind, tags, content)
    }

    /// Signs an event as this author.
    pub fn sign_as(&self, author: Author, created_at: u64, kind: u16, tags: &[Vec<String>], content: &str) -> Event {
        let signer = self.signer(author);
        Event::build(self.public_of(author), created_at, kind, tags, content, |id| signer.sign(id))
    }

    fn signer(&self, author: Author) -> &Signer {
        match author {
            Author::Relay => &self.relay,
            Author::Reputation => &self.reputation,
        }
    }
}

impl std::fmt::Debug for MarketKeys {
    fn fmt(&self, f: &mut std::fmt::Formatter<'_>) -> std::fmt::Result {
        write!(f, "MarketKeys({})", self.public())
    }
}

fn check_private(path: &Path, permissions: &Permissions, wanted: u32) -> Result<(), KeyError> {
    let mode = permissions.mode() & 0o777;
    if mode & 0o077 == 0 {
        return Ok(());
    }
    Err(KeyError::Open { path: path.to_owned(), mode, wanted })
}

/// The key in a file; `None` when there is no file.
fn read(path: &Path) -> Result<Option<Keypair>, KeyError> {
    let fault = |source| KeyError::Io { path: path.to_owned(), source };
    let file = match File::open(path) {
        Ok(file) => file,
        Err(error) if error.kind() == io::ErrorKind::NotFound => return Ok(None),
        Err(error) => return Err(fault(error)),
    };
    check_private(path, &file.metadata().map_err(fault)?.permissions(), 0o600)?;
    // A key is 65 bytes; what is longer need not be read to the end.
    let mut text = Vec::with_capacity(128);
    file.take(128).read_to_end(&mut text).map_err(fault)?;
    let secret = std::str::from_utf8(&text).ok().and_then(|text| hex::decode(text.trim_end()));
    let pair = secret.and_then(|secret| Keypair::from_secret_bytes(secret).ok());
    pair.map(Some).ok_or_else(|| KeyError::Damaged { path: path.to_owned() })
}

/// Makes a key and returns once its file would survive a power cut.
fn create(folder: &Path, path: &Path) -> Result<Keypair, KeyError> {
    let pair = generate()?;
    let written = OpenOptions::new().write(true).create_new(true).mode(0o600).open(path).and_then(|mut file| {
        writeln!(file, "{}", const_hex::encode(pair.to_secret_bytes()))?;
        file.sync_all()?;
        File::open(folder)?.sync_all()
    });
    written.map_err(|source| KeyError::Io { path: path.to_owned(), source })?;
    Ok(pair)
}

fn generate() -> Result<Keypair, KeyError> {
    loop {
        let mut secret = [0; 32];
        getrandom::fill(&mut secret)?;
        // All but about one in 2^128 draws are a key.
        if let Ok(pair) = Keypair::from_secret_bytes(secret) {
            return Ok(pair);
        }
    }
}
