//! AdmissionReview (admission.k8s.io/v1) in, AdmissionReview out: bytes ↔ [`crate::core::affinity`].
//!
//! Whatever arrives, the pod is allowed. The answer carries the request's own uid wherever one can be read, because the
//! API server takes any other answer for a failed call.

pub mod json;
pub mod policy;
pub mod view;
mod written;

use std::{
    fmt,
    panic::{AssertUnwindSafe, catch_unwind},
    time::Instant,
};

use serde::{Deserialize, Serialize, de::IgnoredAny};
use strum::{IntoStaticStr, VariantNames};

pub use self::{view::View, written::WrittenPatches};
use crate::core::{
    affinity::{Decision, Injection, Pod, SkipReason, Verdict, Warning, pod::Text},
    words::plain,
};

/// The one version of AdmissionReview that is served.
pub const API_VERSION: &str = "admission.k8s.io/v1";

/// Of a request of more bytes the pod is left as it is: etcd keeps objects of 1.5 MiB, and a pod that is too large with what
/// was added would be refused because of us.
const LARGEST: usize = 1_400_000;

/// What came of one request, for metrics and logs.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub enum Outcome {
    Injected,
    Skipped(SkipReason),
    Failed(Failure),
}

impl Outcome {
    /// `injected`, `skipped` or `failed`.
    #[must_use]
    pub const fn as_str(self) -> &'static str {
        match self {
            Self::Injected => "injected",
            Self::Skipped(_) => "skipped",
            Self::Failed(_) => "failed",
        }
    }

    /// One word that says why, empty for injected ones.
    #[must_use]
    pub fn reason(self) -> &'static str {
        match self {
            Self::Injected => "",
            Self::Skipped(reason) => reason.as_str(),
            Self::Failed(failure) => failure.as_str(),
        }
    }
}

/// Why a request could not be decided on.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash, IntoStaticStr, VariantNames)]
#[strum(serialize_all = "snake_case")]
pub enum Failure {
    /// Not an AdmissionReview, or its pod can't be read.
    Unreadable,
    /// An AdmissionReview of another version.
    Version,
    TooLarge,
    /// Something else than JSON as it is, by its own word.
    MediaType,
    /// The body did not arrive in time, or broke off.
    Body,
    Overloaded,
    Panicked,
}

impl Failure {
    /// Every [`Failure::as_str`].
    pub const NAMES: &'static [&'static str] = Self::VARIANTS;

    /// One word, for a metric's label.
    #[must_use]
    pub fn as_str(self) -> &'static str {
        self.into()
    }

    /// What was wrong and what to do about it.
    #[must_use]
    pub const fn sentence(self) -> &'static str {
        match self {
            Self::Unreadable => "switchover could not read the request: POST an AdmissionReview of admission.k8s.io/v1",
            Self::Version => "switchover serves admission.k8s.io/v1 alone: write admissionReviewVersions: [v1]",
            Self::TooLarge => "the request is larger than switchover reads; the pod is left as it is",
            Self::MediaType => "switchover reads uncompressed JSON alone: write Content-Type: application/json",
            Self::Body => "the request broke off or took too long; the pod is left as it is",
            Self::Overloaded => "switchover has too many requests at once; the pod is left as it is",
            Self::Panicked => "switchover failed on this request; the pod is left as it is",
        }
    }

    const fn status(self) -> u16 {
        match self {
            Self::Unreadable | Self::Panicked => 200,
            Self::Version => 400,
            Self::TooLarge => 413,
            Self::MediaType => 415,
            Self::Body => 408,
            Self::Overloaded => 503,
        }
    }
}

/// One answer, ready to send.
#[derive(Clone, Debug)]
pub struct Answer {
    /// HTTP status.
    pub status: u16,
    /// `application/json`, or one sentence of plain text where no uid could be read.
    pub content_type: &'static str,
    pub body: Vec<u8>,
    pub outcome: Outcome,
    /// What the client was told (and perhaps more: the answer carries a limited number).
    pub warnings: Vec<Warning>,
    /// Whose pod it is; only where there are warnings.
    pub subject: Option<Box<Subject>>,
}

/// Whom warnings are about: the pod's controller, or the pod itself if it has none.
#[derive(Clone, Debug, PartialEq, Eq, Hash)]
pub struct Subject {
    pub namespace: String,
    pub api_version: String,
    pub kind: String,
    /// A pod without a name of its own yet has that of its kind: `web` of the generated `web-x7k2p`.
    pub name: String,
    /// Empty for a pod, which has none yet.
    pub uid: String,
    /// Nothing will come of the request.
    pub dry_run: bool,
}

impl fmt::Display for Subject {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        write!(f, "{}/{} {}", self.namespace, self.kind, self.name)
    }
}

impl Subject {
    fn new(request: &Request<'_>) -> Self {
        // Nobody has validated it yet: it is kept no longer than a valid name is, and says nothing to a terminal or a log.
        let short = |text: &str| text.chars().take(253).map(plain).collect::<String>();
        let pod = request.object.as_ref();
        let owner = pod.map(Pod::owners).unwrap_or_default().iter().find(|owner| owner.controller == Some(true));
        let metadata = pod.and_then(|pod| pod.metadata.as_ref());
        let [api_version, kind, name, uid] = match owner {
            Some(owner) => {
                let [api_version, uid] = [&owner.api_version, &owner.uid].map(|it| it.as_deref().unwrap_or_default());
                [api_version, &*owner.kind, &*owner.name, uid]
            }
            None => {
                let given = metadata.and_then(|it| it.name.as_deref()).filter(|name| !name.is_empty());
                let generated = || metadata.and_then(|it| it.generate_name.as_deref()).unwrap_or_default();
                ["v1", "Pod", given.unwrap_or_else(|| generated().trim_end_matches('-')), ""]
            }
        }
        .map(short);
        let namespace = short(request.namespace.as_deref().unwrap_or_default());
        Self { namespace, api_version, kind, name, uid, dry_run: request.dry_run.unwrap_or(false) }
    }
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Review<'a> {
    #[serde(borrow)]
    api_version: Text<'a>,
    #[serde(borrow)]
    request: Request<'a>,
}

#[derive(Deserialize)]
#[serde(rename_all = "camelCase")]
struct Request<'a> {
    #[serde(borrow)]
    uid: Text<'a>,
    #[serde(borrow)]
    resource: Resource<'a>,
    #[serde(borrow, default)]
    sub_resource: Option<Text<'a>>,
    #[serde(borrow, default)]
    namespace: Option<Text<'a>>,
    #[serde(borrow)]
    operation: Text<'a>,
    #[serde(borrow, default)]
    object: Option<Pod<'a>>,
    #[serde(default)]
    dry_run: Option<bool>,
}

#[derive(Deserialize)]
struct Resource<'a> {
    #[serde(borrow, default)]
    group: Text<'a>,
    #[serde(borrow)]
    version: Text<'a>,
    #[serde(borrow)]
    resource: Text<'a>,
}

impl Request<'_> {
    fn creates_a_pod(&self) -> bool {
        let Resource { group, version, resource } = &self.resource;
        (&**group, &**version, &**resource) == ("", "v1", "pods")
            && self.sub_resource.as_ref().is_none_or(|sub| sub.is_empty())
            && &*self.operation == "CREATE"
    }
}

#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct ReviewAnswer<'a> {
    api_version: &'a str,
    kind: &'static str,
    response: Response<'a>,
}

/// Without `patchType` and `patch`, which [`add_patch`] adds: kube's own type writes the patch as a list of numbers, and
/// the API server wants base64.
#[derive(Serialize)]
#[serde(rename_all = "camelCase")]
struct Response<'a> {
    uid: &'a str,
    allowed: bool,
    #[serde(skip_serializing_if = "Option::is_none")]
    status: Option<Status>,
    #[serde(skip_serializing_if = "Vec::is_empty")]
    warnings: Vec<String>,
    audit_annotations: AuditAnnotations<'a>,
}

#[derive(Serialize)]
struct Status {
    message: &'static str,
    code: u16,
}

/// The API server puts the webhook's name and a `/` before each key.
#[derive(Serialize)]
struct AuditAnnotations<'a> {
    outcome: &'static str,
    #[serde(skip_serializing_if = "str::is_empty")]
    reason: &'static str,
    #[serde(skip_serializing_if = "Option::is_none")]
    injected: Option<&'a str>,
}

/// Answers one request. Never panics: what a decision panics on is allowed without a patch.
#[must_use]
pub fn review(bytes: &[u8], view: &View, now: Instant) -> Answer {
    catch_unwind(AssertUnwindSafe(|| decide(bytes, view, now))).unwrap_or_else(|_| failed(bytes, Failure::Panicked))
}

fn decide(bytes: &[u8], view: &View, now: Instant) -> Answer {
    let review = match json::from_slice::<Review<'_>>(bytes) {
        Ok(review) if &*review.api_version == API_VERSION => review,
        Ok(_) => return failed(bytes, Failure::Version),
        Err(_) => return failed(bytes, Failure::Unreadable),
    };
    let request = review.request;
    let namespace = request.namespace.as_deref().unwrap_or_default();
    let decision = match &request.object {
        Some(_) if request.creates_a_pod() && bytes.len() > LARGEST => {
            Decision { verdict: Verdict::Skip(SkipReason::TooLarge), warnings: Vec::new() }
        }
        Some(pod) if request.creates_a_pod() => view.decide(namespace, pod, now),
        _ => Decision { verdict: Verdict::Skip(SkipReason::NotPodCreation), warnings: Vec::new() },
    };

    let (outcome, injection) = match &decision.verdict {
        Verdict::Skip(reason) => (Outcome::Skipped(*reason), None),
        Verdict::Inject(injection) => (Outcome::Injected, Some(injection)),
    };
    let injected = injection.map(|injection| injection.summary.as_str());
    let response = Response {
        uid: &request.uid,
        allowed: true,
        status: None,
        warnings: told(&decision.warnings),
        audit_annotations: AuditAnnotations { outcome: outcome.as_str(), reason: outcome.reason(), injected },
    };
    let mut body = body(API_VERSION, response);
    if let Some(injection) = injection
        && add_patch(&mut body, injection, &view.written).is_none()
    {
        return failed(bytes, Failure::Panicked);
    }
    Answer {
        status: 200,
        content_type: JSON,
        body,
        outcome,
        subject: (!decision.warnings.is_empty()).then(|| Box::new(Subject::new(&request))),
        warnings: decision.warnings,
    }
}

/// The namespace that a request is about.
#[must_use]
pub fn namespace(bytes: &[u8]) -> Option<Box<str>> {
    #[derive(Deserialize)]
    struct Review<'a> {
        #[serde(borrow)]
        request: Request<'a>,
    }
    #[derive(Deserialize)]
    struct Request<'a> {
        #[serde(borrow)]
        namespace: Text<'a>,
    }
    json::from_slice::<Review<'_>>(bytes).ok().map(|review| Box::from(&*review.request.namespace))
}

const JSON: &str = "application/json";
/// The content type of sentences.
pub const TEXT: &str = "text/plain; charset=utf-8";

/// The answer to a request that can't be decided on, from as much of it as there is: allowed, with the request's own
/// uid where one can be read; else one sentence.
#[must_use]
pub fn failed(bytes: &[u8], failure: Failure) -> Answer {
    let outcome = Outcome::Failed(failure);
    let sentence = failure.sentence();
    let (status, content_type, body) = match read_uid(bytes) {
        None => (failure.status().max(400), TEXT, format!("{sentence}\n").into_bytes()),
        Some((api_version, uid)) => {
            let response = Response {
                uid: &uid,
                allowed: true,
                status: Some(Status { message: sentence, code: failure.status() }),
                warnings: vec![sentence.to_owned()],
                audit_annotations: AuditAnnotations {
                    outcome: outcome.as_str(),
                    reason: outcome.reason(),
                    injected: None,
                },
            };
            (failure.status(), JSON, body(&api_version, response))
        }
    };
    Answer { status, content_type, body, outcome, warnings: Vec::new(), subject: None }
}

/// As large as most answers.
const ANSWER_BYTES: usize = 1536;

fn body(api_version: &str, response: Response<'_>) -> Vec<u8> {
    let mut body = Vec::with_capacity(ANSWER_BYTES);
    // Writing strings and numbers into a vector does not fail.
    let _ = serde_json::to_writer(&mut body, &ReviewAnswer { api_version, kind: "AdmissionReview", response });
    body
}

/// Adds the patch to a [`body`], at its end: base64 has nothing to escape, so it is written where it belongs at once.
/// `None` if it can't be written.
fn add_patch(body: &mut Vec<u8>, injection: &Injection, written: &WrittenPatches) -> Option<()> {
    const END: &[u8] = b"}}";
    body.truncate(body.strip_suffix(END)?.len());
    body.extend_from_slice(br#","patchType":"JSONPatch","patch":""#);
    written.append(injection, body)?;
    body.push(b'"');
    body.extend_from_slice(END);
    Some(())
}

/// The warnings as the client sees them: Kubernetes carries 4096 characters in all, and nobody reads more than a few.
fn told(warnings: &[Warning]) -> Vec<String> {
    const MOST: usize = 8;
    let mut told: Vec<String> = warnings.iter().take(MOST).map(ToString::to_string).collect();
    if warnings.len() > MOST {
        told.push(format!("switchover has {} more warnings about this pod", warnings.len() - MOST));
    }
    told
}

/// The version and the uid of whatever was sent: by the book where it is JSON, else by looking for the first uid, which
/// the API server writes before anything that a user could have written.
fn read_uid(bytes: &[u8]) -> Option<(String, String)> {
    #[derive(Deserialize)]
    struct Asked<'a> {
        #[serde(borrow)]
        request: AskedRequest<'a>,
    }
    #[derive(Deserialize)]
    struct AskedRequest<'a> {
        #[serde(borrow)]
        uid: Text<'a>,
    }
    #[derive(Deserialize)]
    #[serde(rename_all = "camelCase")]
    struct Versioned<'a> {
        #[serde(borrow)]
        api_version: Text<'a>,
    }
    let uid = match json::from_slice::<Asked<'_>>(bytes) {
        Ok(review) => review.request.uid.0.into_owned(),
        // A review without a uid of its own has others, such as its pod's owner's.
        Err(_) if serde_json::from_slice::<IgnoredAny>(bytes).is_ok() => return None,
        Err(_) => find_text(bytes, "uid")?.to_owned(),
    };
    let version = match json::from_slice::<Versioned<'_>>(bytes) {
        Ok(review) => Some(review.api_version.0.into_owned()),
        Err(_) => find_text(bytes, "apiVersion").map(str::to_owned),
    };
    // Answer in the asker's own version, if it is one.
    let version = version.filter(|version| version.len() <= 64 && version.starts_with("admission.k8s.io/"));
    let plain = (1..=128).contains(&uid.len()) && uid.bytes().all(|b| b.is_ascii_graphic());
    plain.then(|| (version.unwrap_or_else(|| API_VERSION.to_owned()), uid))
}

/// The first string that follows `"key":`, if it has no escapes and stands near the beginning.
fn find_text<'a>(bytes: &'a [u8], key: &str) -> Option<&'a str> {
    let bytes = &bytes[..bytes.len().min(4096)];
    let quoted = format!("\"{key}\"");
    let at = bytes.windows(quoted.len()).position(|window| window == quoted.as_bytes())?;
    let rest = bytes[at + quoted.len()..].trim_ascii_start().strip_prefix(b":")?.trim_ascii_start();
    let rest = rest.strip_prefix(b"\"")?;
    let end = rest.iter().position(|&b| b == b'"' || b == b'\\')?;
    (rest[end] == b'"').then(|| std::str::from_utf8(&rest[..end]).ok())?
}

#[cfg(test)]
pub(crate) mod tests;
