//! What a dashboard is made of, and how Grafana reads it.

use serde_json::{Value, json};

/// A dashboard.
pub(super) struct Board {
    /// Of its file, and the end of its uid, by which people link to it: none changes.
    pub name: &'static str,
    pub title: &'static str,
    pub description: &'static str,
    pub rows: Vec<Row>,
}

/// Panels that belong together, below a heading.
pub(super) struct Row {
    pub title: &'static str,
    pub panels: Vec<Panel>,
}

/// What one place shows.
pub(super) struct Panel {
    title: &'static str,
    description: &'static str,
    unit: Unit,
    shape: Shape,
    /// What Prometheus is asked, each with the name of what comes back.
    queries: Vec<(String, &'static str)>,
}

/// How a number is to be read.
#[derive(Debug, Clone, Copy)]
pub(super) enum Unit {
    Count,
    /// 1 is yes.
    Yes,
    Seconds,
    Ratio,
    PerSecond,
}

#[derive(Debug, Clone, Copy)]
enum Shape {
    /// Over time.
    Lines,
    /// Now, large.
    Number,
    /// What held when.
    States,
}

/// Of Grafana's grid.
const COLUMNS: u32 = 24;
const HEIGHT: u32 = 8;
/// The version of Grafana's own format, which newer ones read.
const SCHEMA: u32 = 39;

impl Unit {
    const fn name(self) -> &'static str {
        match self {
            Self::Count => "short",
            Self::Yes => "bool_yes_no",
            Self::Seconds => "s",
            Self::Ratio => "percentunit",
            Self::PerSecond => "ops",
        }
    }
}

impl Shape {
    const fn name(self) -> &'static str {
        match self {
            Self::Lines => "timeseries",
            Self::Number => "stat",
            Self::States => "state-timeline",
        }
    }

    const fn width(self) -> u32 {
        match self {
            Self::Lines => COLUMNS / 3,
            Self::Number => COLUMNS / 6,
            Self::States => COLUMNS / 2,
        }
    }
}

impl Panel {
    const fn new(shape: Shape, title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self { title, description, unit, shape, queries: Vec::new() }
    }

    pub(super) const fn lines(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Shape::Lines, title, unit, description)
    }

    pub(super) const fn number(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Shape::Number, title, unit, description)
    }

    pub(super) const fn states(title: &'static str, unit: Unit, description: &'static str) -> Self {
        Self::new(Shape::States, title, unit, description)
    }

    /// One more query, in which `CLUSTER`, `DATABASE` and `RANGE` stand for what is chosen above the panels, and `LEADER` leaves what the
    /// leader says alone.
    pub(super) fn asks(mut self, query: &str, called: &'static str) -> Self {
        let query = query
            .replace("DATABASE", r#"cluster=~"$cluster", database=~"$database""#)
            .replace("CLUSTER", r#"cluster=~"$cluster""#)
            .replace("RANGE", "$__rate_interval")
            .replace("LEADER", "and on (cluster, instance) (switchover_leader == 1)");
        self.queries.push((query, called));
        self
    }

    fn json(&self, id: u32, x: u32, y: u32) -> Value {
        let targets = self.queries.iter().zip('A'..).map(|((query, called), reference)| {
            json!({
                "datasource": datasource(), "expr": query, "legendFormat": called, "refId": reference.to_string(),
                "editorMode": "code", "range": true,
            })
        });
        json!({
            "id": id, "type": self.shape.name(), "title": self.title, "description": self.description,
            "datasource": datasource(), "targets": targets.collect::<Vec<_>>(),
            "gridPos": {"x": x, "y": y, "w": self.shape.width(), "h": HEIGHT},
            "fieldConfig": {"defaults": {"unit": self.unit.name(), "min": 0}, "overrides": []},
            "options": self.options(),
        })
    }

    fn options(&self) -> Value {
        match self.shape {
            Shape::Lines => json!({
                "legend": {"displayMode": "list", "placement": "bottom", "showLegend": true},
                "tooltip": {"mode": "multi", "sort": "desc", "hideZeros": true},
            }),
            Shape::Number => json!({"reduceOptions": {"calcs": ["lastNotNull"]}, "textMode": "value_and_name"}),
            Shape::States => json!({"mergeValues": true, "showValue": "never", "rowHeight": 0.8}),
        }
    }
}

impl Board {
    pub(super) fn uid(&self) -> String {
        format!("switchover-{}", self.name)
    }

    /// As Grafana reads it.
    pub(super) fn json(&self) -> Value {
        let mut panels = Vec::new();
        let mut y = 0;
        for row in &self.rows {
            let id = number(&panels);
            panels.push(json!({
                "id": id, "type": "row", "title": row.title, "collapsed": false, "panels": [],
                "gridPos": {"x": 0, "y": y, "w": COLUMNS, "h": 1},
            }));
            y += 1;
            let mut x = 0;
            for panel in &row.panels {
                if x + panel.shape.width() > COLUMNS {
                    (x, y) = (0, y + HEIGHT);
                }
                let id = number(&panels);
                panels.push(panel.json(id, x, y));
                x += panel.shape.width();
            }
            y += HEIGHT;
        }
        json!({
            "uid": self.uid(), "title": self.title, "description": self.description, "tags": ["switchover"],
            "schemaVersion": SCHEMA, "editable": true, "graphTooltip": 1, "refresh": "30s", "timezone": "browser",
            "time": {"from": "now-6h", "to": "now"},
            "links": [{
                "title": "switchover", "type": "dashboards", "tags": ["switchover"], "asDropdown": true, "includeVars": true,
                "keepTime": true,
            }],
            "templating": {"list": [
                {"name": "datasource", "label": "Data source", "type": "datasource", "query": "prometheus", "current": {}},
                choice("cluster", "Cluster", "label_values(switchover_build_info, cluster)"),
                choice("database", "Database", r#"label_values(switchover_database_accepted{cluster=~"$cluster"}, database)"#),
            ]},
            "panels": panels,
        })
    }
}

/// The next panel's number: unique in its dashboard.
fn number(panels: &[Value]) -> u32 {
    u32::try_from(panels.len() + 1).unwrap_or(u32::MAX)
}

fn datasource() -> Value {
    json!({"type": "prometheus", "uid": "${datasource}"})
}

/// A variable of which several values may be chosen. All means any, also none: where there is one cluster, nobody may have named it.
fn choice(name: &str, label: &str, query: &str) -> Value {
    json!({
        "name": name, "label": label, "type": "query", "datasource": datasource(), "query": {"query": query, "refId": name},
        "definition": query, "refresh": 2, "sort": 1, "multi": true, "includeAll": true, "allValue": ".*",
        "current": {"text": "All", "value": "$__all"},
    })
}
