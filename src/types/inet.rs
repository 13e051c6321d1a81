//! inet: 4 or 16 bytes. A v4-mapped address is `::ffff:1.2.3.4` and stays 16 bytes.

use super::{BadValue, Codec, Fidelity};
use std::io::Write;
use std::net::{IpAddr, Ipv6Addr};

/// inet.
#[derive(Debug)]
pub struct Inet;

impl Codec for Inet {
    fn is_plain(&self) -> bool {
        true
    }

    fn to_text(&self, cell: &[u8], out: &mut Vec<u8>) -> Fidelity {
        if let Ok(v4) = <[u8; 4]>::try_from(cell) {
            for (number, byte) in v4.into_iter().enumerate() {
                if number > 0 {
                    out.push(b'.');
                }
                out.extend_from_slice(itoa::Buffer::new().format(byte).as_bytes());
            }
            return Fidelity::Exact;
        }
        match <[u8; 16]>::try_from(cell).map(Ipv6Addr::from) {
            Ok(address) if write!(out, "{address}").is_ok() => Fidelity::Exact,
            _ => Fidelity::Lossy,
        }
    }

    fn from_text(&self, text: &[u8], out: &mut Vec<u8>) -> Result<(), BadValue> {
        let address = std::str::from_utf8(text).ok().and_then(|t| t.parse().ok());
        match address.ok_or_else(|| BadValue::not(text, "an IP address"))? {
            IpAddr::V4(v4) => out.extend_from_slice(&v4.octets()),
            IpAddr::V6(v6) => out.extend_from_slice(&v6.octets()),
        }
        Ok(())
    }
}

#[cfg(test)]
mod tests {
    use super::*;
    use crate::types::check::{exact, lossy, refuses};

    #[test]
    fn addresses() {
        exact(&Inet, b"\x7f\0\0\x01", "127.0.0.1");
        exact(&Inet, b"\0\0\0\0\0\0\0\0\0\0\0\0\0\0\0\x01", "::1");
        exact(&Inet, b"\0\0\0\0\0\0\0\0\0\0\xff\xff\x01\x02\x03\x04", "::ffff:1.2.3.4");
        exact(&Inet, b"\x20\x01\x0d\xb8\0\0\0\0\0\0\0\0\0\0\0\x01", "2001:db8::1");
        lossy(&Inet, b"", "", None);
        lossy(&Inet, b"\x01\x02\x03\x04\x05", "", None);
        refuses(&Inet, &["", "1.2.3", "1.2.3.256", "localhost", "::1%eth0", "1.2.3.4:9042"]);
    }
}
