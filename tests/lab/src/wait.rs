//! Waiting for what must come, and watching that what must not come doesn't. In an async test, and ([`block_until`],
//! [`retry`]) in one that blocks.

use std::{
    fmt::Debug,
    thread,
    time::{Duration, Instant},
};

use anyhow::{Context, Result, bail};

/// Longer than anything on the light bed takes that is not broken.
pub const PATIENCE: Duration = Duration::from_secs(40);
/// Several evaluations, and as many as a change of tier needs to be confirmed.
pub const SEVERAL_TICKS: Duration = Duration::from_secs(3);
const PAUSE: Duration = Duration::from_millis(100);

/// Waits until `look` finds something, as long as [`PATIENCE`] lasts.
pub async fn until<T>(what: &str, look: impl AsyncFnMut() -> Result<Option<T>>) -> Result<T> {
    until_within(PATIENCE, what, look).await
}

/// The same with less or more patience.
pub async fn until_within<T>(
    patience: Duration,
    what: &str,
    mut look: impl AsyncFnMut() -> Result<Option<T>>,
) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().await? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what}", patience.as_secs());
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

/// As [`until_within`], on a thread that may block.
pub fn block_until<T>(patience: Duration, what: &str, mut look: impl FnMut() -> Result<Option<T>>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        if let Some(found) = look().with_context(|| format!("waiting for {what}"))? {
            return Ok(found);
        }
        if Instant::now() > deadline {
            bail!("waited {} s for {what}", patience.as_secs());
        }
        thread::sleep(PAUSE);
    }
}

/// Tries again until `attempt` succeeds; its last error after `patience`.
pub fn retry<T>(patience: Duration, mut attempt: impl FnMut() -> Result<T>) -> Result<T> {
    let deadline = Instant::now() + patience;
    loop {
        match attempt() {
            Ok(done) => return Ok(done),
            Err(error) if Instant::now() > deadline => {
                return Err(error).with_context(|| format!("not within {} s", patience.as_secs()));
            }
            Err(_) => thread::sleep(PAUSE),
        }
    }
}
