//! What the tests of the codecs assert: one cell, both forms, both directions.

use super::{Codec, Fidelity};

/// Text and Arrow give `wire` back, and the text is `text`.
pub fn exact(codec: &dyn Codec, wire: &[u8], text: &str) {
    exact_text(codec, wire, text);
    exact_arrow(codec, wire);
}

/// The text is `text` and gives `wire` back.
pub fn exact_text(codec: &dyn Codec, wire: &[u8], text: &str) {
    let mut out = b"before".to_vec();
    let fidelity = codec.to_text(wire, &mut out);
    assert_eq!(String::from_utf8_lossy(&out), format!("before{text}"));
    assert_eq!(fidelity, Fidelity::Exact, "{text}");
    reads(codec, text, wire);
}

/// A column of null, `wire`, null gives them back.
pub fn exact_arrow(codec: &dyn Codec, wire: &[u8]) {
    let (flags, back) = column(codec, wire);
    assert_eq!(flags, [false; 3]);
    assert_eq!(back, Some(wire.to_vec()));
}

/// Both forms flag `wire`, the text is `text`, and Arrow gives back `arrow` instead.
pub fn lossy(codec: &dyn Codec, wire: &[u8], text: &str, arrow: Option<&[u8]>) {
    let mut out = Vec::new();
    assert_eq!(codec.to_text(wire, &mut out), Fidelity::Lossy);
    assert_eq!(String::from_utf8_lossy(&out), text);
    let (flags, back) = column(codec, wire);
    assert_eq!(flags, [false, true, false]);
    assert_eq!(back.as_deref(), arrow);
}

/// The text reads as `wire`.
pub fn reads(codec: &dyn Codec, text: &str, wire: &[u8]) {
    let mut out = b"before".to_vec();
    codec.from_text(text.as_bytes(), &mut out).unwrap();
    assert_eq!(out[6..], *wire, "{text}");
}

/// None of the texts reads.
pub fn refuses(codec: &dyn Codec, texts: &[&str]) {
    for text in texts {
        let read = codec.from_text(text.as_bytes(), &mut Vec::new());
        assert!(read.is_err(), "{text:?}");
    }
}

/// The text does not read, for this reason.
pub fn refusal(codec: &dyn Codec, text: &str, reason: &str) {
    let read = codec.from_text(text.as_bytes(), &mut Vec::new());
    assert_eq!(read.unwrap_err().to_string(), reason);
}

fn column(codec: &dyn Codec, wire: &[u8]) -> ([bool; 3], Option<Vec<u8>>) {
    let mut flags = [false; 3];
    let array = codec.to_arrow(&[None, Some(wire), None], &mut flags);
    assert_eq!(array.data_type(), &codec.arrow_type());
    let cells = codec.arrow_cells(&array).unwrap();
    let mut out = Vec::new();
    assert_eq!(cells.append(0, &mut out), Ok(false));
    assert_eq!(cells.append(2, &mut out), Ok(false));
    let present = cells.append(1, &mut out).unwrap();
    assert!(present || out.is_empty());
    (flags, present.then_some(out))
}
