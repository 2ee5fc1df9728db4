//! Waiting for what must come, and watching that what must not come doesn't.

use std::{
    fmt::Debug,
    time::{Duration, Instant},
};

use anyhow::{Result, bail};

/// Longer than anything takes that is not broken.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Several evaluations, and as many as a change of tier needs to be confirmed.
pub const SEVERAL_TICKS: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until `look` finds something.
pub async fn until<T>(what: &str, mut look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what}", PATIENCE.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Waits until `look` sees exactly `expected`; shows both when it never does.
pub async fn eventually<T: Debug + PartialEq>(
    what: &str,
    expected: T,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<()> {
    let deadline = Instant::now() + PATIENCE;
    loop {
        let seen = look().await?;
        if seen == expected {
            return Ok(());
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what}\n expected {expected:#?}\n      saw {seen:#?}", PATIENCE.as_secs());
        }
        tokio::time::sleep(PAUSE).await;
    }
}

/// Watches for `window` that `look` sees `expected` and nothing else.
pub async fn stays<T: Debug + PartialEq>(
    what: &str,
    window: Duration,
    expected: T,
    mut look: impl AsyncFnMut() -> Result<T>,
) -> Result<()> {
    let end = Instant::now() + window;
    loop {
        let seen = look().await?;
        if seen != expected {
            bail!("{what} should have stayed\n {expected:#?}\n  and became {seen:#?}");
        }
        if Instant::now() > end {
            return Ok(());
        }
        tokio::time::sleep(PAUSE).await;
    }
}
