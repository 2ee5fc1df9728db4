//! A manifest as admission would leave it: the webhook's own patch, applied to each pod and to each template that pods are made of.

use serde_json::Value;

use super::{ExplainError, Explanation, Template, manifest};

/// What is printed.
#[derive(Debug, Default, PartialEq, Eq)]
pub(super) struct Patched {
    /// Documents that nothing is changed of stay as they were written, comments and all.
    pub manifest: String,
    /// Beside it: warnings, and what is left as it is and why.
    pub notes: Vec<String>,
}

/// Applies what is decided on each.
///
/// # Errors
/// The text can't be parsed, or what should be a pod can't be read as one.
pub(super) fn patched(
    text: &str,
    namespace: &str,
    explain: impl Fn(&Template) -> Result<Explanation, ExplainError>,
) -> Result<Patched, ExplainError> {
    let documents = manifest::read(text)?;
    let written = as_written(text, &documents);
    let (mut printed, mut notes) = (Vec::new(), Vec::new());
    for (at, document) in documents.into_iter().enumerate() {
        let mut changed = document.clone();
        let objects = match manifest::items(&document) {
            Some(_) => changed["items"].as_array_mut().into_iter().flatten().collect(),
            None => vec![&mut changed],
        };
        for object in objects {
            let Some(template) = manifest::template(object, namespace) else { continue };
            let explanation = explain(&template)?;
            note(&explanation, &mut notes);
            if explanation.injects {
                inject(object, template, &explanation)?;
            }
        }
        printed.push(match written.get(at) {
            Some(written) if changed == document => (*written).to_owned(),
            _ => serde_saphyr::to_string(&changed)?,
        });
    }
    if notes.is_empty() {
        notes.push("nothing in it is a pod or makes pods: it is as it was".to_owned());
    }
    let ended = printed.iter().map(|document| format!("{}\n", document.trim_end_matches('\n')));
    Ok(Patched { manifest: ended.collect::<Vec<_>>().join("---\n"), notes })
}

fn note(explanation: &Explanation, notes: &mut Vec<String>) {
    let subject = &explanation.subject;
    notes.extend(explanation.warnings.iter().map(|warning| format!("{subject}: warning: {warning}")));
    match &explanation.why {
        Some(why) => notes.push(format!("{subject}: left as it is: {why}")),
        None => notes.push(format!("{subject}: injected")),
    }
}

fn inject(object: &mut Value, template: Template, explanation: &Explanation) -> Result<(), ExplainError> {
    let unpatched = |source| ExplainError::Patch { what: template.subject.clone(), source };
    let patch: json_patch::Patch = serde_json::from_value(serde_json::to_value(&explanation.patch)?)?;
    let mut pod = template.pod;
    json_patch::patch(&mut pod, &patch).map_err(unpatched)?;
    let kind = object["kind"].as_str().unwrap_or_default().to_owned();
    if let Some(metadata) = pod["metadata"].as_object_mut().filter(|_| kind != "Pod") {
        // The pod has an owner, and its template none.
        metadata.remove("ownerReferences");
    }
    if let Some(place) = object.pointer_mut(manifest::place(&kind)) {
        place["metadata"] = pod["metadata"].take();
        place["spec"] = pod["spec"].take();
    }
    Ok(())
}

/// The text of each of these documents; nothing if it can't be told which is which.
fn as_written<'t>(text: &'t str, documents: &[Value]) -> Vec<&'t str> {
    let mut pieces = Vec::new();
    let (mut start, mut at) = (0, 0);
    for line in text.split_inclusive('\n') {
        // Nothing else begins a line so (YAML 1.2.2, c-forbidden).
        if line.trim_end() == "---" {
            pieces.push(&text[start..at]);
            start = at + line.len();
        }
        at += line.len();
    }
    pieces.push(&text[start..]);
    pieces.retain(|piece| piece.lines().any(|line| !line.trim().is_empty() && !line.trim_start().starts_with('#')));
    let same = |(piece, document): (&&str, &Value)| {
        manifest::read(piece).is_ok_and(|read| read.len() == 1 && read[0] == *document)
    };
    let all = pieces.len() == documents.len() && pieces.iter().zip(documents).all(same);
    if all { pieces } else { Vec::new() }
}

#[cfg(test)]
mod tests;
