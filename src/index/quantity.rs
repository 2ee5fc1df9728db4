//! Kubernetes quantities (`100m`, `1.5Gi`, `1e3`) as whole numbers.

use k8s_openapi::apimachinery::pkg::api::resource::Quantity;

/// The quantity in thousandths, rounded up; `None` if it isn't one.
#[must_use]
pub(super) fn milli(quantity: &Quantity) -> Option<u64> {
    scaled(&quantity.0, 1000)
}

/// The quantity in whole units, rounded up; `None` if it isn't one.
#[must_use]
pub(super) fn units(quantity: &Quantity) -> Option<u64> {
    scaled(&quantity.0, 1)
}

/// One unit in nano-units, so that `1n` is still a whole number.
const NANO: u128 = 1_000_000_000;

/// Grammar: k8s.io/apimachinery, pkg/api/resource/quantity.go. Digits beyond nano are cut off.
fn scaled(text: &str, factor: u128) -> Option<u64> {
    let end = text.find(|c: char| !(c.is_ascii_digit() || c == '.' || c == '+')).unwrap_or(text.len());
    let (number, suffix) = text.split_at(end);
    let multiplier: u128 = match suffix {
        "n" => 1,
        "u" => 1_000,
        "m" => 1_000_000,
        "" => NANO,
        "k" => NANO * 1_000,
        "M" => NANO * 1_000_000,
        "G" => NANO * 1_000_000_000,
        "T" => NANO * 1_000_000_000_000,
        "P" => NANO * 1_000_000_000_000_000,
        "E" => NANO * 1_000_000_000_000_000_000,
        "Ki" => NANO << 10,
        "Mi" => NANO << 20,
        "Gi" => NANO << 30,
        "Ti" => NANO << 40,
        "Pi" => NANO << 50,
        "Ei" => NANO << 60,
        exponent => {
            let exponent: i32 = exponent.strip_prefix(['e', 'E'])?.parse().ok()?;
            if !(-9..=18).contains(&exponent) {
                return None;
            }
            10u128.pow(u32::try_from(exponent + 9).ok()?)
        }
    };
    let (whole, fraction) = number.split_once('.').unwrap_or((number, ""));
    let whole = whole.trim_start_matches('+');
    if whole.is_empty() && fraction.is_empty() {
        return None;
    }
    let whole: u128 = if whole.is_empty() { 0 } else { whole.parse().ok()? };
    let fraction: u128 = format!("{:0<9}", fraction.get(..9).unwrap_or(fraction)).parse().ok()?;
    // The fraction is in billionths of the unit that the suffix names.
    let nanos = whole.checked_mul(multiplier)?.checked_add(fraction.checked_mul(multiplier)?.div_ceil(NANO))?;
    u64::try_from(nanos.checked_mul(factor)?.div_ceil(NANO)).ok()
}

#[cfg(test)]
mod tests {
    use lab::table::check_rows;

    use super::*;

    #[test]
    fn quantities_are_read_as_kubernetes_writes_them() {
        let rows = [
            ("100m", Some(100), Some(1)),
            ("1", Some(1000), Some(1)),
            ("1.5", Some(1500), Some(2)),
            ("0.25", Some(250), Some(1)),
            ("1Gi", Some(1000 << 30), Some(1 << 30)),
            ("1.5Gi", Some(1500 << 30), Some(3 << 29)),
            ("16Mi", Some(16_000 << 20), Some(16 << 20)),
            ("2k", Some(2_000_000), Some(2000)),
            ("1e3", Some(1_000_000), Some(1000)),
            ("1500u", Some(2), Some(1)),
            ("1.5m", Some(2), Some(1)),
            ("0", Some(0), Some(0)),
            ("", None, None),
            ("abc", None, None),
            ("-1", None, None),
            ("1Zi", None, None),
        ];
        check_rows(rows, |(text, as_milli, as_units)| {
            let quantity = Quantity(text.into());
            assert_eq!((milli(&quantity), units(&quantity)), (as_milli, as_units), "{text:?}");
        });
    }
}
