//! One call to the API server: bounded in time and tried once. Its answer says what happened; the caller decides what to
//! do about it.

use std::{fmt::Debug, time::Duration};

use kube::{Api, api::ListParams};
use serde::de::DeserializeOwned;

/// Time allowed for one call.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    #[error("the API server did not answer within {} s", .0.as_secs_f64())]
    Timeout(Duration),
    #[error("not written after all: leadership, primary or spec changed meanwhile")]
    Outdated,
    #[error("{}", plainly(.0))]
    Api(#[from] kube::Error),
}

impl EffectError {
    /// There is no such thing.
    pub(crate) fn says_gone(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 404)
    }

    /// Somebody else wrote meanwhile.
    pub(crate) fn conflicts(&self) -> bool {
        matches!(self, Self::Api(kube::Error::Api(status)) if status.code == 409)
    }
}

/// What the API server says, without the rest of its answer.
pub(crate) fn plainly(error: &kube::Error) -> String {
    match error {
        kube::Error::Api(status) if status.message.starts_with("404 page not found") => {
            "the API server knows nothing of that kind: is switchover installed (deploy/base/crds.yaml)?".to_owned()
        }
        kube::Error::Api(status) => status.message.clone(),
        other => other.to_string(),
    }
}

/// Objects of one page of a list.
const PAGE: u32 = 500;

/// Lists everything, page by page, and hands each object over. Every page has the time limit of one call.
///
/// # Errors
/// No answer, or a refusal; also when the list takes so long that the API server has forgotten where it began (410).
pub async fn list<K>(api: &Api<K>, each: impl FnMut(K)) -> Result<(), EffectError>
where
    K: Clone + DeserializeOwned + Debug,
{
    pages(api, ListParams::default(), each).await
}

/// Lists what these parameters select, page by page.
///
/// # Errors
/// Those of [`list`].
pub async fn list_matching<K>(api: &Api<K>, params: ListParams) -> Result<Vec<K>, EffectError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut all = Vec::new();
    pages(api, params, |object| all.push(object)).await?;
    Ok(all)
}

async fn pages<K>(api: &Api<K>, params: ListParams, mut each: impl FnMut(K)) -> Result<(), EffectError>
where
    K: Clone + DeserializeOwned + Debug,
{
    let mut page = params.limit(PAGE);
    loop {
        let listed = bounded(api.list(&page)).await?;
        listed.items.into_iter().for_each(&mut each);
        match listed.metadata.continue_.filter(|token| !token.is_empty()) {
            Some(token) => page = page.continue_token(&token),
            None => return Ok(()),
        }
    }
}

/// A call with its time limit.
pub(crate) async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, EffectError> {
    bounded_by(TIME_LIMIT, call).await
}

/// A call with a time limit of its own.
pub(crate) async fn bounded_by<T>(
    limit: Duration,
    call: impl Future<Output = Result<T, kube::Error>>,
) -> Result<T, EffectError> {
    Ok(tokio::time::timeout(limit, call).await.map_err(|_| EffectError::Timeout(limit))??)
}
