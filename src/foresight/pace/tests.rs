use super::*;

#[test]
fn moves_that_begin_together_are_one_wave() {
    assert_eq!(numbered(&[(0, 9), (9_000, 12_000), (300, 9), (9_400, 11_000), (20_000, 21_000)]), [1, 2, 1, 2, 3]);
}
