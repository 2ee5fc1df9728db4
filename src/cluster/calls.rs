//! One call to the API server: bounded in time and tried once. Its answer says what happened; the caller decides what to
//! do about it.

use std::time::Duration;

/// Time allowed for one call.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Why a call did not do what it should.
#[derive(Debug, thiserror::Error)]
pub enum EffectError {
    #[error("the API server did not answer within {} s", TIME_LIMIT.as_secs())]
    Timeout,
    #[error("not written after all: leadership, primary or spec changed meanwhile")]
    Outdated,
    #[error("{}", plainly(.0))]
    Api(#[from] kube::Error),
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

/// A call with its time limit.
pub(crate) async fn bounded<T>(call: impl Future<Output = Result<T, kube::Error>>) -> Result<T, EffectError> {
    Ok(tokio::time::timeout(TIME_LIMIT, call).await.map_err(|_| EffectError::Timeout)??)
}
