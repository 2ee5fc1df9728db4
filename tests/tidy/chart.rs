//! deploy/chart: what its README and its schema say of the values is what there is.

use std::{
    io::Write,
    process::{Command, Stdio},
};

use serde_json::Value;

use crate::files::Files;

const CHART: &str = "deploy/chart";

/// A table that isn't that of values.yaml; values that only the schema knows, or that it doesn't.
pub(crate) fn findings(files: &Files) -> Vec<String> {
    let text = |name: &str| files.text(&format!("{CHART}/{name}")).unwrap_or_default();
    let mut findings = Vec::new();
    if !text("README.md").ends_with(&table(text("table.awk"), text("values.yaml"))) {
        findings.push(format!("{CHART}/README.md: its table isn't that of values.yaml: make chart"));
    }
    let schema: Value = serde_json::from_str(text("values.schema.json")).unwrap_or_default();
    match serde_saphyr::from_str::<Value>(text("values.yaml")) {
        Ok(values) => compare(&schema, &schema, &values, "", &mut findings),
        Err(error) => findings.push(format!("{CHART}/values.yaml: {error}")),
    }
    findings
}

/// What `make chart` writes.
fn table(program: &str, values: &str) -> String {
    let mut awk = Command::new("awk")
        .arg(program)
        .stdin(Stdio::piped())
        .stdout(Stdio::piped())
        .spawn()
        .expect("awk is part of every Debian");
    awk.stdin.take().expect("an input").write_all(values.as_bytes()).expect("awk reads");
    let output = awk.wait_with_output().expect("awk ends");
    String::from_utf8(output.stdout).expect("a table is text")
}

/// Where a part of the schema allows certain keys only, they are those of the values.
fn compare(schema: &Value, part: &Value, values: &Value, path: &str, findings: &mut Vec<String>) {
    let place = part["$ref"].as_str().and_then(|place| schema.pointer(place.strip_prefix('#')?));
    let part = place.unwrap_or(part);
    let (Some(properties), Some(values)) = (part["properties"].as_object(), values.as_object()) else { return };
    if part["additionalProperties"] != false {
        findings.push(format!("{CHART}/values.schema.json: {path} takes misspelt keys"));
    }
    let of = |key: &str| if path.is_empty() { key.to_owned() } else { format!("{path}.{key}") };
    for key in values.keys().filter(|key| !properties.contains_key(*key)) {
        findings.push(format!("{CHART}/values.schema.json: doesn't know {}", of(key)));
    }
    for (key, part) in properties {
        match values.get(key) {
            None => findings.push(format!("{CHART}/values.yaml: doesn't tell of {}", of(key))),
            Some(value) => compare(schema, part, value, &of(key), findings),
        }
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn what_readme_schema_and_values_say_is_compared() {
        let schema = r##"{"additionalProperties": false, "properties": {"role": {"$ref": "#/definitions/role"}, "idle": {}},
            "definitions": {"role": {"properties": {"replicas": {}, "hidden": {}}}}}"##;
        let values = "role:\n  replicas: 2\n  unknown: 1\n";
        let mut files = vec![
            ("deploy/chart/README.md", "# A chart\n\nrole:\n"),
            ("deploy/chart/table.awk", "NR == 1"),
            ("deploy/chart/values.schema.json", schema),
            ("deploy/chart/values.yaml", values),
        ];
        let of_keys = [
            "deploy/chart/values.yaml: doesn't tell of idle",
            "deploy/chart/values.schema.json: role takes misspelt keys",
            "deploy/chart/values.schema.json: doesn't know role.unknown",
            "deploy/chart/values.yaml: doesn't tell of role.hidden",
        ];
        let read = |files: &[(&str, &str)]| findings(&Files::from([files[0], files[1], files[2], files[3]]));
        assert_eq!(read(&files), of_keys);
        files[0].1 = "# A chart\n\nroles:\n";
        let table = ["deploy/chart/README.md: its table isn't that of values.yaml: make chart"];
        assert_eq!(read(&files), [&table[..], &of_keys].concat());
    }
}
