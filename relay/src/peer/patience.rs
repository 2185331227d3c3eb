//! How long a peer may take; `None` is for ever.

use std::time::Duration;

use tokio::time::timeout;

use super::error::LinkError;

/// Waits for a peer.
pub async fn within<F: Future>(patience: Option<Duration>, work: F) -> Result<F::Output, LinkError> {
    match patience {
        Some(patience) => timeout(patience, work).await.map_err(|_| LinkError::Silent(patience)),
        None => Ok(work.await),
    }
}
