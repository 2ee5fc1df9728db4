//! The registry that every role's metrics live in.
//!
//! Names start with `switchover_`, units are base units (seconds, bytes), labels are bounded by configuration
//! (databases, members, reasons), never by pods.

use prometheus_client::{encoding::text::encode, metrics::info::Info, registry::Registry};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A registry whose names start with `switchover_`. Each role registers its own families.
#[must_use]
pub fn registry() -> Registry {
    Registry::with_prefix("switchover")
}

/// Says in the log which version of a role begins, and makes its registry, which says the same (`switchover_build_info`).
#[must_use]
pub fn begin(role: &'static str) -> Registry {
    tracing::info!(version = VERSION, role, "switchover begins");
    let mut registry = registry();
    registry.register("build", "Version and role of this program", Info::new([("version", VERSION), ("role", role)]));
    registry
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

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn each_role_says_its_version() {
        let text = render(&begin("webhook"));
        let line = format!("switchover_build_info{{version=\"{VERSION}\",role=\"webhook\"}} 1");
        assert!(text.lines().any(|it| it == line), "{text}");
    }
}
