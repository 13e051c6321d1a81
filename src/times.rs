//! When a cell was written and when it expires, as the companions beside it tell.

use crate::rows::{Cell, Page};
use crate::table::Place;
use crate::types::elements::{for_each_number, number};
use thiserror::Error;

/// The last expiry that servers take which keep them in 32 bits, s since 1970: 2038-01-19T03:14:06Z (CASSANDRA-14092).
pub const LATEST_EXPIRY: i64 = 2_147_483_646;

/// When a cell was written and when it expires. Cells of one row that share a moment can be written by one statement.
#[derive(Clone, Copy, Debug, PartialEq, Eq, Hash)]
pub struct Moment {
    /// µs since 1970.
    pub written: i64,
    /// s since 1970; none for a cell that does not expire.
    pub expires: Option<i64>,
}

impl Moment {
    /// The moment of a cell that is not null and written whole, if write times of its column are told.
    ///
    /// # Errors
    /// `Misfit` if its companions cannot be read.
    pub fn of_cell(page: &Page, row: usize, place: &Place) -> Result<Moment, Misfit> {
        let written = number(place.write_time(page, row).ok_or(Misfit)?).ok_or(Misfit)?;
        let expires = place.expiry(page, row).map(|cell| number(cell).ok_or(Misfit)).transpose()?;
        Ok(Moment { written, expires })
    }

    /// Puts the moments of the elements of a cell that is not null into `out`, instead of what it holds: one for each,
    /// none for a field of a user type that is null.
    ///
    /// # Errors
    /// `Misfit` if its companions cannot be read, or do not fit one another.
    pub fn of_elements(
        page: &Page,
        row: usize,
        place: &Place,
        out: &mut Vec<Option<Moment>>,
    ) -> Result<(), Misfit> {
        out.clear();
        let written = place.write_time(page, row).ok_or(Misfit)?;
        let moment = |written| Moment { written, expires: None };
        for_each_number(written, |written| out.push(written.map(moment))).ok_or(Misfit)?;
        if let Some(cell) = place.expiry(page, row) {
            let mut count = 0;
            let each = |expires| {
                if let Some(Some(moment)) = out.get_mut(count) {
                    moment.expires = expires;
                }
                count += 1;
            };
            for_each_number(cell, each).ok_or(Misfit)?;
            if count != out.len() {
                return Err(Misfit);
            }
        }
        Ok(())
    }

    /// Whether it is over at `now`, s since 1970: servers show a cell for as long as a whole second is left.
    pub fn is_over(self, now: i64) -> bool {
        self.expires.is_some_and(|expires| expires <= now)
    }
}

/// What is told of a cell.
#[derive(Clone, Debug, PartialEq, Eq)]
pub enum Told {
    /// Nothing: the cell is null, or the server could not tell.
    Nothing,
    /// The moment of the whole cell.
    Cell(Moment),
    /// One moment per element; none for a field of a user type that is null.
    Elements(Vec<Option<Moment>>),
}

impl Place {
    fn write_time<'a>(&self, page: &'a Page, row: usize) -> Cell<'a> {
        page.cell(row, self.write_time?)
    }

    fn expiry<'a>(&self, page: &'a Page, row: usize) -> Cell<'a> {
        page.cell(row, self.expiry?)
    }
}

/// Companions that contradict their cell.
#[derive(Debug, Error, PartialEq, Eq)]
#[error("what is told of its write time or expiry does not fit the cell")]
pub struct Misfit;

impl Told {
    /// What the companions tell of the cell at `row`; `elements` if its column has one entry per element.
    ///
    /// # Errors
    /// `Misfit` if they cannot be read, or do not fit one another.
    pub fn of(page: &Page, row: usize, place: &Place, elements: bool) -> Result<Told, Misfit> {
        if page.cell(row, place.column).is_none() || place.write_time.is_none() {
            return Ok(Told::Nothing);
        }
        if !elements {
            return Ok(Told::Cell(Moment::of_cell(page, row, place)?));
        }
        let mut moments = Vec::new();
        Moment::of_elements(page, row, place, &mut moments)?;
        Ok(Told::Elements(moments))
    }

    /// Every moment in it.
    pub fn moments(&self) -> impl Iterator<Item = Moment> + '_ {
        let (one, each) = match self {
            Told::Nothing => (None, &[][..]),
            Told::Cell(moment) => (Some(*moment), &[][..]),
            Told::Elements(moments) => (None, &moments[..]),
        };
        one.into_iter().chain(each.iter().copied().flatten())
    }

    /// The moment that all of it shares, if there is one.
    pub fn shared(&self) -> Option<Moment> {
        let mut moments = self.moments();
        let first = moments.next()?;
        moments.all(|moment| moment == first).then_some(first)
    }

    /// The moment that stands for all of it where only one can be written: the newest write time, and the latest expiry,
    /// so that nothing ends before its time.
    pub fn newest(&self) -> Option<Moment> {
        let written = self.moments().map(|m| m.written).max()?;
        let expires = self.moments().map(|m| m.expires).reduce(later).flatten();
        Some(Moment { written, expires })
    }
}

/// The later of two expiries; none is the latest.
pub fn later(a: Option<i64>, b: Option<i64>) -> Option<i64> {
    match (a, b) {
        (Some(a), Some(b)) => Some(a.max(b)),
        _ => None,
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::rows::PageBuilder;

    const PLACE: Place = Place { column: 0, write_time: Some(1), expiry: Some(2) };

    fn told(cells: [Option<&[u8]>; 3], elements: bool) -> Result<Told, Misfit> {
        let mut page = PageBuilder::new(3);
        cells.into_iter().for_each(|cell| page.push(cell).unwrap());
        Told::of(&page.finish(), 0, &PLACE, elements)
    }

    fn list(numbers: &[Option<i64>]) -> Vec<u8> {
        let mut cell = i32::try_from(numbers.len()).unwrap().to_be_bytes().to_vec();
        for number in numbers {
            assert!(crate::rows::put_cell(number.map(i64::to_be_bytes).as_ref().map(|b| &b[..]), &mut cell));
        }
        cell
    }

    #[test]
    fn companions_are_read_cell_by_cell_and_element_by_element() {
        let (seven, nine) = (7_i64.to_be_bytes(), 9_i64.to_be_bytes());
        let cell = told([Some(b"v"), Some(&seven), Some(&nine)], false).unwrap();
        assert_eq!(cell, Told::Cell(Moment { written: 7, expires: Some(9) }));
        assert_eq!(told([None, None, None], false), Ok(Told::Nothing));
        assert_eq!(told([Some(b"v"), None, None], false), Err(Misfit));
        let elements = told(
            [Some(b"v"), Some(&list(&[Some(5), None, Some(6)])), Some(&list(&[Some(1), None, None]))],
            true,
        )
        .unwrap();
        let moments: Vec<_> = elements.moments().collect();
        assert_eq!(moments, [Moment { written: 5, expires: Some(1) }, Moment { written: 6, expires: None }]);
        assert_eq!(elements.shared(), None);
        assert_eq!(elements.newest(), Some(Moment { written: 6, expires: None }));
        assert_eq!(told([Some(b"v"), Some(&list(&[Some(5)])), Some(&list(&[]))], true), Err(Misfit));
        let even = told([Some(b"v"), Some(&list(&[Some(5), Some(5)])), None], true).unwrap();
        assert_eq!(even.shared(), Some(Moment { written: 5, expires: None }));
    }

    #[test]
    fn a_cell_is_over_in_its_last_second() {
        let at = |expires| Moment { written: 0, expires };
        assert!(at(Some(10)).is_over(10) && !at(Some(11)).is_over(10) && !at(None).is_over(i64::MAX));
    }
}
