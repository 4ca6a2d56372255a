//! The figures of the benchmark: what is told must be what was measured.

use std::time::Duration;

#[path = "../../benches/import/figures.rs"]
mod figures;

use figures::{head, median, median_time, ratio, row, shortest, size, spread, time};

fn ms(milliseconds: u64) -> Duration {
    Duration::from_millis(milliseconds)
}

#[test]
fn the_median_is_the_middle_one_in_any_order() {
    assert_eq!(median(&[]), None);
    assert_eq!(median(&[3.0]), Some(3.0));
    assert_eq!(median(&[9.0, 1.0, 2.0]), Some(2.0));
    assert_eq!(median(&[4.0, 100.0, 1.0, 2.0]), Some(3.0));
    assert_eq!(median_time(&[]), Duration::ZERO);
    assert_eq!(median_time(&[ms(300), ms(100), ms(200)]), ms(200));
}

#[test]
fn the_shortest_is_the_first_in_no_order() {
    assert_eq!(shortest(&[]), Duration::ZERO);
    assert_eq!(shortest(&[ms(300), ms(100), ms(200)]), ms(100));
}

#[test]
fn times_have_three_digits_that_count() {
    assert_eq!(time(Duration::from_micros(1260)), "1.3 ms");
    assert_eq!(time(ms(99)), "99.0 ms");
    assert_eq!(time(ms(123)), "123 ms");
    assert_eq!(time(ms(1234)), "1.23 s");
    assert_eq!(time(ms(12_340)), "12.3 s");
}

#[test]
fn one_time_has_no_spread() {
    assert_eq!(spread(&[]), "");
    assert_eq!(spread(&[ms(1)]), "");
    assert_eq!(spread(&[ms(200), ms(1500), ms(300)]), "200 ms to 1.50 s");
}

#[test]
fn nothing_is_so_many_times_nothing() {
    assert_eq!(ratio(ms(4100), ms(1000)), "4.10 x");
    assert_eq!(ratio(ms(500), ms(1000)), "0.50 x");
    assert_eq!(ratio(ms(56_400), ms(1000)), "56 x");
    assert_eq!(ratio(ms(1), Duration::ZERO), "");
    assert_eq!(ratio(Duration::ZERO, ms(1)), "");
}

#[test]
fn sizes_are_binary() {
    assert_eq!(size(16 << 20), "16.0 MiB");
    assert_eq!(size(1_125_007_360), "1.05 GiB");
}

#[test]
fn rows_and_heads_are_markdown() {
    assert_eq!(row(&["a", "b"]), "| a | b |\n");
    assert_eq!(head(&["a", "b"]), "| a | b |\n| --- | --- |\n");
}
