//! Lists whose items are written as texts, each one item's JSON.
//!
//! The API server spends 0.8 ms on an item of a dozen fields whenever the status is written: it converts, validates and compares each
//! field, whether it has changed or not. A text costs it a sixth of that, and the status is written several times a second while
//! pods move (docs/decisions/2026-11-lists-of-texts.md has the figures).

use schemars::{Schema, SchemaGenerator, json_schema};
use serde::{
    Deserialize, Deserializer, Serializer,
    de::{DeserializeOwned, Error as _},
    ser::{Error as _, Serialize},
};

/// An item, as this version writes it, or as versions before 0.2 did.
#[derive(Deserialize)]
#[serde(untagged)]
enum Item<T> {
    Text(String),
    Fields(T),
}

pub(super) fn serialize<T: Serialize, S: Serializer>(items: &[T], serializer: S) -> Result<S::Ok, S::Error> {
    let texts: Result<Vec<String>, _> = items.iter().map(serde_json::to_string).collect();
    serializer.collect_seq(texts.map_err(S::Error::custom)?)
}

pub(super) fn deserialize<'de, T, D>(deserializer: D) -> Result<Vec<T>, D::Error>
where
    T: DeserializeOwned,
    D: Deserializer<'de>,
{
    let read = |item| match item {
        Item::Text(text) => serde_json::from_str(&text),
        Item::Fields(item) => Ok(item),
    };
    Vec::<Item<T>>::deserialize(deserializer)?.into_iter().map(read).collect::<Result<_, _>>().map_err(D::Error::custom)
}

/// Up to `MOST` items. Their type is left open, so that the API server keeps what a version before 0.2 wrote.
pub(super) fn schema<const MOST: usize>(_: &mut SchemaGenerator) -> Schema {
    json_schema!({
        "type": "array",
        "maxItems": MOST,
        "items": { "x-kubernetes-preserve-unknown-fields": true },
    })
}

#[cfg(test)]
mod tests {
    use serde_json::json;

    use crate::api::{DatabaseClusterStatus, database_cluster::MovingStatus};

    fn moving() -> MovingStatus {
        let moving = json!({
            "pod": "shop/web-1", "uid": "1", "from": "b1", "fromTier": "far", "action": "Evict", "pods": 1, "startedAt": "2026-01-01T00:00:00Z",
            "workload": {"kind": "Deployment", "namespace": "shop", "name": "web", "uid": "2"},
        });
        serde_json::from_value(moving).unwrap()
    }

    #[test]
    fn what_is_on_the_move_is_written_as_texts_and_read_as_it_was() {
        let status = DatabaseClusterStatus { moving: vec![moving(); 2], ..DatabaseClusterStatus::default() };
        let written = serde_json::to_value(&status).unwrap();
        let text = r#"{"pod":"shop/web-1","uid":"1","from":"b1","fromTier":"far","action":"Evict","workload":{"kind":"Deployment","namespace":"shop","name":"web","uid":"2"},"pods":1,"startedAt":"2026-01-01T00:00:00Z"}"#;
        assert_eq!(written["moving"], json!([text, text]));
        assert_eq!(serde_json::from_value::<DatabaseClusterStatus>(written).unwrap(), status);
    }

    #[test]
    fn what_an_earlier_version_wrote_is_read() {
        let written = json!({"moving": [serde_json::to_value(moving()).unwrap()]});
        assert_eq!(serde_json::from_value::<DatabaseClusterStatus>(written).unwrap().moving, [moving()]);
    }

    #[test]
    fn a_text_that_is_none_of_these_says_so() {
        let error = serde_json::from_value::<DatabaseClusterStatus>(json!({"moving": ["shop/web-1"]})).unwrap_err();
        assert_eq!(error.to_string(), "expected value at line 1 column 1");
    }
}
