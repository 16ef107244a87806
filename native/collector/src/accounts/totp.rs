// SPDX-License-Identifier: Apache-2.0
// Copyright The MidoInsights authors

//! Time-based one-time passwords after RFC 6238: HMAC-SHA-1, six digits, 30 seconds, which is what every app reads from a QR code.

use ring::hmac;
use subtle::{Choice, ConditionallySelectable, ConstantTimeEq};

/// A secret as long as the hash, as RFC 4226 recommends.
pub(super) const SECRET_BYTES: usize = 20;

pub(super) const DIGITS: usize = 6;

const STEP_US: i64 = 30_000_000;

/// Steps before and after now whose codes are taken: clocks differ, and people type slowly.
const SLACK: i64 = 1;

const ALPHABET: &[u8; 32] = b"ABCDEFGHIJKLMNOPQRSTUVWXYZ234567";

/// The step of a code that is good now; all candidates are compared, whichever fits.
pub(super) fn step_of(secret: &[u8], typed: &str, now_us: i64) -> Option<i64> {
    let now = now_us.div_euclid(STEP_US);
    let mut found = Choice::from(0);
    let mut step = 0i64;
    for candidate in now - SLACK..=now + SLACK {
        let same = code(secret, candidate).as_bytes().ct_eq(typed.as_bytes());
        step.conditional_assign(&candidate, same);
        found |= same;
    }
    bool::from(found).then_some(step)
}

fn code(secret: &[u8], step: i64) -> String {
    let key = hmac::Key::new(hmac::HMAC_SHA1_FOR_LEGACY_USE_ONLY, secret);
    let hash = hmac::sign(&key, &step.to_be_bytes());
    let hash = hash.as_ref();
    let at = usize::from(hash[hash.len() - 1] & 0xf);
    let number = u32::from_be_bytes([hash[at] & 0x7f, hash[at + 1], hash[at + 2], hash[at + 3]]);
    format!("{:0width$}", number % 10u32.pow(DIGITS as u32), width = DIGITS)
}

/// Base32 after RFC 4648, without padding.
pub(super) fn base32(bytes: &[u8]) -> String {
    let mut out = String::with_capacity((bytes.len() * 8).div_ceil(5));
    let (mut held, mut bits) = (0u32, 0);
    for byte in bytes {
        held = (held << 8) | u32::from(*byte);
        bits += 8;
        while bits >= 5 {
            bits -= 5;
            out.push(char::from(ALPHABET[(held >> bits) as usize & 31]));
        }
        held &= (1 << bits) - 1;
    }
    if bits > 0 {
        out.push(char::from(ALPHABET[(held << (5 - bits)) as usize & 31]));
    }
    out
}

#[cfg(test)]
mod tests {
    use super::*;

    /// RFC 6238, appendix B: the last six of the eight digits.
    #[test]
    fn codes_are_those_of_the_rfc() {
        let secret = b"12345678901234567890";
        for (seconds, digits) in [
            (59, "287082"),
            (1_111_111_109, "081804"),
            (1_111_111_111, "050471"),
            (1_234_567_890, "005924"),
            (2_000_000_000, "279037"),
            (20_000_000_000, "353130"),
        ] {
            assert_eq!(code(secret, seconds / 30), digits);
            let now = seconds * 1_000_000;
            assert_eq!(step_of(secret, digits, now), Some(seconds / 30));
            for late in [-1, 1] {
                assert_eq!(step_of(secret, digits, now + late * STEP_US), Some(seconds / 30));
            }
            for far in [-2, 2] {
                assert_eq!(step_of(secret, digits, now + far * STEP_US), None);
            }
        }
        for wrong in ["", "28708", "2870820", "２８７０８２"] {
            assert_eq!(step_of(secret, wrong, 59_000_000), None, "{wrong}");
        }
    }

    /// RFC 4648, section 10.
    #[test]
    fn base32_is_that_of_the_rfc() {
        for (bytes, text) in [
            ("", ""),
            ("f", "MY"),
            ("fo", "MZXQ"),
            ("foo", "MZXW6"),
            ("foob", "MZXW6YQ"),
            ("fooba", "MZXW6YTB"),
            ("foobar", "MZXW6YTBOI"),
        ] {
            assert_eq!(base32(bytes.as_bytes()), text);
        }
    }
}
