//! The files that hold the credentials where there is no Kubernetes, as flags name them.

use std::path::PathBuf;

use super::{Credentials, CredentialsError, Places, TlsParts};

/// What the flags `--ca-file`, `--cert-file`, `--key-file` and `--server-name` say. Nothing of it is needed.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Files {
    pub authorities: Option<PathBuf>,
    pub certificate: Option<PathBuf>,
    pub key: Option<PathBuf>,
    /// The name that the servers' certificates carry, if it isn't the host that is called.
    pub server_name: Option<String>,
}

impl Files {
    /// Whether there is any file to read.
    #[must_use]
    pub const fn named(&self) -> bool {
        self.authorities.is_some() || self.certificate.is_some() || self.key.is_some()
    }

    /// The files in words.
    #[must_use]
    pub fn words(&self) -> String {
        let files = [&self.authorities, &self.certificate, &self.key].into_iter().flatten();
        files.map(|path| path.display().to_string()).collect::<Vec<_>>().join(" and ")
    }

    /// What is made of the files as they are now.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub fn load(&self) -> Result<Credentials, CredentialsError> {
        self.credentials(&self.read()?)
    }

    pub(super) fn read(&self) -> Result<TlsParts, CredentialsError> {
        let [authorities, certificate, key] =
            [&self.authorities, &self.certificate, &self.key].map(|path| path.as_deref());
        TlsParts::of_files(authorities, certificate, key)
            .map_err(|(file, error)| CredentialsError::File { file, said: error.to_string() })
    }

    pub(super) fn credentials(&self, parts: &TlsParts) -> Result<Credentials, CredentialsError> {
        let places = Places {
            authorities: "--ca-file".to_owned(),
            identity: "--cert-file and --key-file".to_owned(),
            server_name: "--server-name".to_owned(),
            basic_auth: "them of a Secret: a DatabaseCluster names it".to_owned(),
        };
        Credentials::new(parts, self.server_name.as_deref(), None, places)
    }
}
