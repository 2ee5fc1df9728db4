//! The registry that every role's metrics live in.
//!
//! Names start with `switchover_`, units are base units (seconds, bytes), labels are bounded by configuration
//! (databases, members, reasons), never by pods.

use prometheus_client::{encoding::text::encode, registry::Registry};

/// A registry whose names start with `switchover_`. Each role registers its own families.
#[must_use]
pub fn registry() -> Registry {
    Registry::with_prefix("switchover")
}

/// The exposition text that `/metrics` serves (OpenMetrics 1.0).
#[must_use]
pub fn render(registry: &Registry) -> String {
    let mut text = String::new();
    // Writing into a String does not fail.
    let _ = encode(&mut text, registry);
    text
}

/// The content type of [`render`].
pub const CONTENT_TYPE: &str = "application/openmetrics-text; version=1.0.0; charset=utf-8";
