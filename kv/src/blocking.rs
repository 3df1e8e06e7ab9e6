//! The door from async code to code that blocks.

/// Blocking work that gave no answer.
#[derive(Debug, thiserror::Error)]
pub enum BlockingError {
    /// It panicked; the message is in the log.
    #[error("blocking work panicked")]
    Panicked,
    /// The runtime shut down before it ran.
    #[error("blocking work was cancelled: the process is shutting down")]
    Cancelled,
}

/// Runs `work` on a thread that may block.
pub async fn blocking<T, F>(work: F) -> Result<T, BlockingError>
where
    F: FnOnce() -> T + Send + 'static,
    T: Send + 'static,
{
    match tokio::task::spawn_blocking(work).await {
        Ok(answer) => Ok(answer),
        Err(error) if error.is_panic() => Err(BlockingError::Panicked),
        Err(_) => Err(BlockingError::Cancelled),
    }
}

#[cfg(test)]
#[allow(clippy::unwrap_used, clippy::expect_used)]
mod tests {
    use super::*;

    #[tokio::test]
    async fn answers_come_back_and_panics_are_errors() {
        assert_eq!(blocking(|| 7).await.unwrap(), 7);
        let panicked = blocking(|| assert_eq!(1, 2, "on purpose")).await;
        assert!(matches!(panicked, Err(BlockingError::Panicked)));
    }
}
