//! Days since 1970-01-01 and the proleptic Gregorian calendar, over all of `i64`; year 0 is 1 BC, as in ISO 8601.

/// Days in 400 years.
const ERA: i64 = 146_097;
/// Days from 0000-03-01 to 1970-01-01, less four eras.
const EPOCH: i64 = 719_468 - 4 * ERA;

/// Year, month, day.
pub fn from_days(days: i64) -> (i64, u8, u8) {
    let shifted = days.rem_euclid(ERA) + EPOCH;
    let era = days.div_euclid(ERA) + 4 + shifted / ERA;
    let day = shifted % ERA;
    let year = (day - day / 1460 + day / 36_524 - day / 146_096) / 365;
    let day_of_year = day - (365 * year + year / 4 - year / 100);
    // Months from March on.
    let m = (5 * day_of_year + 2) / 153;
    let d = day_of_year - (153 * m + 2) / 5 + 1;
    let month = if m < 10 { m + 3 } else { m - 9 };
    (
        era * 400 + year + i64::from(month <= 2),
        u8::try_from(month).unwrap_or_default(),
        u8::try_from(d).unwrap_or_default(),
    )
}

/// Days of a date; `None` if there is no such date or it is beyond `i64`.
pub fn to_days(year: i64, month: u8, day: u8) -> Option<i64> {
    if !(1..=12).contains(&month) || day == 0 || day > days_in_month(year, month) {
        return None;
    }
    let (month, day) = (i64::from(month), i64::from(day));
    let year = if month <= 2 { year.checked_sub(1)? } else { year };
    let (era, year) = (year.div_euclid(400), year.rem_euclid(400));
    let m = if month > 2 { month - 3 } else { month + 9 };
    let day_of_year = (153 * m + 2) / 5 + day - 1;
    let days = 365 * year + year / 4 - year / 100 + day_of_year - EPOCH;
    let days = (i128::from(era) - 4) * i128::from(ERA) + i128::from(days);
    i64::try_from(days).ok()
}

fn days_in_month(year: i64, month: u8) -> u8 {
    let leap = year % 4 == 0 && (year % 100 != 0 || year % 400 == 0);
    match month {
        2 if leap => 29,
        2 => 28,
        4 | 6 | 9 | 11 => 30,
        _ => 31,
    }
}

/// Appends `YYYY-MM-DD`; years outside 0-9999 carry a sign.
pub fn put_date(days: i64, out: &mut Vec<u8>) {
    let (year, month, day) = from_days(days);
    if year < 0 {
        out.push(b'-');
    } else if year > 9999 {
        out.push(b'+');
    }
    put_padded(year.unsigned_abs(), 4, out);
    out.push(b'-');
    put_padded(month.into(), 2, out);
    out.push(b'-');
    put_padded(day.into(), 2, out);
}

/// Appends `HH:MM:SS`.
pub fn put_clock(seconds: u64, out: &mut Vec<u8>) {
    put_padded(seconds / 3600, 2, out);
    out.push(b':');
    put_padded(seconds / 60 % 60, 2, out);
    out.push(b':');
    put_padded(seconds % 60, 2, out);
}

/// Appends `number` with zeros in front, `width` digits at least.
pub fn put_padded(number: u64, width: usize, out: &mut Vec<u8>) {
    let mut digits = itoa::Buffer::new();
    let digits = digits.format(number).as_bytes();
    out.extend(std::iter::repeat_n(b'0', width.saturating_sub(digits.len())));
    out.extend_from_slice(digits);
}

/// Takes `[+-]YYYY-MM-DD` off the front, the year of four digits or more.
pub fn take_date(rest: &mut &[u8]) -> Option<i64> {
    let negative = rest.first() == Some(&b'-');
    if negative || rest.first() == Some(&b'+') {
        *rest = &rest[1..];
    }
    let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
    if len < 4 {
        return None;
    }
    let year = i64::try_from(take_digits(rest, len)?).ok()?;
    let month = take_after(rest, b'-')?;
    let day = take_after(rest, b'-')?;
    to_days(if negative { -year } else { year }, month, day)
}

/// Takes `HH:MM[:SS[.fraction]]` off the front, at most nine digits of fraction; nanoseconds since midnight.
pub fn take_clock(rest: &mut &[u8]) -> Option<i64> {
    let hour = i64::try_from(take_digits(rest, 2)?).ok()?;
    let minute: i64 = take_after(rest, b':')?.into();
    let mut second = 0;
    let mut nanos = 0;
    if rest.first() == Some(&b':') {
        second = take_after(rest, b':')?.into();
        if rest.first() == Some(&b'.') {
            *rest = &rest[1..];
            let len = rest.iter().take_while(|b| b.is_ascii_digit()).count();
            let zeros = 9u32.checked_sub(u32::try_from(len).ok()?)?;
            nanos = i64::try_from(take_digits(rest, len)? * 10u64.pow(zeros)).ok()?;
        }
    }
    let valid = hour < 24 && minute < 60 && second < 60;
    valid.then_some(((hour * 60 + minute) * 60 + second) * 1_000_000_000 + nanos)
}

/// Takes exactly `len` digits off the front.
pub fn take_digits(rest: &mut &[u8], len: usize) -> Option<u64> {
    let (digits, tail) = rest.split_at_checked(len)?;
    if len == 0 {
        return None;
    }
    let mut number = 0u64;
    for digit in digits {
        if !digit.is_ascii_digit() {
            return None;
        }
        number = number.checked_mul(10)?.checked_add(u64::from(digit - b'0'))?;
    }
    *rest = tail;
    Some(number)
}

/// Takes `separator` and two digits off the front.
pub fn take_after(rest: &mut &[u8], separator: u8) -> Option<u8> {
    let (first, tail) = rest.split_first()?;
    *rest = tail;
    let number = take_digits(rest, 2)?;
    if *first == separator { u8::try_from(number).ok() } else { None }
}

#[cfg(test)]
mod tests {
    use super::*;

    #[test]
    fn known_days() {
        for (days, date) in [
            (0, (1970, 1, 1)),
            (-1, (1969, 12, 31)),
            (11_016, (2000, 2, 29)),
            (20_780, (2026, 11, 23)),
            (-719_528, (0, 1, 1)),
            (-719_529, (-1, 12, 31)),
            (2_147_483_647, (5_881_580, 7, 11)),
            (-2_147_483_648, (-5_877_641, 6, 23)),
        ] {
            assert_eq!(from_days(days), date);
            assert_eq!(to_days(date.0, date.1, date.2), Some(days));
        }
    }

    #[test]
    fn every_day_of_a_thousand_years_follows_the_one_before() {
        let mut before = from_days(-200_000);
        for days in -199_999..200_000 {
            let date = from_days(days);
            let next = (date.0, date.1) == (before.0, before.1) && date.2 == before.2 + 1;
            let month = date.2 == 1 && before.2 == days_in_month(before.0, before.1);
            assert!(next || month, "{before:?} {date:?}");
            assert_eq!(to_days(date.0, date.1, date.2), Some(days));
            before = date;
        }
    }

    #[test]
    fn the_ends_of_i64_and_dates_that_are_none() {
        for days in [i64::MIN, i64::MIN + 1, i64::MAX - 1, i64::MAX] {
            let (year, month, day) = from_days(days);
            let back = to_days(year, month, day);
            assert_eq!(back, Some(days));
        }
        assert_eq!(to_days(i64::MAX, 1, 1), None);
        assert_eq!(to_days(i64::MIN, 1, 1), None);
        for (year, month, day) in [(2023, 2, 29), (1900, 2, 29), (2024, 13, 1), (2024, 0, 1)] {
            assert_eq!(to_days(year, month, day), None);
        }
        for (month, day) in [(4, 31), (1, 0), (1, 32)] {
            assert_eq!(to_days(2024, month, day), None);
        }
    }
}
