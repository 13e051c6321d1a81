//! What servers make of elements in bytes that nobody would write, which decides how they can be loaded: bound as part of a
//! whole collection they are spelt anew, except inside tuples and user types; `m[?] = ?` and `u.f = ?` keep a scalar.

use crate::harness::{NEWEST, Node, RawCell, RawRow, TestKeyspace, hex};

/// `true` in a byte that is not its own, alone and in a collection of one; what a server makes of the latter.
const ODD: &[u8] = b"\xff";
const LIST: &[u8] = b"\0\0\0\x01\0\0\0\x01\xff";
const RESPELT: &[u8] = b"\0\0\0\x01\0\0\0\x01\x01";
const MAP: &[u8] = b"\0\0\0\x01\0\0\0\x01k\0\0\0\x01\xff";
const RESPELT_MAP: &[u8] = b"\0\0\0\x01\0\0\0\x01k\0\0\0\x01\x01";
const TUPLES: &[u8] = b"\0\0\0\x01\0\0\0\x05\0\0\0\x01\xff";
const UDT: &[u8] = b"\0\0\0\x01\xff\0\0\0\x09\0\0\0\x01\0\0\0\x01\xff";
const RESPELT_FIELD: &[u8] = b"\xff\xff\xff\xff\0\0\0\x09\0\0\0\x01\0\0\0\x01\x01";

/// Column, assignment, what is bound to it, what is read then.
type Case = (&'static str, &'static str, &'static [&'static [u8]], &'static [u8]);

#[test]
fn servers_spell_elements_anew() {
    for version in [NEWEST, "4.1"] {
        let keyspace = TestKeyspace::on(Node::get(version), "spelling");
        let db = &keyspace.db;
        db.execute("CREATE TYPE pair (b boolean, l frozen<list<boolean>>)");
        db.execute(
            "CREATE TABLE t (k int PRIMARY KEY, l list<boolean>, s set<boolean>, m map<text, boolean>, \
             f frozen<list<boolean>>, lt list<frozen<tuple<boolean>>>, u pair)",
        );
        let cases: &[Case] = &[
            ("l", "l = ?", &[LIST], RESPELT),
            ("l", "l = l + ?", &[LIST], RESPELT),
            ("f", "f = ?", &[LIST], RESPELT),
            ("s", "s = s + ?", &[LIST], RESPELT),
            ("m", "m = ?", &[MAP], RESPELT_MAP),
            ("m", "m = m + ?", &[MAP], RESPELT_MAP),
            ("m", "m[?] = ?", &[b"k", ODD], MAP),
            ("lt", "lt = ?", &[TUPLES], TUPLES),
            ("u", "u = ?", &[UDT], UDT),
            ("u", "u.b = ?", &[ODD], b"\0\0\0\x01\xff\xff\xff\xff\xff"),
            ("u", "u.l = ?", &[LIST], RESPELT_FIELD),
        ];
        for (k, (column, set, cells, expected)) in cases.iter().enumerate() {
            let cells = cells.iter().map(|cell| RawCell::Value(cell.to_vec())).collect();
            db.try_bind(&format!("UPDATE t SET {set} WHERE k = {k}"), &RawRow(cells)).unwrap();
            let read = db.rows(&format!("SELECT {column} FROM t WHERE k = {k}"))[0][0].clone();
            assert_eq!(hex(read.as_deref()), hex(Some(expected)), "{set} on {version}");
        }
        // There is no way to bind the elements of a list or set one by one.
        for set in ["l = [?]", "l = l + [?]", "s = s + {?}"] {
            let refused = db.try_bind(&format!("UPDATE t SET {set} WHERE k = 0"), &RawRow(vec![]));
            let message = refused.expect_err("markers in collection literals are news");
            assert!(message.contains("not supported inside collection literals"), "{message}");
        }
    }
}
