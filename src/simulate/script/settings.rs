//! What a script says of `spec.movement`, as a DatabaseCluster.

use serde_json::{Value, json};

use super::Database;
use crate::api::DatabaseCluster;

/// A setting that can't be taken.
#[derive(Debug, thiserror::Error)]
pub enum SettingError {
    #[error("spec.movement has no field {0}")]
    Unknown(String),
    #[error(transparent)]
    Value(#[from] serde_json::Error),
}

impl Database {
    /// The object of the database.
    ///
    /// # Errors
    /// A setting is no field of `spec.movement`, or its value is none.
    pub fn object(&self) -> Result<DatabaseCluster, SettingError> {
        let value = |text: &str| serde_json::from_str(text).unwrap_or_else(|_| Value::String(text.to_owned()));
        let movement: serde_json::Map<String, Value> =
            self.settings.iter().map(|(key, text)| (key.clone(), value(text))).collect();
        let object: DatabaseCluster = serde_json::from_value(json!({
            "apiVersion": "switchover.dev/v1alpha1",
            "kind": "DatabaseCluster",
            "metadata": { "name": self.name, "uid": format!("uid-{}", self.name), "resourceVersion": "1" },
            "spec": { "discovery": { "patroni": { "urls": ["http://10.0.0.1:8008"] } }, "movement": movement },
        }))?;
        let read = serde_json::to_value(&object.spec.movement)?;
        match self.settings.iter().find(|(key, _)| read.get(key).is_none()) {
            Some((key, _)) => Err(SettingError::Unknown(key.clone())),
            None => Ok(object),
        }
    }
}
