//! What people gave, as it stands in keys of a Secret or in files: bytes, and what to call them.

use std::{fmt, io, path::Path};

use super::{CredentialsError, Data};

/// Keys of a Secret, as Kubernetes names them (`kubernetes.io/tls`, `kubernetes.io/basic-auth`).
const AUTHORITIES: &str = "ca.crt";
const CERTIFICATE: &str = "tls.crt";
const KEY: &str = "tls.key";
const USER: &str = "username";
const PASSWORD: &str = "password";

/// What a TLS Secret holds.
pub(super) const TLS_CONTENT: &str =
    "ca.crt (the authorities to trust), or tls.crt and tls.key (a client certificate), or all three";
/// What a Secret with a login holds.
pub(super) const BASIC_AUTH_CONTENT: &str = "username and password";

/// One key of a Secret, or one file.
#[derive(Clone, PartialEq, Eq)]
pub struct Part {
    /// `tls.crt of the Secret ns/name`.
    pub name: String,
    /// The name of what it makes sense with only.
    pub(super) other: String,
    pub(super) bytes: Vec<u8>,
}

impl fmt::Debug for Part {
    fn fmt(&self, f: &mut fmt::Formatter<'_>) -> fmt::Result {
        f.debug_struct("Part").field("name", &self.name).finish_non_exhaustive()
    }
}

/// What TLS is set up with. Nothing of it is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct TlsParts {
    pub authorities: Option<Part>,
    pub certificate: Option<Part>,
    pub key: Option<Part>,
}

/// A login.
#[derive(Debug, Clone, PartialEq, Eq)]
pub struct BasicParts {
    pub user: Part,
    pub password: Part,
}

impl TlsParts {
    /// Of a Secret; `secret` is what it is called in sentences.
    ///
    /// # Errors
    /// When it has none of the keys.
    pub fn of_secret(secret: &str, data: &Data) -> Result<Self, CredentialsError> {
        let parts = Self {
            authorities: part(secret, data, AUTHORITIES, AUTHORITIES),
            certificate: part(secret, data, CERTIFICATE, KEY),
            key: part(secret, data, KEY, CERTIFICATE),
        };
        if parts == Self::default() {
            return Err(CredentialsError::Nothing { secret: secret.to_owned(), content: TLS_CONTENT });
        }
        Ok(parts)
    }

    /// Of the files that the flags `--ca-file`, `--cert-file` and `--key-file` name.
    ///
    /// # Errors
    /// When one can't be read; with its path.
    pub fn of_files(
        authorities: Option<&Path>,
        certificate: Option<&Path>,
        key: Option<&Path>,
    ) -> Result<Self, (String, io::Error)> {
        let read = |path: Option<&Path>, other: &str| {
            let Some(path) = path else { return Ok(None) };
            let name = path.display().to_string();
            match std::fs::read(path) {
                Ok(bytes) => Ok(Some(Part { other: other.to_owned(), name, bytes })),
                Err(error) => Err((name, error)),
            }
        };
        Ok(Self {
            authorities: read(authorities, "--ca-file")?,
            certificate: read(certificate, "--key-file")?,
            key: read(key, "--cert-file")?,
        })
    }
}

impl BasicParts {
    /// Of a Secret; `secret` is what it is called in sentences.
    ///
    /// # Errors
    /// When it lacks one of the keys.
    pub fn of_secret(secret: &str, data: &Data) -> Result<Self, CredentialsError> {
        let (user, password) = (part(secret, data, USER, PASSWORD), part(secret, data, PASSWORD, USER));
        match (user, password) {
            (Some(user), Some(password)) => Ok(Self { user, password }),
            _ => Err(CredentialsError::Nothing { secret: secret.to_owned(), content: BASIC_AUTH_CONTENT }),
        }
    }
}

fn part(secret: &str, data: &Data, key: &str, other: &str) -> Option<Part> {
    let name = |key: &str| format!("{key} of {secret}");
    data.get(key).map(|bytes| Part { name: name(key), other: name(other), bytes: bytes.0.clone() })
}
