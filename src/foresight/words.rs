//! Amounts, as people buy them.

use std::collections::BTreeMap;

/// `3.5 cpu and 6 GiB`: by Kubernetes' names, CPUs in thousandths, everything else in whole units.
#[must_use]
pub fn amounts(resources: &BTreeMap<String, u64>) -> String {
    let amount = |(name, amount): (&String, &u64)| match name.as_str() {
        "cpu" => format!("{} cpu", decimal(*amount, 1_000)),
        "memory" => bytes(*amount),
        "ephemeral-storage" => format!("{} of ephemeral storage", bytes(*amount)),
        "pods" => format!("room for {amount} more pods"),
        other => format!("{amount} {other}"),
    };
    joined(&resources.iter().map(amount).collect::<Vec<_>>())
}

/// `a, b and c`
pub(super) fn joined(parts: &[String]) -> String {
    match parts {
        [] => String::new(),
        [one] => one.clone(),
        [first @ .., last] => format!("{} and {last}", first.join(", ")),
    }
}

fn bytes(amount: u64) -> String {
    const UNITS: [(u64, &str); 3] = [(1 << 30, "GiB"), (1 << 20, "MiB"), (1 << 10, "KiB")];
    let unit = UNITS.iter().find(|(size, _)| amount >= *size);
    unit.map_or_else(|| format!("{amount} bytes"), |(size, unit)| format!("{} {unit}", decimal(amount, *size)))
}

/// With one digit behind the point, rounded up: so much is enough.
fn decimal(amount: u64, unit: u64) -> String {
    let tenths = amount.saturating_mul(10).div_ceil(unit);
    match tenths % 10 {
        0 => (tenths / 10).to_string(),
        tenth => format!("{}.{tenth}", tenths / 10),
    }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn amounts_are_told_as_people_buy_them() {
        let rows: [(&[(&str, u64)], &str); 6] = [
            (&[("cpu", 3_500), ("memory", 6 << 30)], "3.5 cpu and 6 GiB"),
            (&[("cpu", 2_000)], "2 cpu"),
            (&[("cpu", 1_010)], "1.1 cpu"),
            (&[("memory", 700 << 20)], "700 MiB"),
            (&[("example.com/gpu", 2), ("memory", 512)], "2 example.com/gpu and 512 bytes"),
            (
                &[("pods", 3), ("cpu", 50), ("ephemeral-storage", 3 << 30)],
                "0.1 cpu, 3 GiB of ephemeral storage and room for 3 more pods",
            ),
        ];
        for (resources, expected) in rows {
            let resources = resources.iter().map(|(name, amount)| ((*name).to_owned(), *amount)).collect();
            assert_eq!(amounts(&resources), expected);
        }
    }
}
