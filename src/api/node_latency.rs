//! `NodeLatency`: what one node's agent measured.

use jiff::Timestamp;
use kube::CustomResource;
use schemars::JsonSchema;
use serde::{Deserialize, Serialize};

/// Most readings that a NodeLatency can hold.
pub const MOST_READINGS: usize = 512;
/// Longest host that a reading can have, in characters: a host name has no more (RFC 1035, 2.3.4).
pub const LONGEST_HOST: usize = 253;

/// Round-trip times from one node to every member of every database, written by that node's agent alone.
/// The object is named after the node and owned by it. It has no status: the agent states facts, nobody answers.
#[derive(CustomResource, Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[kube(
    group = "switchover.dev",
    version = "v1alpha1",
    kind = "NodeLatency",
    plural = "nodelatencies",
    shortname = "nlat",
    category = "switchover",
    doc = "Round-trip times from one node to the members of the databases, measured and written by the node's agent.",
    derive = "PartialEq",
    printcolumn = r#"{"name":"Members","type":"integer","jsonPath":".spec.memberCount","description":"How many members are measured"}"#,
    printcolumn = r#"{"name":"Heartbeat","type":"date","jsonPath":".spec.heartbeat","description":"When the agent last wrote"}"#,
    printcolumn = r#"{"name":"Age","type":"date","jsonPath":".metadata.creationTimestamp"}"#
)]
#[serde(rename_all = "camelCase")]
pub struct NodeLatencySpec {
    /// When the agent wrote this, by the node's clock (RFC 3339). Readers judge freshness by when they saw it change.
    #[schemars(schema_with = "date_time")]
    pub heartbeat: Timestamp,

    /// Number of entries in `readings`.
    #[serde(default)]
    pub member_count: u32,

    /// One reading per member address.
    #[serde(default)]
    #[schemars(length(max = MOST_READINGS))]
    pub readings: Vec<Reading>,
}

impl NodeLatencySpec {
    /// What it says of one host.
    #[must_use]
    pub fn of(&self, host: &str) -> Option<&Reading> {
        self.readings.iter().find(|reading| reading.host == host)
    }
}

/// What one window of echoes to one member address says.
#[derive(Serialize, Deserialize, Clone, Debug, Default, PartialEq, JsonSchema)]
#[serde(rename_all = "camelCase")]
pub struct Reading {
    /// Host name or address of the member, as the database cluster states it.
    #[schemars(length(max = LONGEST_HOST))]
    pub host: String,

    /// Median round-trip time of the window in microseconds, up to 10 s; absent when every echo was lost.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    #[schemars(range(min = 1, max = 10_000_000))]
    pub rtt_us: Option<u32>,

    /// Difference between the 90th and the 10th percentile of the window in microseconds.
    #[serde(default, skip_serializing_if = "Option::is_none")]
    pub jitter_us: Option<u32>,

    /// Echoes of the window that were not answered in time, in percent.
    #[serde(default)]
    #[schemars(range(max = 100))]
    pub loss_percent: u8,

    /// Number of echoes in the window.
    #[serde(default)]
    pub samples: u16,

    /// How the reading was made. Methods are never mixed in one reading.
    #[serde(default)]
    pub method: Method,
}

/// How a round trip was measured.
#[derive(Serialize, Deserialize, Clone, Copy, Debug, Default, PartialEq, Eq, JsonSchema)]
#[serde(rename_all = "lowercase")]
pub enum Method {
    /// ICMP echo (RFC 792, RFC 4443).
    #[default]
    Icmp,
    /// TCP connect to the database port, where echoes are blocked.
    Tcp,
}

fn date_time(_: &mut schemars::SchemaGenerator) -> schemars::Schema {
    schemars::json_schema!({ "type": "string", "format": "date-time" })
}
