//! The Secrets that hold the credentials of one database, read from the API server by their names.

use std::{collections::BTreeMap, time::Duration};

use k8s_openapi::{ByteString, api::core::v1::Secret};
use kube::{Api, Client};

use super::{
    BasicParts, Credentials, CredentialsError, Places, TlsParts,
    parts::{BASIC_AUTH_CONTENT, TLS_CONTENT},
};

/// The data of a Secret.
pub type Data = BTreeMap<String, ByteString>;

/// Time allowed for one Secret.
const TIME_LIMIT: Duration = Duration::from_secs(10);

/// Which Secrets hold the credentials, as people wrote it.
#[derive(Debug, Clone, Default, PartialEq, Eq)]
pub struct Sources {
    /// Where they wrote it, such as `spec.discovery.patroni`.
    pub field: &'static str,
    /// They wrote it right there, and not in `tls` and `basicAuth` below it.
    pub in_place: bool,
    /// The namespace of the Secrets: switchover's own.
    pub namespace: String,
    pub tls_secret: Option<String>,
    /// The name that the servers' certificates carry, if it isn't the host that is called.
    pub server_name: Option<String>,
    pub basic_auth_secret: Option<String>,
    /// They ask for connections without TLS: whose certificates would be believed is nobody's business.
    pub unencrypted: bool,
}

/// The Secrets as they were read. It has no `Debug`: nobody is to see it.
#[derive(Clone, Default, PartialEq, Eq)]
pub(super) struct Material {
    tls: Option<Data>,
    basic_auth: Option<Data>,
}

/// Why the Secrets couldn't be read.
#[derive(Debug, Clone, PartialEq, Eq)]
pub(super) enum Unread {
    /// Somebody has to do something about it.
    Wrong(CredentialsError),
    /// The API server didn't say. That is nothing new about the Secrets.
    Unheard(CredentialsError),
}

impl Sources {
    /// Whether there is any Secret to read.
    #[must_use]
    pub const fn named(&self) -> bool {
        self.tls_secret.is_some() || self.basic_auth_secret.is_some()
    }

    /// The Secrets in words.
    #[must_use]
    pub fn secrets(&self) -> String {
        let names = self
            .tls_secret
            .iter()
            .chain(self.basic_auth_secret.iter().filter(|it| Some(*it) != self.tls_secret.as_ref()));
        names.map(|name| self.called(name)).collect::<Vec<_>>().join(" and ")
    }

    /// What is made of the Secrets as they are now.
    ///
    /// # Errors
    /// With the first thing that is wrong.
    pub async fn load(&self, client: &Client) -> Result<Credentials, CredentialsError> {
        match self.read(client).await {
            Ok(material) => self.credentials(&material),
            Err(Unread::Wrong(error) | Unread::Unheard(error)) => Err(error),
        }
    }

    /// Reads every Secret that is named.
    pub(super) async fn read(&self, client: &Client) -> Result<Material, Unread> {
        let tls = self.secret(client, self.tls_secret.as_deref(), TLS_CONTENT).await?;
        let basic_auth = self.secret(client, self.basic_auth_secret.as_deref(), BASIC_AUTH_CONTENT).await?;
        Ok(Material { tls, basic_auth })
    }

    /// What the Secrets make. Reads nothing.
    pub(super) fn credentials(&self, material: &Material) -> Result<Credentials, CredentialsError> {
        let called = |secret: &Option<String>| self.called(secret.as_deref().unwrap_or_default());
        let tls = material.tls.as_ref().map(|data| TlsParts::of_secret(&called(&self.tls_secret), data)).transpose()?;
        let basic = material.basic_auth.as_ref();
        let basic = basic.map(|data| BasicParts::of_secret(&called(&self.basic_auth_secret), data)).transpose()?;
        Credentials::new(&tls.unwrap_or_default(), self.server_name.as_deref(), basic.as_ref(), self.places())
    }

    /// Where people write what.
    #[must_use]
    pub fn places(&self) -> Places {
        let (field, namespace) = (self.field, &self.namespace);
        let tls = if self.in_place { field.to_owned() } else { format!("{field}.tls") };
        let key = |keys: &str, secret: &Option<String>, name: &str| match secret {
            Some(secret) => format!("{keys} of {}", self.called(secret)),
            None => format!("{keys} of a Secret in {namespace}, and its name into {field}.{name}.secretName"),
        };
        Places {
            authorities: key("ca.crt", &self.tls_secret, "tls"),
            identity: key("tls.crt and tls.key", &self.tls_secret, "tls"),
            server_name: format!("{tls}.serverName"),
            basic_auth: key("username and password", &self.basic_auth_secret, "basicAuth"),
        }
    }

    fn called(&self, secret: &str) -> String {
        format!("the Secret {}/{secret}", self.namespace)
    }

    async fn secret(&self, client: &Client, name: Option<&str>, content: &'static str) -> Result<Option<Data>, Unread> {
        let Some(name) = name else { return Ok(None) };
        let secret = self.called(name);
        let secrets: Api<Secret> = Api::namespaced(client.clone(), &self.namespace);
        let answer = tokio::time::timeout(TIME_LIMIT, secrets.get(name)).await;
        match answer {
            Ok(Ok(read)) => Ok(Some(read.data.unwrap_or_default())),
            Ok(Err(kube::Error::Api(status))) if status.code == 404 => {
                Err(Unread::Wrong(CredentialsError::NoSecret { secret, content }))
            }
            Ok(Err(kube::Error::Api(status))) if status.code == 403 => {
                Err(Unread::Wrong(CredentialsError::Forbidden { secret, said: status.message }))
            }
            Ok(Err(error)) => Err(Unread::Unheard(CredentialsError::Unread { secret, said: error.to_string() })),
            Err(_) => {
                let said = format!("the API server did not answer within {} s", TIME_LIMIT.as_secs());
                Err(Unread::Unheard(CredentialsError::Unread { secret, said }))
            }
        }
    }
}
