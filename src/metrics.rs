//! The registry that every role's metrics live in.
//!
//! Names start with `switchover_`, units are base units (seconds, bytes), labels are bounded by configuration
//! (databases, members, reasons), never by pods.

use std::sync::LazyLock;

use prometheus_client::{
    encoding::text::encode,
    metrics::{counter::Counter, info::Info},
    registry::Registry,
};

/// The version of this program.
pub const VERSION: &str = env!("CARGO_PKG_VERSION");

/// A program has one log, whatever roles it has.
static LOG_LINES_DROPPED: LazyLock<Counter> = LazyLock::new(Counter::default);

/// A line of the log was dropped, because what came before isn't written yet.
pub fn log_line_dropped() {
    LOG_LINES_DROPPED.inc();
}

/// How often that was so.
#[must_use]
pub fn log_lines_dropped() -> u64 {
    LOG_LINES_DROPPED.get()
}

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
    let help = "Lines of the log that were dropped because stderr takes them too slowly";
    registry.register("log_lines_dropped", help, LOG_LINES_DROPPED.clone());
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
