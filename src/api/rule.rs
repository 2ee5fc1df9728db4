//! Rules of the schema.

/// One CEL rule of the schema, with the sentence that a person reads when it refuses.
pub(super) fn rule(expression: &str, message: &str) -> serde_json::Value {
    serde_json::json!({ "rule": expression, "message": message })
}
