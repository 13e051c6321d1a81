//! What a part's sidecar holds: what the manifest will say of the part, of which dump it is, and its own checksum. The next
//! run of an unfinished dump has nothing but sidecars to tell what is left to read, so a changed digit in one of them
//! would be tokens that nobody reads.

use super::{BadManifest, Part, sealed, unsealed};
use serde::{Deserialize, Serialize};

/// The checksum's own name: `checksum` is that of the part's file.
const KEY: &str = "sidecar_checksum";

/// A part and the dump that it is of.
#[derive(Clone, Debug, PartialEq, Eq, Serialize, Deserialize)]
pub struct Sidecar {
    /// What the manifest says of it too.
    #[serde(flatten)]
    pub part: Part,
    /// The dump's id.
    pub dump: String,
}

impl Sidecar {
    /// The file's text, with a checksum.
    ///
    /// # Errors
    /// `BadManifest::Json` if it cannot be written as JSON.
    pub fn to_text(&self) -> Result<String, BadManifest> {
        sealed(self, KEY)
    }

    /// Reads the file's text and checks its checksum.
    ///
    /// # Errors
    /// `BadManifest` says what is wrong with it.
    pub fn from_text(text: &str) -> Result<Sidecar, BadManifest> {
        unsealed(text, KEY)
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::fingerprint::Sums;
    use crate::manifest::{Position, RangeEntry};

    fn sidecar() -> Sidecar {
        let position = Position { partition_key: vec![Some("0x01".into())], clustering: vec![None] };
        let range = |start: &str, end: &str, to: Option<&Position>| RangeEntry {
            start: start.into(),
            end: end.into(),
            from: None,
            to: to.cloned(),
            read: ["then".into(), "now".into()],
        };
        let part = Part {
            name: "part-00001".into(),
            file: Some("part-00001.csv".into()),
            rows: 3,
            bytes: 40,
            checksum: Some("xxh3-128:0123".into()),
            sums: Some(Sums { values: u128::MAX, ..Sums::default() }),
            earliest_expiry: Some(-5),
            untold_cells: [("ü".to_owned(), 7)].into(),
            ranges: vec![range("-9223372036854775807", "-12", None), range("30", "41", Some(&position))],
            ..Part::default()
        };
        Sidecar { part, dump: "0123456789abcdef".into() }
    }

    #[test]
    fn a_sidecar_reads_back_and_says_what_the_manifest_says_at_the_same_places() {
        let text = sidecar().to_text().unwrap();
        assert_eq!(Sidecar::from_text(&text).unwrap(), sidecar());
        assert_eq!(serde_json::from_str::<Part>(&text).unwrap(), sidecar().part);
    }

    #[test]
    fn every_changed_bit_is_noticed() {
        let text = sidecar().to_text().unwrap();
        for at in 0..text.len() {
            for bit in 0..8 {
                let mut bytes = text.clone().into_bytes();
                bytes[at] ^= 1 << bit;
                let is_noticed =
                    String::from_utf8(bytes).map_or(true, |text| Sidecar::from_text(&text).is_err());
                assert!(is_noticed, "byte {at}, bit {bit}: {:?}", &text[at.saturating_sub(9)..]);
            }
        }
        for len in 0..text.len() - 1 {
            let cut = text.get(..len);
            assert!(cut.is_none_or(|cut| Sidecar::from_text(cut).is_err()), "{len}");
        }
    }
}
